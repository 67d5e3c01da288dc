import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.errors import LayoutError, ModelNotFoundError


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def text(text_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(text_folder, tmp_path / "text"))


@pytest.fixture
def clip(clip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "clip"))


def test_todays_form_and_the_published_form_say_the_same(
    reference_text_folder: Path, tmp_path: Path, reference: Any
) -> None:
    text = Path(shutil.copytree(reference_text_folder, tmp_path / "text"))
    new = read_text_spec(text)
    reference.rewrite_as_published(text)
    assert read_text_spec(text) == new
    assert (new.family, new.pooling, new.max_length, new.dimension) == ("distilbert", "mean", 128, 24)


def test_the_published_config_is_understood_to_the_letter(
    reference_text_folder: Path, tmp_path: Path, reference: Any
) -> None:
    text = Path(shutil.copytree(reference_text_folder, tmp_path / "text"))
    reference.rewrite_as_published(text)
    published = {
        "activation": "gelu",
        "dim": 768,
        "hidden_dim": 3072,
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "model_type": "distilbert",
        "n_heads": 12,
        "n_layers": 6,
        "pad_token_id": 0,
        "sinusoidal_pos_embds": False,
        "vocab_size": 119547,
    }
    (text / "config.json").write_text(json.dumps(published))
    edit(text / "1_Pooling/config.json", lambda c: c.update(word_embedding_dimension=768))
    edit(text / "2_Dense/config.json", lambda c: c.update(in_features=768, out_features=512))
    spec = read_text_spec(text)
    assert (spec.vocab_size, spec.max_positions, spec.max_length, spec.dimension) == (119547, 512, 128, 512)
    assert (spec.transformer.width, spec.transformer.layers, spec.transformer.layer_norm_eps) == (768, 6, 1e-12)
    assert spec.dense[0].bias is False
    assert spec.normalize is False


def test_a_default_prompt_is_read(text: Path) -> None:
    edit(
        text / "config_sentence_transformers.json",
        lambda c: c.update(prompts={"q": "query: "}, default_prompt_name="q"),
    )
    assert read_text_spec(text).prompt == "query: "


def test_the_transformer_may_have_a_folder_of_its_own(text: Path) -> None:
    expected = read_text_spec(text)
    (text / "0_Transformer").mkdir()
    for path in [path for path in text.iterdir() if path.is_file() and "modules" not in path.name]:
        if path.name != "config_sentence_transformers.json":
            path.rename(text / "0_Transformer" / path.name)
    edit(text / "modules.json", lambda c: c[0].update(path="0_Transformer"))
    edit(text / "config_sentence_transformers.json", lambda c: c.update(prompts={"q": "q: "}, default_prompt_name="q"))
    spec = read_text_spec(text)
    assert (spec.folder.name, spec.max_length, spec.prompt) == ("0_Transformer", expected.max_length, "q: ")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda c: c.update(model_type="t5"), "model_type 't5' is not known"),
        ("config.json", lambda c: c.pop("dim"), "has no 'dim'"),
        ("config.json", lambda c: c.update(activation="swish"), "activation 'swish' is not known"),
        ("1_Pooling/config.json", lambda c: c.update(pooling_mode="lasttoken"), "pooling mode 'lasttoken'"),
        ("1_Pooling/config.json", lambda c: c.update(include_prompt=False), "without the prompt"),
        ("2_Dense/config.json", lambda c: c.update(in_features=99), "takes 99 features, but 32 come in"),
        ("2_Dense/config.json", lambda c: c.update(activation_function="torch.nn.ReLU"), "ReLU"),
        ("modules.json", lambda c: c.pop(1), "module Dense at this place"),
        ("modules.json", lambda c: c.__delitem__(slice(1, 3)), "no Pooling module"),
        ("modules.json", lambda c: c[0].update(type="x.WordEmbeddings"), "the first module is WordEmbeddings"),
        ("modules.json", lambda c: c[0].pop("type"), "not a list of modules"),
        ("modules.json", lambda c: c.clear(), "not a list of modules"),
    ],
)
def test_an_unknown_form_is_an_error_that_names_it(
    text: Path, file: str, change: Callable[[Any], None], message: str
) -> None:
    edit(text / file, change)
    with pytest.raises(LayoutError, match=message):
        read_text_spec(text)


def test_broken_json_is_an_error_that_names_the_file(text: Path) -> None:
    (text / "config.json").write_text("{")
    with pytest.raises(LayoutError, match=r"config\.json cannot be read as JSON"):
        read_text_spec(text)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="is not a folder"):
        read_text_spec(tmp_path / "none")
    with pytest.raises(ModelNotFoundError, match="is not a folder"):
        read_image_spec(tmp_path / "none")


def test_the_three_image_forms_say_the_same(reference_clip_folder: Path, tmp_path: Path, reference: Any) -> None:
    clip = reference_clip_folder
    reference.save_as_clip_vit_b_32(clip, tmp_path / "st")
    reference.save_vision_only(clip, tmp_path / "vision")
    specs = [read_image_spec(folder) for folder in (clip, tmp_path / "st", tmp_path / "vision")]
    assert len({(spec.pixels, spec.transformer, spec.patch, spec.dimension) for spec in specs}) == 1
    assert specs[1].folder.name == "0_CLIPModel"


def test_old_clip_configs_leave_out_what_equals_the_defaults(clip: Path) -> None:
    (clip / "config.json").write_text('{"model_type": "clip", "text_config": {}, "vision_config": {}}')
    (clip / "preprocessor_config.json").write_text('{"size": 224, "crop_size": 224, "resample": 3}')
    spec = read_image_spec(clip)
    assert spec.transformer is not None
    assert (spec.transformer.width, spec.patch, spec.pixels.shape) == (768, 32, (224, 224, 3))
    assert spec.transformer.activation == "quick_gelu"
    assert spec.pixels.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    teacher = read_text_spec(clip)
    assert (teacher.family, teacher.max_length, teacher.vocab_size, teacher.end_of_text_id) == (
        "clip_text",
        77,
        49408,
        None,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(do_resize=False), "without resize"),
        (lambda c: c.update(image_mean=[0.5]), "three values"),
        (lambda c: c.update(crop_size={"height": 16, "width": 16}), "the encoder reads 32"),
        (lambda c: c.update(do_center_crop=False), "must give height and width"),
    ],
)
def test_a_processor_that_does_not_fit_is_an_error(clip: Path, change: Callable[[Any], None], message: str) -> None:
    edit(clip / "preprocessor_config.json", change)
    with pytest.raises(LayoutError, match=message):
        read_image_spec(clip)
