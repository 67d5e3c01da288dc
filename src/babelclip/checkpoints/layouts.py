"""Published model folders, described: folder -> frozen TextSpec or ImageSpec.

Known text forms: sentence-transformers folders, old and new (6.x) file forms, whose Transformer is DistilBERT, BERT,
XLM-RoBERTa or CLIP's text tower; bare transformers folders of CLIP's text tower. Known image forms:
sentence-transformers clip-ViT-B-32, transformers CLIPModel, transformers CLIPVisionModelWithProjection, and
babelclip's own EfficientNet-Lite.
"""

import json
from pathlib import Path
from typing import Any

from babelclip.checkpoints.specs import (
    ConvBlockSpec,
    DenseSpec,
    EfficientNetSpec,
    ImageSpec,
    PixelSpec,
    TextSpec,
    TransformerSpec,
)
from babelclip.errors import LayoutError, ModelNotFoundError

MANIFEST = "babelclip.json"

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    :param path: the file
    :return: what it holds
    :raises LayoutError: if it is not there or is not JSON
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LayoutError(f"{path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise LayoutError(f"{path} cannot be read as JSON: {error}") from None


def _optional_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an empty one where there is no file."""
    return dict(read_json(path)) if path.is_file() else {}


def _require(config: dict[str, Any], key: str, source: Path) -> Any:
    """A value that a config must have."""
    if key not in config:
        raise LayoutError(f"{source} has no {key!r}")
    return config[key]


def _known(value: str, known: tuple[str, ...], what: str, source: Path) -> str:
    """A value that must be one of those we know."""
    if value not in known:
        raise LayoutError(f"{source}: {what} {value!r} is not known; known are {', '.join(known)}")
    return value


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """The modules of a sentence-transformers folder: (class name, folder), in order."""
    entries = read_json(folder / "modules.json")
    try:
        found = [(entry["type"].rsplit(".", 1)[-1], folder / entry["path"]) for entry in entries]
    except (TypeError, KeyError, AttributeError):
        found = []
    if not found:
        raise LayoutError(f"{folder / 'modules.json'} is not a list of modules with type and path")
    return found


def encoder_folder(folder: Path) -> Path:
    """Where a model's encoder is: in the first module of a sentence-transformers folder, or in the folder itself.

    :param folder: a model folder
    :return: the folder that holds the encoder's config.json
    :raises LayoutError: if modules.json is not in a form that is known
    """
    return _modules(folder)[0][1] if (folder / "modules.json").is_file() else folder


def module_folders(folder: Path) -> list[Path]:
    """The folders that a model is made of, without whatever else lies among them.

    :param folder: a model folder
    :return: itself, then those of its modules
    :raises LayoutError: if modules.json is not in a form that is known
    """
    modules = _modules(folder) if (folder / "modules.json").is_file() else []
    return list(dict.fromkeys([folder, *(path for _, path in modules)]))


def _pooling(folder: Path) -> str:
    """The pooling mode, from the old form (a flag a mode) or the new one (``pooling_mode``)."""
    source = folder / "config.json"
    config = read_json(source)
    if not config.get("include_prompt", True):
        raise LayoutError(f"{source}: pooling without the prompt is not supported")
    mode = config.get("pooling_mode")
    if mode is None:
        flags = {
            key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on
        }
        names = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
        if len(flags) != 1:
            raise LayoutError(f"{source}: exactly one pooling mode is supported, not {sorted(flags)}")
        flag = flags.pop()
        mode = names.get(flag, flag)
    return _known(mode, ("mean", "cls", "max"), "pooling mode", source)


def _dense(folder: Path) -> DenseSpec:
    """A Dense module."""
    source = folder / "config.json"
    config = read_json(source)
    activation = str(config.get("activation_function", "torch.nn.modules.linear.Identity")).rsplit(".", 1)[-1]
    return DenseSpec(
        folder=folder,
        in_features=int(_require(config, "in_features", source)),
        out_features=int(_require(config, "out_features", source)),
        bias=bool(config.get("bias", True)),
        activation=_known(activation, ("Identity", "Tanh"), "activation of the Dense module", source),
    )


def _encoder(config: dict[str, Any], source: Path, *, names: dict[str, str], eps: float) -> TransformerSpec:
    """The shared facts under the names that a family's config gives them."""
    return TransformerSpec(
        width=int(_require(config, names["width"], source)),
        layers=int(_require(config, names["layers"], source)),
        heads=int(_require(config, names["heads"], source)),
        feed_forward=int(_require(config, names["feed_forward"], source)),
        activation=_known(
            config.get(names["activation"], names["default_activation"]), ACTIVATIONS, "activation", source
        ),
        layer_norm_eps=float(config.get("layer_norm_eps", eps)),
    )


_BERT_NAMES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "activation": "hidden_act",
    "default_activation": "gelu",
}
_CLIP_NAMES = {**_BERT_NAMES, "default_activation": "quick_gelu"}
_DISTILBERT_NAMES = {
    "width": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "feed_forward": "hidden_dim",
    "activation": "activation",
    "default_activation": "gelu",
}

