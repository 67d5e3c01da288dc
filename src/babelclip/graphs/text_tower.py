"""Text towers as graphs: DistilBERT, BERT, XLM-RoBERTa and CLIP's own, with pooling and Dense inside."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from babelclip.checkpoints.specs import DenseSpec, TextSpec
from babelclip.checkpoints.weights import Weights, read_weights
from babelclip.errors import WeightsError
from babelclip.graphs.builder import GraphBuilder
from babelclip.graphs.layers import (
    LayerNames,
    as_float,
    clip_layer_names,
    encoder_layer,
    layer_norm,
    linear,
    sequence_length,
    unit_length,
)
from babelclip.graphs.quantization import ActivationRanges
from babelclip.vectors import FloatArray

MASKED = -1e9
"""Added to the score of what may not be seen: its weight after the softmax is exactly 0 in float32."""

_PREFIXES = ("bert.", "distilbert.", "roberta.", "model.")
_SMALLEST_COUNT = 1e-9


def build_text_graph(
    spec: TextSpec,
    weights: Weights | None = None,
    *,
    unit: bool = False,
    calibration: ActivationRanges | None = None,
    observe: bool = False,
    spill: Path | None = None,
) -> onnx.ModelProto:
    """One graph from token ids to vectors.

    :param spec: the tower
    :param weights: its encoder's tensors; read from its folder where None
    :param unit: whether the graph scales its rows to length one
    :param calibration: the layers that run in int8
    :param observe: give what a calibration is made of instead of vectors; see GraphBuilder.model
    :param spill: keep the weights in this file, beside which the graph must be written; see GraphBuilder
    :return: the model: ``ids`` and ``mask`` int64 (n, s) -> ``vectors`` float32 (n, dimension)
    :raises WeightsError: if a tensor is missing or has the wrong shape
    """
    weights = read_weights(spec.folder) if weights is None else weights
    g = GraphBuilder(calibration, observe=observe, spill=spill)
    ids = g.input("ids", TensorProto.INT64, ["n", "s"])
    mask = g.input("mask", TensorProto.INT64, ["n", "s"])
    if spec.family == "clip_text":
        pooled = _clip_text(g, ids, mask, spec, weights)
    else:
        pooled = _pool(g, _bert(g, ids, mask, spec, _canonical(weights, spec)), mask, spec.pooling)
    for module in spec.dense:
        pooled = _dense(g, pooled, module)
    if unit or spec.normalize:
        pooled = unit_length(g, pooled)
    return g.model(pooled, spec.dimension, f"babelclip text {spec.family}")


def _canonical(weights: Weights, spec: TextSpec) -> Weights:
    """The tensors without the prefix that some files give them, and with today's names for the norms."""
    prefix = next((p for p in _PREFIXES if f"{p}embeddings.word_embeddings.weight" in weights), "")

    def plain(name: str) -> str:
        name = name.removeprefix(prefix)
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")

    canonical = weights.renamed(plain)
    _check_table(canonical, "embeddings.word_embeddings.weight", spec.vocab_size, spec)
    _check_table(canonical, "embeddings.position_embeddings.weight", spec.max_positions, spec)
    return canonical


def _check_table(weights: Weights, name: str, rows: int, spec: TextSpec) -> None:
    """A table must have the size that the config gives."""
    if weights.shape(name) != (rows, spec.transformer.width):
        raise WeightsError(
            f"{spec.folder}: {name} is {weights.shape(name)}, the config says {(rows, spec.transformer.width)}"
        )


def _bert_layer_names(family: str, layer: int) -> LayerNames:
    """Where a family of BERT keeps a layer."""
    if family == "distilbert":
        p = f"transformer.layer.{layer}"
        return LayerNames(
            query=f"{p}.attention.q_lin",
            key=f"{p}.attention.k_lin",
            value=f"{p}.attention.v_lin",
            output=f"{p}.attention.out_lin",
            attention_norm=f"{p}.sa_layer_norm",
            expand=f"{p}.ffn.lin1",
            contract=f"{p}.ffn.lin2",
            feed_forward_norm=f"{p}.output_layer_norm",
        )
    p = f"encoder.layer.{layer}"
    return LayerNames(
        query=f"{p}.attention.self.query",
        key=f"{p}.attention.self.key",
        value=f"{p}.attention.self.value",
        output=f"{p}.attention.output.dense",
        attention_norm=f"{p}.attention.output.LayerNorm",
        expand=f"{p}.intermediate.dense",
        contract=f"{p}.output.dense",
        feed_forward_norm=f"{p}.output.LayerNorm",
    )


