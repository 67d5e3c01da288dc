"""Construction of a student from a BERT, DistilBERT or XLM-RoBERTa folder: fewer layers, fewer tokens, a Dense head.

It works on arrays without torch, and writes a sentence-transformers folder.
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
"""Folders and types of the modules of a tower without a Dense layer."""
RIDGE = 3e-3
"""Ridge penalty of the Dense layer's fit, relative to the mean variance of its inputs."""

_LAYER = re.compile(r"(.*?\b(?:encoder|transformer)\.layer\.)(\d+)(\..*)")
_TOKEN_EMBEDDINGS = "embeddings.word_embeddings.weight"
_LAYER_KEYS = ("num_hidden_layers", "n_layers")
_TOKEN_KEYS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
_COPIED = ("special_tokens_map.json", "tokenizer_config.json")


def parse_layers(option: str, count: int) -> list[int]:
    """Parse the layers that a student keeps: the number of first layers, or indexes from 0, separated by commas.

    :param option: such as ``6`` or ``0,2,4``; empty for all
    :param count: number of layers of the encoder
    :return: indexes, ascending
    :raises InputError: if the option is malformed or there is no such layer
    """
    try:
        chosen = [int(part) for part in option.split(",")] if option else list(range(count))
    except ValueError:
        raise InputError(
            f"--layers {option!r} is neither a number of layers nor indexes separated by commas, such as 0,2,4"
        ) from None
    if len(chosen) == 1 and "," not in option:
        chosen = list(range(chosen[0]))
    if not chosen or sorted(set(chosen)) != chosen or not 0 <= chosen[0] <= chosen[-1] < count:
        raise InputError(
            f"--layers {option!r}: the encoder has {count} layers, numbered from 0; give layers in ascending order"
        )
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
    """Write the transformer and the mean pooling of a student.

    :param base: a sentence-transformers or transformers folder of BERT, DistilBERT or XLM-RoBERTa
    :param target: the folder to create; it must not exist
    :param layers: the layers to keep, see parse_layers
    :param counts: language -> int64 (vocabulary,), token counts, for pruning the vocabulary
    :param vocabulary: number of tokens to keep; 0 keeps all
    :param max_length: maximum number of tokens of a text
    :raises InputError: if the target exists, or there is no such layer
    :raises LayoutError: if the base is of another model type
    """
    if target.exists():
        raise InputError(f"{target} exists already; give a new folder")
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
    """Load the tokenizer of a folder, without truncation and padding.

    :param base: a text folder
    :return: the tokenizer
    :raises LayoutError: if the folder has no tokenizer.json
    """
    file = encoder_folder(base) / "tokenizer.json"
    if not file.is_file():
        raise LayoutError(
            f"{file} is missing; a student needs a fast tokenizer, which transformers writes as tokenizer.json"
        )
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def fit_dense(pooled: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit a linear layer to targets by ridge regression (Hoerl & Kennard 1970).

    :param pooled: float32 (n, width), the inputs
    :param targets: float32 (n, dimension), the outputs
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
    """Write a Dense layer after the pooling of a text folder, in place of later modules.

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
    """Select the tensors of the kept layers, renumbered, and of the kept tokens."""
    indexes = {layer: i for i, layer in enumerate(chosen)}
    result: dict[str, FloatArray] = {}
    for name, array in weights.items():
        match = _LAYER.fullmatch(name)
        if match:
            if int(match[2]) in indexes:
                result[f"{match[1]}{indexes[int(match[2])]}{match[3]}"] = array
        elif name.endswith(_TOKEN_EMBEDDINGS) and kept is not None:
            result[name] = np.ascontiguousarray(array[list(kept)])
        else:
            result[name] = array
    return result


def _write_tokenizer_config(target: Path, max_length: int) -> None:
    """Write the configuration that transformers reads beside tokenizer.json, which holds the token ids."""
    source = target / "tokenizer_config.json"
    config: dict[str, Any] = read_json(source) if source.is_file() else {}
    config.pop("added_tokens_decoder", None)
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    _write_json(source, config)


def write_modules(folder: Path, modules: Sequence[tuple[str, str]]) -> None:
    """Write the list of modules in the form that every sentence-transformers version reads.

    :param folder: a sentence-transformers folder
    :param modules: folder and type of each module, in order
    """
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    _write_json(folder / "modules.json", rows)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
