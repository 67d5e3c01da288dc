"""Making a student: fewer layers, fewer words, and a Dense head, from any BERT, DistilBERT or XLM-RoBERTa folder.

All of it is done on the arrays, so it needs no torch; what is written is a sentence-transformers folder.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from babelclip.checkpoints.layouts import encoder_folder, read_json
from babelclip.checkpoints.weights import read_weights, write_weights
from babelclip.errors import InputError, LayoutError
from babelclip.training.vocabulary import choose_tokens, prune_tokenizer
from babelclip.vectors import FloatArray

POOLING, DENSE = "1_Pooling", "2_Dense"
POOLED = (("", "Transformer"), (POOLING, "Pooling"))
"""The modules of a tower that ends in its pooling: their folders and kinds."""
RIDGE = 3e-3
"""Weight of the penalty of the Dense layer's least-squares fit, against the variance of its inputs."""

_LAYER = re.compile(r"(.*?\b(?:encoder|transformer)\.layer\.)(\d+)(\..*)")
_WORDS = "embeddings.word_embeddings.weight"
_LAYER_KEYS = ("num_hidden_layers", "n_layers")
_TOKEN_KEYS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
_COPIED = ("special_tokens_map.json", "tokenizer_config.json")


def parse_layers(option: str, count: int) -> list[int]:
    """Which layers a student keeps: a number of first layers, or their places, from 0, parted by commas.

    :param option: the words, as ``6`` or ``0,2,4``; empty for all
    :param count: how many layers there are
    :return: places, ascending
    :raises InputError: if there is no such layer
    """
    try:
        chosen = [int(part) for part in option.split(",")] if option else list(range(count))
    except ValueError:
        raise InputError(f"{option!r} is neither a number of layers nor places parted by commas") from None
    if len(chosen) == 1 and "," not in option:
        chosen = list(range(chosen[0]))
    if not chosen or sorted(set(chosen)) != chosen or not 0 <= chosen[0] <= chosen[-1] < count:
        raise InputError(f"layers {option!r}: the encoder has {count}, numbered from 0; give some of them in order")
    return chosen


def make_student(
    base: Path,
    target: Path,
    *,
    layers: str = "",
    counts: Mapping[str, NDArray[np.int64]] | None = None,
    vocabulary: int = 0,
    max_length: int = 128,
) -> None:
    """Write Transformer and mean pooling of a student.

    :param base: a folder of BERT, DistilBERT or XLM-RoBERTa, of sentence-transformers or of transformers
    :param target: the folder to make; it must not be there
    :param layers: which are kept; see parse_layers
    :param counts: language -> int64 (vocabulary,), the use of each token, where the vocabulary is pruned
    :param vocabulary: how many tokens are kept; 0 keeps all
    :param max_length: tokens a text may have
    :raises InputError: if the target is there, or there is no such layer
    :raises LayoutError: if the base is of another kind
    """
    if target.exists():
        raise InputError(f"{target} is there already; give a new folder")
    folder = encoder_folder(base)
    config: dict[str, Any] = read_json(folder / "config.json")
    if config.get("model_type") not in ("bert", "distilbert", "xlm-roberta"):
        raise LayoutError(f"{base}: a student must be BERT, DistilBERT or XLM-RoBERTa, not {config.get('model_type')}")
    layer_key = next(key for key in _LAYER_KEYS if key in config)
    chosen = parse_layers(layers, int(config[layer_key]))
    tokenizer = load_tokenizer(base)
    kept = choose_tokens(tokenizer, counts, vocabulary) if counts and vocabulary else None
    target.mkdir(parents=True)
    for name in _COPIED:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    config[layer_key] = len(chosen)
    if kept is not None:
        new = {old: i for i, old in enumerate(kept)}
        tokenizer = prune_tokenizer(tokenizer, kept)
        config["vocab_size"] = len(kept)
        config |= {key: new[config[key]] for key in _TOKEN_KEYS if config.get(key) in new}
    _write_json(target / "config.json", config)
    tokenizer.save(str(target / "tokenizer.json"))
    _write_tokenizer_config(target, max_length)
    write_weights(target / "model.safetensors", _tensors(read_weights(folder), chosen, kept))
    arguments = {} if config["model_type"] == "distilbert" else {"add_pooling_layer": False}
    _write_json(
        target / "sentence_bert_config.json",
        {"max_seq_length": max_length, "do_lower_case": False, "model_args": arguments},
    )
    width = int(config.get("hidden_size") or config["dim"])
    (target / POOLING).mkdir()
    _write_json(target / POOLING / "config.json", {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True})
    write_modules(target, POOLED)


