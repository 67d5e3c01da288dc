"""Models with seeded random weights, built and saved by sentence-transformers and transformers themselves.

They stand in for the published weights where no hub can be reached: the code that reads, tokenises, pools and
projects is the published one, so what babelclip makes of the folder can be compared with what its authors' code does.
Needs the extra ``reference``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from babelclip.benchmark.reference import clip_text_vectors, image_vectors, text_vectors
from babelclip.errors import MissingDependencyError
from babelclip.media.images import Pixels
from babelclip.training.logging import silence_libraries

try:
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as st_modules
except ModuleNotFoundError as missing:
    raise MissingDependencyError(missing.name or "sentence-transformers", extra="reference") from None

__all__ = [
    "CLIP_TEXT",
    "CLIP_VISION",
    "DISTILBERT",
    "SMALL",
    "Size",
    "TextFamily",
    "characters",
    "clip_text_vectors",
    "image_vectors",
    "pickle_weights",
    "processor_pixels",
    "rewrite_as_published",
    "save_as_clip_vit_b_32",
    "save_clip_model",
    "save_text_model",
    "save_vision_only",
    "text_vectors",
]

TextFamily = Literal["distilbert", "bert", "xlm-roberta"]

_SPECIAL_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SPREAD = 3.0
"""Random weights of transformers' own size give nearly equal outputs for all inputs; larger ones tell errors apart."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a reference model is."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    dimension: int
    image: int = 32
    patch: int = 8


SMALL = Size(width=32, layers=2, heads=4, feed_forward=64, dimension=24)
DISTILBERT = Size(width=768, layers=6, heads=12, feed_forward=3072, dimension=512)
CLIP_VISION = Size(width=768, layers=12, heads=12, feed_forward=3072, dimension=512, image=224, patch=32)
CLIP_TEXT = Size(width=512, layers=12, heads=8, feed_forward=2048, dimension=512)


def characters(texts: Sequence[str]) -> list[str]:
    """Every character of some texts, and the most common ones, for a vocabulary that covers them.

    :param texts: the texts
    :return: characters, in a fixed order
    """
    return sorted(set("".join(texts)) | {chr(code) for code in range(33, 127)})


def _bert_vocabulary(texts: Sequence[str], rows: int) -> list[str]:
    """Word pieces: single characters, their continuations, and fillers up to the size wanted."""
    single = [c for c in characters(texts) if not c.isspace()]
    words = sorted({word for text in texts for word in text.split() if len(word) > 1})
    pieces = [*_SPECIAL_BERT, *single, *(f"##{c}" for c in single), *words]
    pieces = list(dict.fromkeys(pieces))
    return pieces + [f"[unused{i}]" for i in range(rows - len(pieces))]


def _tokenizer(family: TextFamily, texts: Sequence[str], rows: int) -> Any:
    """A tokenizer of the family's own class over a vocabulary that covers the texts."""
    if family == "xlm-roberta":
        specials = ["<s>", "<pad>", "</s>", "<unk>"]
        pieces = ["▁", *(f"▁{c}" for c in characters(texts)), *(c for c in characters(texts))]
        scored = [(piece, 0.0) for piece in specials]
        scored += [(piece, -float(i + 1)) for i, piece in enumerate(dict.fromkeys(pieces))]
        return transformers.XLMRobertaTokenizerFast(vocab=[*scored, ("<mask>", 0.0)])
    vocabulary = {piece: i for i, piece in enumerate(_bert_vocabulary(texts, rows))}
    cased = {"do_lower_case": False, "strip_accents": None, "model_max_length": 512}
    return transformers.BertTokenizerFast(vocab=vocabulary, **cased)


def _encoder(family: TextFamily, size: Size, vocabulary: int, positions: int) -> Any:
    """The encoder of a family with seeded random weights."""
    if family == "distilbert":
        config = transformers.DistilBertConfig(
            vocab_size=vocabulary,
            dim=size.width,
            n_layers=size.layers,
            n_heads=size.heads,
            hidden_dim=size.feed_forward,
            max_position_embeddings=positions,
        )
        return transformers.DistilBertModel(config)
    roberta = family == "xlm-roberta"
    config_class = transformers.XLMRobertaConfig if roberta else transformers.BertConfig
    config = config_class(
        vocab_size=vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
        max_position_embeddings=positions + 2 if roberta else positions,
        pad_token_id=1 if roberta else 0,
        type_vocab_size=1 if roberta else 2,
    )
    return (transformers.XLMRobertaModel if roberta else transformers.BertModel)(config, add_pooling_layer=False)


