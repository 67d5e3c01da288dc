"""Tiny models in both published layouts, written with numpy, safetensors and tokenizers alone: no torch.

Random weights make rows that tell inputs apart, no more. ``end_to_end/test_tiny_models.py`` shows that the reference
libraries read the same folders and give the same vectors.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece

from babelclip.vectors import FloatArray

WIDTH, LAYERS, HEADS, FEED_FORWARD, DIMENSION = 32, 2, 4, 64, 24
SIDE, PATCH = 32, 8
"""Height and width of the image and of a patch, in pixels."""
POSITIONS, CLIP_POSITIONS = 512, 77
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
START, END = "<|startoftext|>", "<|endoftext|>"
MODULES = (
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "sentence_transformers.base.modules.dense.Dense",
)
OUTPUT = {
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP cuts a text into words (Radford et al. 2021)."""
EMBEDDING_SPREAD = 0.06
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def save_text(folder: Path, texts: Sequence[str], *, seed: int = 0) -> None:
    """Save a DistilBERT text tower with mean pooling and a Dense layer, as sentence-transformers does.

    :param folder: where to; it must not exist
    :param texts: what its vocabulary must cover
    :param seed: of the weights
    """
    rng = np.random.default_rng(seed)
    for part in ("", "1_Pooling", "2_Dense"):
        (folder / part).mkdir(parents=True)
    vocabulary = word_pieces(texts)
    bert_tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    cased = {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True, "model_max_length": 128}
    write(folder / "tokenizer_config.json", {**special, **cased, "tokenizer_class": "BertTokenizer"})
    config = {
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "activation": "gelu",
        "dim": WIDTH,
        "hidden_dim": FEED_FORWARD,
        "n_heads": HEADS,
        "n_layers": LAYERS,
        "max_position_embeddings": POSITIONS,
        "sinusoidal_pos_embds": False,
        "pad_token_id": 0,
        "vocab_size": len(vocabulary),
    }
    write(folder / "config.json", config)
    save_file(weights(rng, distilbert_shapes(len(vocabulary))), folder / "model.safetensors", {"format": "pt"})
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind.rpartition('.')[2]}" if i else "", "type": kind}
        for i, kind in enumerate(MODULES)
    ]
    write(folder / "modules.json", modules)
    write(folder / "sentence_bert_config.json", {"transformer_task": "feature-extraction", **OUTPUT})
    prompts = {"prompts": {"query": "", "document": ""}, "default_prompt_name": None}
    write(folder / "config_sentence_transformers.json", {"model_type": "SentenceTransformer", **prompts})
    pooling = {"embedding_dimension": WIDTH, "pooling_mode": "mean", "include_prompt": True}
    write(folder / "1_Pooling/config.json", pooling)
    dense = {"in_features": WIDTH, "out_features": DIMENSION, "bias": False}
    write(folder / "2_Dense/config.json", {**dense, "activation_function": "torch.nn.modules.linear.Identity"})
    save_file(weights(rng, iter([("linear.weight", (DIMENSION, WIDTH))])), folder / "2_Dense/model.safetensors")