# transformers leaves out of config.json what equals its defaults in old files: these are those of CLIP ViT-B/32.
_CLIP_TEXT_DEFAULTS = {
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
}
_CLIP_VISION_DEFAULTS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 32,
}
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_BICUBIC = 3


def _max_length(folder: Path, limit: int) -> int:
    """The longest input in tokens: max_seq_length of the old form, else the tokenizer's, never over the positions."""
    stated = _optional_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if stated is None:
        stated = _optional_json(folder / "tokenizer_config.json").get("model_max_length")
    return min(int(stated), limit) if isinstance(stated, int | float) else limit


def _prompt(folder: Path) -> str:
    """The text that the folder sets before every input, usually none."""
    config = _optional_json(folder / "config_sentence_transformers.json")
    name = config.get("default_prompt_name")
    return str((config.get("prompts") or {}).get(name, "")) if name else ""


def _text_encoder(folder: Path) -> dict[str, Any]:
    """The fields of TextSpec that the Transformer module's own folder gives."""
    source = folder / "config.json"
    config = read_json(source)
    family = str(config.get("model_type"))
    if family in ("clip", "clip_text_model"):
        return _clip_text_encoder(folder, config)
    _known(family, ("distilbert", "bert", "xlm-roberta"), "model_type", source)
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise LayoutError(f"{source}: only absolute position embeddings are supported")
    eps = 1e-5 if family == "xlm-roberta" else 1e-12
    names = _DISTILBERT_NAMES if family == "distilbert" else _BERT_NAMES
    pad_id = int(config.get("pad_token_id") or 0) if family != "xlm-roberta" else int(config.get("pad_token_id", 1))
    offset = pad_id + 1 if family == "xlm-roberta" else 0
    max_positions = int(_require(config, "max_position_embeddings", source))
    lowercase = _optional_json(folder / "sentence_bert_config.json").get("do_lower_case", False)
    return {
        "folder": folder,
        "tokenizer_folder": folder,
        "family": family,
        "transformer": _encoder(config, source, names=names, eps=eps),
        "vocab_size": int(_require(config, "vocab_size", source)),
        "max_positions": max_positions,
        "position_offset": offset,
        "max_length": _max_length(folder, max_positions - offset),
        "lowercase": bool(lowercase),
        "pad_id": pad_id,
        "end_of_text_id": None,
    }


def _clip_text_encoder(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The same for CLIP's English text tower, which pools at the end-of-text token and projects without bias."""
    source = folder / "config.json"
    text = {**_CLIP_TEXT_DEFAULTS, **config.get("text_config", {})} if config["model_type"] == "clip" else config
    # 2 is a legacy value: the published tokenizer's end-of-text id is the highest one, found by argmax.
    end_of_text = int(text.get("eos_token_id", 2))
    positions = int(_require(text, "max_position_embeddings", source))
    return {
        "folder": folder,
        "tokenizer_folder": folder,
        "family": "clip_text",
        "transformer": _encoder(text, source, names=_CLIP_NAMES, eps=1e-5),
        "vocab_size": int(_require(text, "vocab_size", source)),
        "max_positions": positions,
        "position_offset": 0,
        "max_length": _max_length(folder, positions),
        "lowercase": False,
        "pad_id": 0,
        "end_of_text_id": None if end_of_text == 2 else end_of_text,
    }


def read_text_spec(folder: Path) -> TextSpec:
    """Describe a text tower.

    :param folder: a sentence-transformers folder, or a transformers folder of CLIP's text tower
    :return: its facts, and where its files are
    :raises ModelNotFoundError: if there is no such folder
    :raises LayoutError: if the form is not known
    """
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder} is not a folder")
    modules = _modules(folder) if (folder / "modules.json").is_file() else [("Transformer", folder)]
    kind, first = modules[0]
    if kind not in ("Transformer", "CLIPModel"):
        raise LayoutError(f"{folder}: the first module is {kind}, not a Transformer")
    encoder = _text_encoder(first)
    pooling = "end_of_text" if encoder["family"] == "clip_text" else None
    dense: list[DenseSpec] = []
    normalize = False
    for kind, path in modules[1:]:
        if normalize:
            raise LayoutError(f"{folder}: a module after Normalize is not supported")
        if kind == "Pooling" and pooling is None:
            pooling = _pooling(path)
        elif kind == "Dense" and pooling is not None:
            dense.append(_dense(path))
        elif kind == "Normalize":
            normalize = True
        else:
            raise LayoutError(f"{folder}: module {kind} at this place is not supported")
    if pooling is None:
        raise LayoutError(f"{folder} has no Pooling module: its output would be token states, not a vector")
    if pooling == "end_of_text":
        config = read_json(first / "config.json")
        dimension = int(config.get("projection_dim", 512))
    else:
        dimension = encoder["transformer"].width
    for module in dense:
        if module.in_features != dimension:
            raise LayoutError(f"{module.folder}: takes {module.in_features} features, but {dimension} come in")
        dimension = module.out_features
    return TextSpec(
        **encoder,
        pooling=pooling,
        dense=tuple(dense),
        normalize=normalize,
        prompt=_prompt(folder),
        dimension=dimension,
    )