def _spread(module: torch.nn.Module) -> None:
    """Enlarge the random weights and give every bias and norm a value of its own."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(_SPREAD)
            elif name.endswith("bias") or "embedding" in name:
                parameter.normal_(0.0, 0.1)
            elif parameter.ndim == 1:
                parameter.uniform_(0.8, 1.2)


def save_text_model(
    folder: Path,
    texts: Sequence[str],
    *,
    family: TextFamily = "distilbert",
    size: Size = SMALL,
    vocabulary: int = 0,
    normalize: bool = False,
    seed: int = 0,
) -> None:
    """Save a text model as sentence-transformers does today: Transformer, Pooling, Dense and perhaps Normalize.

    :param folder: where to
    :param texts: what its vocabulary must cover
    :param family: the encoder
    :param size: how large
    :param vocabulary: the rows of the word table, at least; fillers make them up (BERT families)
    :param normalize: whether a Normalize module follows
    :param seed: of the weights
    """
    silence_libraries()
    torch.manual_seed(seed)
    tokenizer = _tokenizer(family, texts, vocabulary)
    encoder = _encoder(family, size, len(tokenizer), positions=512)
    _spread(encoder)
    source = folder.with_name(folder.name + ".encoder")
    encoder.save_pretrained(source)
    tokenizer.save_pretrained(source)
    transformer = st_modules.Transformer(str(source), max_seq_length=128)
    pooling = st_modules.Pooling(size.width, pooling_mode="mean")
    dense = st_modules.Dense(size.width, size.dimension, bias=False, activation_function=torch.nn.Identity())
    modules = [transformer, pooling, dense, *([st_modules.Normalize()] if normalize else [])]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))


def rewrite_as_published(folder: Path) -> None:
    """Turn a folder that sentence-transformers saved into the file forms of 2021, as the hub has them.

    :param folder: a text folder in today's form
    """
    modules = json.loads((folder / "modules.json").read_text())
    for entry in modules:
        entry["type"] = f"sentence_transformers.models.{entry['type'].rsplit('.', 1)[-1]}"
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    config = json.loads((folder / "tokenizer_config.json").read_text())
    _write_json(folder / "tokenizer_config.json", {**config, "model_max_length": 512})
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    flags = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in ("cls_token", "mean_tokens", "max_tokens")}
    old = {
        "word_embedding_dimension": pooling["embedding_dimension"],
        **flags,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    _write_json(folder / "1_Pooling/config.json", old)
    for part in (folder, folder / "2_Dense"):
        pickle_weights(part)


def pickle_weights(folder: Path, *, archive: bool = True) -> None:
    """Replace model.safetensors by pytorch_model.bin.

    :param folder: a folder with safetensors weights
    :param archive: the zip form of torch 1.6 and later, or the older stream
    """
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=archive)
    (folder / "model.safetensors").unlink()


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def save_clip_model(
    folder: Path, texts: Sequence[str], *, vision: Size = SMALL, text: Size = SMALL, seed: int = 0
) -> None:
    """Save a transformers CLIPModel with its processor and tokenizer.

    :param folder: where to
    :param texts: what its tokenizer must cover
    :param vision: how large the image side is
    :param text: how large the text side is
    :param seed: of the weights
    """
    silence_libraries()
    torch.manual_seed(seed)
    vocab, merges = _clip_vocabulary(texts)
    tokenizer = transformers.CLIPTokenizerFast(vocab=vocab, merges=merges, model_max_length=77)
    ids = {"bos_token_id": vocab["<|startoftext|>"], "eos_token_id": vocab["<|endoftext|>"], "pad_token_id": 1}
    config = transformers.CLIPConfig(
        text_config={**_clip_config(text), **ids, "vocab_size": len(vocab), "max_position_embeddings": 77},
        vision_config={**_clip_config(vision), "image_size": vision.image, "patch_size": vision.patch},
        projection_dim=vision.dimension,
    )
    model = transformers.CLIPModel(config)
    _spread(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": vision.image}, crop_size={"height": vision.image, "width": vision.image}
    )
    processor.save_pretrained(folder)


def _clip_config(size: Size) -> dict[str, int]:
    """A size under the names of transformers' CLIP configs."""
    return {
        "hidden_size": size.width,
        "intermediate_size": size.feed_forward,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "projection_dim": size.dimension,
    }


def _clip_vocabulary(texts: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Every byte, its end-of-word form, and a few merges of letters that the texts hold."""
    from tokenizers.pre_tokenizers import ByteLevel

    bytes_ = sorted(ByteLevel.alphabet())
    pairs = sorted({(a, b) for text in texts for a, b in zip(text.lower(), text.lower()[1:], strict=False)})
    merges = [(a, b) for a, b in pairs if a in bytes_ and b in bytes_][:100]
    pieces = [*bytes_, *(f"{b}</w>" for b in bytes_), *(a + b for a, b in merges), "<|startoftext|>", "<|endoftext|>"]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}, merges


def save_vision_only(clip: Path, folder: Path) -> None:
    """Save the image side alone, as a transformers CLIPVisionModelWithProjection.

    :param clip: a CLIPModel folder
    :param folder: where to
    """
    transformers.CLIPVisionModelWithProjection.from_pretrained(clip).save_pretrained(folder)
    transformers.CLIPImageProcessorPil.from_pretrained(clip).save_pretrained(folder)


def save_as_clip_vit_b_32(clip: Path, folder: Path) -> None:
    """Save a pair in the layout of sentence-transformers/clip-ViT-B-32: one module, pickled, no tokenizer.json.

    :param clip: a CLIPModel folder
    :param folder: where to
    """
    import shutil

    inner = folder / "0_CLIPModel"
    shutil.copytree(clip, inner)
    (inner / "tokenizer.json").unlink()
    pickle_weights(inner)
    entry = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    _write_json(folder / "modules.json", [entry])


def processor_pixels(images: Sequence[Any], side: int) -> Pixels:
    """What transformers' CLIPImageProcessor makes of some images, before scaling.

    :param images: PIL images
    :param side: the height and width of the square
    :return: uint8 (n, side, side, 3)
    """
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, do_rescale=False, do_normalize=False
    )
    pixels = np.stack(processor(images=list(images))["pixel_values"])
    return np.ascontiguousarray(np.rint(pixels.transpose(0, 2, 3, 1)).astype(np.uint8))