def _embed(g: GraphBuilder, ids: str, length: str, weights: Weights, words: str, positions: FloatArray) -> str:
    """Each token's row of the word table, plus the row of its place: float32 (n, s, w)."""
    looked_up = g.rows(weights, words, ids)
    placed = g.node("Slice", g.constant(positions, "positions"), g.integers(0), length, g.integers(0))
    return g.node("Add", looked_up, placed)


def _bert(g: GraphBuilder, ids: str, mask: str, spec: TextSpec, weights: Weights) -> str:
    """Token states float32 (n, s, w): embeddings, then layers that normalise after each half."""
    transformer = spec.transformer
    positions = weights["embeddings.position_embeddings.weight"][spec.position_offset :]
    if "embeddings.token_type_embeddings.weight" in weights:
        # Every token is of the first type, so its row is a part of every position.
        positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    x = _embed(g, ids, sequence_length(g, ids), weights, "embeddings.word_embeddings.weight", positions)
    x = layer_norm(g, x, weights, "embeddings.LayerNorm", transformer.layer_norm_eps)
    hidden = g.node("Mul", g.node("Sub", g.scalar(1.0), as_float(g, mask)), g.scalar(MASKED))
    hidden = g.node("Unsqueeze", hidden, g.integers(1, 2))  # (n, 1, 1, s)
    for layer in range(transformer.layers):
        names = _bert_layer_names(spec.family, layer)
        x = encoder_layer(g, x, weights, names, transformer, hidden, norm="after")
    return x


def _pool(g: GraphBuilder, x: str, mask: str, pooling: str) -> str:
    """One vector a text from its token states (n, s, w); padding counts for nothing."""
    if pooling == "cls":
        return g.node("Gather", x, g.constant(np.array(0, dtype=np.int64)), axis=1)
    seen = g.node("Unsqueeze", as_float(g, mask), g.integers(2))  # (n, s, 1)
    if pooling == "max":
        hidden = g.node("Mul", g.node("Sub", g.scalar(1.0), seen), g.scalar(MASKED))
        return g.node("ReduceMax", g.node("Add", x, hidden), axes=[1], keepdims=0)
    total = g.node("ReduceSum", g.node("Mul", x, seen), g.integers(1), keepdims=0)
    count = g.node("ReduceSum", seen, g.integers(1), keepdims=0)
    return g.node("Div", total, g.node("Max", count, g.scalar(_SMALLEST_COUNT)))


def _dense(g: GraphBuilder, x: str, module: DenseSpec) -> str:
    """A Dense module after the pooling."""
    weights = read_weights(module.folder)
    if weights["linear.weight"].shape != (module.out_features, module.in_features):
        raise WeightsError(
            f"{module.folder}: linear.weight is {weights['linear.weight'].shape}, "
            f"the config says {(module.out_features, module.in_features)}"
        )
    x = linear(g, x, weights, "linear", bias=module.bias, exact=True)
    return g.node("Tanh", x) if module.activation == "Tanh" else x


def _clip_text(g: GraphBuilder, ids: str, mask: str, spec: TextSpec, weights: Weights) -> str:
    """CLIP's text tower: every token sees those before it; the vector is the end-of-text token's, projected."""
    transformer, root = spec.transformer, "text_model"
    length = sequence_length(g, ids)
    words, positions = f"{root}.embeddings.token_embedding.weight", f"{root}.embeddings.position_embedding.weight"
    x = _embed(g, ids, length, weights, words, weights[positions])
    # Padding stands to the right of the end of text, so the causal mask hides it from what is read out.
    causal = g.constant(np.triu(np.full((spec.max_positions,) * 2, MASKED, dtype=np.float32), 1), "causal")
    both = g.node("Concat", length, length, axis=0)
    causal = g.node("Slice", causal, g.integers(0, 0), both, g.integers(0, 1))
    for layer in range(transformer.layers):
        names = clip_layer_names(f"{root}.encoder.layers.{layer}")
        x = encoder_layer(g, x, weights, names, transformer, causal, norm="before")
    x = layer_norm(g, x, weights, f"{root}.final_layer_norm", transformer.layer_norm_eps)
    found = g.node("Mul", ids, mask)
    if spec.end_of_text_id is not None:
        found = g.node("Cast", g.node("Equal", found, g.integers(spec.end_of_text_id)), to=TensorProto.INT32)
    end = g.node("ArgMax", found, axis=1, keepdims=1)  # (n, 1): the first of the highest
    numbers = g.node("Slice", g.integers(*range(spec.max_positions)), g.integers(0), length, g.integers(0))
    picked = g.node("Unsqueeze", as_float(g, g.node("Equal", numbers, end)), g.integers(1))  # (n, 1, s)
    state = g.node("Squeeze", g.node("MatMul", picked, x), g.integers(1))
    return linear(g, state, weights, "text_projection", bias=False, exact=True)
