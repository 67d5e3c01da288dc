"""Other libraries, opened in this process, each with the calls that its own users would write."""

from pathlib import Path
from typing import Any

from babelclip.errors import InputError
from benchmarks.speed.engines import EngineAdapter
from benchmarks.speed.fixtures import REAL, Fixtures
from benchmarks.speed.work import HITS, Encoders, Work

BATCH_TEXTS, BATCH_PICTURES = 128, 32
"""What sentence-transformers is told to take at once."""
OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""open_clip's names of what transformers has in a layer."""


def open_library(engine: EngineAdapter, task: str, fixtures: Fixtures) -> Encoders:
    """Load another library.

    :param engine: of the family sentence-transformers, fastembed or open_clip
    :param task: what is wanted of it
    :param fixtures: where its models are
    :return: what it does
    :raises InputError: if it cannot be used on these fixtures
    :raises ImportError: if a package of it is not installed
    """
    opened = {"sentence-transformers": _sentence_transformers, "fastembed": _fastembed, "open_clip": _open_clip}
    return opened[engine.family](engine, task, fixtures)


def _sentence_transformers(engine: EngineAdapter, task: str, fixtures: Fixtures) -> Encoders:
    """SentenceTransformer.encode, as its documentation shows it."""
    from sentence_transformers import SentenceTransformer

    def load(folder: Path, backend: Any) -> Any:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True, backend=backend)

    def encode(model: Any, items: list[Any], batch: int) -> object:
        return model.encode(items, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)

    texts = pictures = paths = None
    if task in ("text", "query", "search", "memory"):
        backend = {"onnxruntime": "onnx"}.get(engine.runtime, engine.runtime)
        folder = fixtures.text
        if backend == "onnx":
            folder = fixtures.exported
            if not folder.is_dir():
                load(fixtures.text, backend).save(str(folder))
        text_model = load(folder, backend)

        def texts(items: list[str]) -> object:
            return encode(text_model, items, BATCH_TEXTS)

    if task in ("images", "tower", "files", "memory"):
        from PIL import Image

        image_model = load(fixtures.image, "torch")

        def pictures(items: list[Any]) -> object:
            return encode(image_model, items, BATCH_PICTURES)

        def paths(items: list[Path]) -> object:
            return encode(image_model, [Image.open(path) for path in items], BATCH_PICTURES)

    return Encoders(texts, pictures, paths)


def search_by_hand(fixtures: Fixtures) -> Work:
    """What users of sentence-transformers write: encode, then util.semantic_search over a tensor of vectors.

    :param fixtures: where the model is, and how many vectors there are
    :return: the task "search"
    :raises ImportError: if a package of it is not installed
    """
    import torch
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(str(fixtures.text), device="cpu", local_files_only=True)
    torch.manual_seed(0)
    size = len(model.encode("", show_progress_bar=False))
    corpus = torch.nn.functional.normalize(torch.randn(fixtures.counts.photos, size))

    def find(query: list[str]) -> object:
        vector = model.encode(query, convert_to_tensor=True, show_progress_bar=False)
        return util.semantic_search(vector, corpus, top_k=HITS)

    return Work(1, lambda i: fixtures.texts(i, 1), find)


def _fastembed(engine: EngineAdapter, task: str, fixtures: Fixtures) -> Encoders:
    """Fastembed on the graph that sentence-transformers exported."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    graph = "onnx/model.onnx"
    if not (fixtures.exported / graph).is_file():
        raise InputError("it needs the graph that sentence-transformers-onnx exports; measure that first")
    TextEmbedding.add_custom_model(
        model="benchmark/text",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="file:///nowhere"),
        dim=int(fixtures.facts["width"]),
        model_file=graph,
    )
    model = TextEmbedding("benchmark/text", specific_model_path=str(fixtures.exported))

    def texts(items: list[str]) -> object:
        return list(model.embed(items, batch_size=BATCH_TEXTS))

    return Encoders(texts, note="without the Dense layer, which fastembed does not have")


def _open_clip(engine: EngineAdapter, task: str, fixtures: Fixtures) -> Encoders:
    """open_clip's ViT-B/32 with its own preprocessing."""
    import open_clip
    import torch
    from PIL import Image

    if fixtures.counts != REAL:
        raise InputError("it has a ViT-B/32 only, not the tiny model")
    model, _, prepare = open_clip.create_model_and_transforms("ViT-B-32-quickgelu", pretrained=None)
    model.visual.load_state_dict(_open_clip_weights(fixtures.image))
    model.eval()

    @torch.inference_mode()
    def pictures(items: list[Any]) -> object:
        return model.encode_image(torch.stack([prepare(item) for item in items]), normalize=True).numpy()

    def paths(items: list[Path]) -> object:
        return pictures([Image.open(path) for path in items])

    return Encoders(None, pictures, paths)


def _open_clip_weights(folder: Path) -> dict[str, Any]:
    """The image tower of a CLIP pair that transformers saved, under open_clip's names."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    found = {
        new: tensors[f"vision_model.{old}"]
        for new, old in (
            ("class_embedding", "embeddings.class_embedding"),
            ("positional_embedding", "embeddings.position_embedding.weight"),
            ("conv1.weight", "embeddings.patch_embedding.weight"),
        )
    }
    found["proj"] = tensors["visual_projection.weight"].T.contiguous()
    layers = {name.split(".")[3] for name in tensors if name.startswith("vision_model.encoder.layers.")}
    pairs = [("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")]
    for layer in layers:
        mine, theirs = f"transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        pairs += [(f"{mine}.{new}", f"{theirs}.{old}") for new, old in OPEN_CLIP_LAYER.items()]
    for kind in ("weight", "bias"):
        found |= {f"{new}.{kind}": tensors[f"vision_model.{old}.{kind}"] for new, old in pairs}
        for layer in layers:
            parts = [
                tensors[f"vision_model.encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] for part in ("q", "k", "v")
            ]
            found[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    return found