def _pixel_spec(folder: Path, image_size: int) -> PixelSpec:
    """The preprocessing, from preprocessor_config.json, processor_config.json, or CLIP's own where there is neither."""
    source = folder / "preprocessor_config.json"
    config = _optional_json(source) or _optional_json(folder / "processor_config.json").get("image_processor", {})
    if config.get("do_resize", True) is False or config.get("do_normalize", True) is False:
        raise LayoutError(f"{source}: preprocessing without resize or normalisation is not supported")
    size = config.get("size", image_size)
    if isinstance(size, dict):
        size = size["shortest_edge"] if "shortest_edge" in size else (int(size["height"]), int(size["width"]))
    crop = config.get("crop_size", image_size)
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    cropped = config.get("do_center_crop", not isinstance(size, tuple))
    spec = PixelSpec(
        resize=size if isinstance(size, tuple) else int(size),
        crop=(int(crop["height"]), int(crop["width"])) if cropped else None,
        resample=int(config.get("resample", _BICUBIC)),
        mean=_triple(config.get("image_mean", _CLIP_MEAN), source),
        std=_triple(config.get("image_std", _CLIP_STD), source),
    )
    if spec.crop is None and not isinstance(spec.resize, tuple):
        raise LayoutError(f"{source}: without a crop the size must give height and width")
    return spec


def _triple(values: Any, source: Path) -> tuple[float, float, float]:
    """Three numbers, one a channel."""
    red, green, blue = values if len(values) == 3 else (None, None, None)
    if red is None or green is None or blue is None:
        raise LayoutError(f"{source}: mean and std must have three values, one a channel")
    return float(red), float(green), float(blue)


def _efficientnet(config: dict[str, Any], source: Path) -> EfficientNetSpec:
    """An EfficientNet-Lite from babelclip's own config."""
    return EfficientNetSpec(
        blocks=tuple(ConvBlockSpec(*(int(value) for value in row)) for row in _require(config, "blocks", source)),
        stem_channels=int(_require(config, "stem_channels", source)),
        head_channels=int(_require(config, "head_channels", source)),
        classes=int(_require(config, "num_classes", source)),
        temperature=float(_require(config, "temperature", source)),
        residual=int(config.get("residual_width", 0)),
    )


def read_image_spec(folder: Path) -> ImageSpec:
    """Describe an image tower.

    :param folder: a folder in one of the forms above
    :return: its facts, and where its files are
    :raises ModelNotFoundError: if there is no such folder
    :raises LayoutError: if the form is not known
    """
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder} is not a folder")
    folder = encoder_folder(folder)
    source = folder / "config.json"
    config = read_json(source)
    family = _known(
        str(config.get("model_type")),
        ("clip", "clip_vision_model", "efficientnet-lite"),
        "model_type of an image tower",
        source,
    )
    if family == "efficientnet-lite":
        return ImageSpec(
            folder=folder,
            family="efficientnet",
            pixels=_pixel_spec(folder, int(_require(config, "image_size", source))),
            dimension=int(_require(config, "projection_dim", source)),
            efficientnet=_efficientnet(config, source),
        )
    vision = {**_CLIP_VISION_DEFAULTS, **(config.get("vision_config", {}) if family == "clip" else config)}
    pixels = _pixel_spec(folder, int(vision["image_size"]))
    if pixels.shape != (int(vision["image_size"]), int(vision["image_size"]), 3):
        raise LayoutError(
            f"{folder}: the processor gives {pixels.shape[:2]}, the encoder reads {vision['image_size']} square"
        )
    return ImageSpec(
        folder=folder,
        family="clip_vision",
        pixels=pixels,
        dimension=int(config.get("projection_dim", 512)),
        transformer=_encoder(vision, source, names=_CLIP_NAMES, eps=1e-5),
        patch=int(vision["patch_size"]),
    )