def save_clip(folder: Path, texts: Sequence[str], *, seed: int = 0) -> None:
    """Save a CLIP pair with its image settings and tokenizer, as transformers does.

    :param folder: where to; it must not exist
    :param texts: what its merges are taken from
    :param seed: of the weights
    """
    folder.mkdir(parents=True)
    vocabulary, merges = byte_pairs(texts)
    clip_tokenizer(vocabulary, merges).save(str(folder / "tokenizer.json"))
    write(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    write(folder / "tokenizer_config.json", {**special, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"})
    side = {
        "hidden_size": WIDTH,
        "intermediate_size": FEED_FORWARD,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": DIMENSION,
    }
    ids = {"bos_token_id": vocabulary[START], "eos_token_id": vocabulary[END], "pad_token_id": 1}
    words = {"model_type": "clip_text_model", "max_position_embeddings": CLIP_POSITIONS, "vocab_size": len(vocabulary)}
    pixels = {"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": PATCH, "num_channels": 3}
    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": DIMENSION,
        "text_config": {**side, **ids, **words},
        "vision_config": {**side, **pixels},
    }
    write(folder / "config.json", config)
    write(folder / "preprocessor_config.json", image_settings())
    tensors = weights(np.random.default_rng(seed), clip_shapes(len(vocabulary)), spread=0.3)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def image_settings() -> dict[str, Any]:
    """CLIP's preprocessing at the tiny size."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        **dict.fromkeys(("do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize"), True),
        "crop_size": {"height": SIDE, "width": SIDE},
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }


def word_pieces(texts: Sequence[str]) -> dict[str, int]:
    """Give every character, its continuation and every word an id.

    :param texts: what the vocabulary must cover
    :return: piece -> id
    """
    single = sorted({c for c in "".join(texts) if not c.isspace()} | {chr(code) for code in range(33, 127)})
    words = sorted({word for text in texts for word in text.split() if len(word) > 1})
    pieces = dict.fromkeys([*SPECIAL, *single, *(f"##{c}" for c in single), *words])
    return {piece: i for i, piece in enumerate(pieces)}


def bert_tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    """Make the tokenizer of a cased BERT.

    :param vocabulary: piece -> id
    :return: the tokenizer
    """
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=None)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    pair = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
    tokenizer.post_processor = processors.TemplateProcessing("[CLS]:0 $A:0 [SEP]:0", pair, ids)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def byte_pairs(texts: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Give every byte and its end-of-word form an id, and make a hundred merges of letters of the texts.

    :param texts: what the merges are taken from
    :return: piece -> id, and the merges in order
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = sorted({(a, b) for text in texts for a, b in zip(text.lower(), text.lower()[1:], strict=False)})
    merges = [(a, b) for a, b in pairs if a in alphabet and b in alphabet][:100]
    pieces = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *(a + b for a, b in merges), START, END]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}, merges


def clip_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Make CLIP's tokenizer.

    :param vocabulary: piece -> id
    :param merges: the pairs to join, in order
    :return: the tokenizer
    """
    tokenizer = Tokenizer(
        BPE(vocabulary, merges, unk_token=END, continuing_subword_prefix="", end_of_word_suffix="</w>")
    )
    blanks = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), blanks, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    ends = (END, vocabulary[END]), (START, vocabulary[START])
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def distilbert_shapes(rows: int) -> Shapes:
    """Name every tensor of a DistilBERT encoder with its shape; ``rows`` is the size of the vocabulary."""
    yield "embeddings.word_embeddings.weight", (rows, WIDTH)
    yield "embeddings.position_embeddings.weight", (POSITIONS, WIDTH)
    yield from affine("embeddings.LayerNorm", WIDTH)
    for i in range(LAYERS):
        layer = f"transformer.layer.{i}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield from affine(f"{layer}.attention.{part}", WIDTH, WIDTH)
        yield from affine(f"{layer}.ffn.lin1", FEED_FORWARD, WIDTH)
        yield from affine(f"{layer}.ffn.lin2", WIDTH, FEED_FORWARD)
        yield from affine(f"{layer}.sa_layer_norm", WIDTH)
        yield from affine(f"{layer}.output_layer_norm", WIDTH)


def clip_shapes(rows: int) -> Shapes:
    """Name every tensor of a CLIP pair with its shape; ``rows`` is the size of the vocabulary."""
    yield "logit_scale", ()
    yield "text_model.embeddings.token_embedding.weight", (rows, WIDTH)
    yield "text_model.embeddings.position_embedding.weight", (CLIP_POSITIONS, WIDTH)
    yield "vision_model.embeddings.class_embedding", (WIDTH,)
    yield "vision_model.embeddings.patch_embedding.weight", (WIDTH, 3, PATCH, PATCH)
    yield "vision_model.embeddings.position_embedding.weight", ((SIDE // PATCH) ** 2 + 1, WIDTH)
    # The name is misspelt in every published CLIP.
    for norm in ("vision_model.pre_layrnorm", "vision_model.post_layernorm", "text_model.final_layer_norm"):
        yield from affine(norm, WIDTH)
    for side in ("text_model", "vision_model"):
        for i in range(LAYERS):
            layer = f"{side}.encoder.layers.{i}"
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield from affine(f"{layer}.self_attn.{part}", WIDTH, WIDTH)
            yield from affine(f"{layer}.mlp.fc1", FEED_FORWARD, WIDTH)
            yield from affine(f"{layer}.mlp.fc2", WIDTH, FEED_FORWARD)
            yield from affine(f"{layer}.layer_norm1", WIDTH)
            yield from affine(f"{layer}.layer_norm2", WIDTH)
    for side in ("text", "visual"):
        yield f"{side}_projection.weight", (DIMENSION, WIDTH)


def affine(name: str, out: int, *into: int) -> Shapes:
    """Name the weight and bias of a linear layer, or of a norm, which has one size."""
    yield f"{name}.weight", (out, *into)
    yield f"{name}.bias", (out,)


def weights(rng: np.random.Generator, shapes: Shapes, spread: float = 0.06) -> dict[str, FloatArray]:
    """Draw every tensor: matrices and embeddings large enough to tell inputs apart, norms near 1.

    :param rng: the source of numbers
    :param shapes: names and shapes
    :param spread: the standard deviation of the matrices
    :return: float32 arrays by name
    """
    tensors: dict[str, FloatArray] = {}
    for name, shape in shapes:
        if name == "logit_scale":
            drawn = np.log(1 / 0.07)
        elif len(shape) == 1 and name.endswith("weight"):
            drawn = rng.uniform(0.8, 1.2, shape)
        elif len(shape) < 2:
            drawn = rng.normal(0.0, 0.1, shape)
        else:
            drawn = rng.normal(0.0, EMBEDDING_SPREAD if "embedding" in name else spread, shape)
        tensors[name] = np.asarray(drawn, dtype=np.float32)
    return tensors


def write(path: Path, content: Any) -> None:
    """Write JSON as the hub's files are."""
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