def load_tokenizer(base: Path) -> Tokenizer:
    """The tokenizer of a folder, which neither cuts nor pads.

    :param base: a text folder
    :return: the tokenizer
    :raises LayoutError: if it has no tokenizer.json
    """
    file = encoder_folder(base) / "tokenizer.json"
    if not file.is_file():
        raise LayoutError(f"{file} is missing: a student is made from a fast tokenizer")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def fit_dense(pooled: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The linear layer that comes nearest to the targets, by ridge regression (Hoerl & Kennard 1970).

    :param pooled: float32 (n, width), what goes in
    :param targets: float32 (n, dimension), what should come out
    :return: float32 (dimension, width) weight and float32 (dimension,) bias
    """
    x, y = pooled.astype(np.float64), targets.astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    gram = x.T @ x
    penalty = RIDGE * np.trace(gram) / len(gram) + 1e-12
    weight = np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ y).T
    return weight.astype(np.float32), (mean_y - weight @ mean_x).astype(np.float32)


def write_dense(folder: Path, weight: FloatArray, bias: FloatArray | None) -> None:
    """Set a Dense layer after the pooling of a text folder; what came after it is taken away.

    :param folder: a sentence-transformers folder
    :param weight: float32 (dimension, width)
    :param bias: float32 (dimension,), or None
    """
    (folder / DENSE).mkdir(exist_ok=True)
    _write_json(
        folder / DENSE / "config.json",
        {
            "in_features": weight.shape[1],
            "out_features": weight.shape[0],
            "bias": bias is not None,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    tensors = {"linear.weight": weight} if bias is None else {"linear.weight": weight, "linear.bias": bias}
    write_weights(folder / DENSE / "model.safetensors", tensors)
    write_modules(folder, [*POOLED, (DENSE, "Dense")])


def _tensors(
    weights: Mapping[str, FloatArray], chosen: Sequence[int], kept: Sequence[int] | None
) -> dict[str, FloatArray]:
    """The tensors of the kept layers, renumbered, and of the kept words."""
    places = {layer: i for i, layer in enumerate(chosen)}
    result: dict[str, FloatArray] = {}
    for name, array in weights.items():
        match = _LAYER.fullmatch(name)
        if match:
            if int(match[2]) in places:
                result[f"{match[1]}{places[int(match[2])]}{match[3]}"] = array
        elif name.endswith(_WORDS) and kept is not None:
            result[name] = np.ascontiguousarray(array[list(kept)])
        else:
            result[name] = array
    return result


def _write_tokenizer_config(target: Path, max_length: int) -> None:
    """The facts that transformers reads beside tokenizer.json; ids of tokens are left to that file."""
    source = target / "tokenizer_config.json"
    config: dict[str, Any] = read_json(source) if source.is_file() else {}
    config.pop("added_tokens_decoder", None)
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    _write_json(source, config)


def write_modules(folder: Path, modules: Sequence[tuple[str, str]]) -> None:
    """List the modules in the form that every sentence-transformers version reads.

    :param folder: a sentence-transformers folder
    :param modules: the folder and the kind of each, in order
    """
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    _write_json(folder / "modules.json", rows)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
