"""An alignment from beginning to end: embed texts, compute features, train heads, write the model folder."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from babelclip.checkpoints.layouts import read_image_spec, read_json, read_text_spec
from babelclip.checkpoints.specs import ImageSpec, TextSpec
from babelclip.checkpoints.weights import WEIGHTS, read_weights, write_weights
from babelclip.errors import DataError, InputError
from babelclip.evaluation.captions import Caption, match_captions, match_pictures, read_captions, read_pictures
from babelclip.evaluation.retrieval import best_ranks
from babelclip.filesystem import read_unzipped, require_empty
from babelclip.models import registry
from babelclip.models.export import copy_tower
from babelclip.pipeline import LogCallback
from babelclip.training.features import read_features, source_of
from babelclip.training.heads import (
    CaptionedSet,
    ClassifierHead,
    ClassNameRows,
    Encoder,
    HeadConfig,
    HeadEvaluator,
    HeadProgressCallback,
    ProjectionHead,
    TrainedHeads,
    align,
    captioned,
    class_vectors,
)
from babelclip.training.teacher import Teacher, teacher_vectors
from babelclip.vectors import FloatArray
from babelclip.zeroshot.class_names import read_numbered_names
from babelclip.zeroshot.templates import BARE, fill, templates_of

LOG = "align.json"
RECALL_AT = 10
VIEWS = 6
ClassNames = dict[str, dict[int, list[str]]]
"""Language -> class -> names of the class."""


@dataclass(frozen=True, slots=True)
class CaptionSet:
    """Pictures (a tar or a folder), a table of their captions, and the share of the steps."""

    pictures: Path
    captions: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentRun:
    """Inputs, outputs and hyperparameters. Pictures named in ``held_out`` are for evaluation, never for training."""

    text: str
    image: str
    out: Path
    sets: tuple[CaptionSet, ...]
    classes: Path | None = None
    templates: bool = False
    held_out: frozenset[str] = frozenset()
    languages: tuple[str, ...] = ()
    source: str = "en"
    views: int = VIEWS
    max_characters: int = 250
    training: HeadConfig = field(default_factory=HeadConfig)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of a run: captions, class names, prompts by (language, name), and the row of each text in vectors."""

    captions: Mapping[CaptionSet, list[Caption]]
    classes: ClassNames
    prompts: Mapping[tuple[str, str], str]
    rows: Mapping[str, int]
    vectors: FloatArray


def run_alignment(
    run: AlignmentRun, *, log_line: LogCallback | None = None, progress: HeadProgressCallback | None = None
) -> TrainedHeads:
    """Train the heads and write the folder of the dual encoder.

    :param run: inputs, outputs and hyperparameters
    :param log_line: receives a line at the beginning of each stage
    :param progress: receives the progress of training
    :return: the trained heads; ``run.out`` holds ``text``, ``image`` and the log
    :raises InputError: if the folder exists, or a tower is missing or unsuitable
    :raises DataError: if the data have another form
    """
    log_line = log_line or (lambda _: None)
    require_empty(run.out)
    text_spec, spec = _read_specs(run)
    log_line("embedding texts")
    texts = _embed_texts(run, log_line)
    training, held_out = _read_sets(run, spec, texts, log_line)
    if not training:
        raise DataError(
            "no caption outside --held-out names a picture of its set; compare the first column of the captions with "
            "the names of the pictures, without suffix"
        )
    numbered = {
        code: {number: tuple(texts.rows[name] for name in names) for number, names in by_class.items()}
        for code, by_class in texts.classes.items()
    }
    heads = align(
        _initial_head(spec, training, texts.vectors, numbered, run),
        training,
        texts.vectors,
        _with_prompts(numbered, texts),
        run.training,
        source=run.source,
        evaluate=_recall_evaluator(held_out, texts.vectors, run.source),
        progress=progress,
    )
    log_line("writing the model folder")
    _write(run, text_spec, spec, heads)
    return heads


def _read_specs(run: AlignmentRun) -> tuple[TextSpec, ImageSpec]:
    """Read the specifications of both towers, and check that they can be aligned."""
    text, image = registry.find(run.text).text, registry.find(run.image).image
    if text is None or image is None:
        raise InputError(
            f"{run.text if text is None else run.image} has no {'text' if text is None else 'image'} tower"
        )
    spec, text_spec = read_image_spec(image), read_text_spec(text)
    if not text_spec.dense:
        raise InputError(f"{run.text} has no Dense layer that a map could be folded into; distil a student first")
    return text_spec, spec


def _embed_texts(run: AlignmentRun, log_line: LogCallback) -> _Texts:
    """Embed captions, class names and prompts."""
    captions = {caption_set: _captions(caption_set, run) for caption_set in run.sets}
    classes = _read_classes(run.classes, run.languages) if run.classes else {}
    prompts = _prompts(classes, run.training.seed) if run.templates else {}
    class_names = [name for by_class in classes.values() for names in by_class.values() for name in names]
    caption_texts = [caption.text for rows in captions.values() for caption in rows]
    texts = list(dict.fromkeys([*caption_texts, *class_names, *prompts.values()]))
    vectors = teacher_vectors((Teacher(str(registry.find(run.text).text)),), texts, log_line=log_line).take(texts)
    return _Texts(captions, classes, prompts, {text: row for row, text in enumerate(texts)}, vectors)


def _read_sets(
    run: AlignmentRun, spec: ImageSpec, texts: _Texts, log_line: LogCallback
) -> tuple[list[CaptionedSet], list[CaptionedSet]]:
    """Compute the features of every set; return the pictures to train on and those that are held out."""
    fingerprint = registry.fingerprint(registry.ModelFolders(run.image, None, registry.find(run.image).image, {}))
    training, held_out = [], []
    for caption_set in run.sets:
        path = caption_set.pictures
        log_line(f"computing the features of {path.name}")
        features = read_features(spec, fingerprint, source_of(path), read_pictures(path), views=run.views)
        captions = match_captions(texts.captions[caption_set], features.names)
        held = frozenset(match_pictures(run.held_out, features.names).values())
        learned, measured = _split(captions, texts.rows, held)
        training.append(captioned(path.stem, features, learned, caption_set.weight))
        held_out.append(captioned(path.stem, features, measured, 1.0))
    return [part for part in training if part.texts], [part for part in held_out if part.texts]


def _with_prompts(names: ClassNameRows, texts: _Texts) -> ClassNameRows:
    """Append the rows of the prompts to those of the class names."""
    return {
        code: {
            number: rows[number]
            + tuple(texts.rows[texts.prompts[code, name]] for name in class_names if (code, name) in texts.prompts)
            for number, class_names in texts.classes[code].items()
        }
        for code, rows in names.items()
    }


def _captions(caption_set: CaptionSet, run: AlignmentRun) -> list[Caption]:
    """Read the captions of a set in the chosen languages, without those that are too long."""
    return [
        caption
        for caption in read_captions(caption_set.captions)
        if (not run.languages or caption.language in run.languages) and len(caption.text) <= run.max_characters
    ]


def _read_classes(path: Path, languages: Sequence[str]) -> ClassNames:
    """Read class names from Babel-ImageNet's JSON or from a table with the columns index, lang and name."""
    classes: ClassNames = defaultdict(lambda: defaultdict(list))
    if ".json" in path.name:
        for code, names in read_numbered_names(path)[1].items():
            for number, name in names.items():
                classes[code][number].append(name)
    else:
        table = csv.DictReader(io.StringIO(read_unzipped(path).decode("utf-8")), delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"index", "lang", "name"} <= set(table.fieldnames or ()):
            raise DataError(f"{path}: the columns are {table.fieldnames}; index, lang and name must be among them")
        for row in table:
            classes[row["lang"]][int(row["index"])].append(row["name"])
    return {code: dict(names) for code, names in classes.items() if not languages or code in languages}


def _prompts(classes: ClassNames, seed: int) -> dict[tuple[str, str], str]:
    """Put every class name into a random template of its language: (language, name) -> prompt."""
    rng = np.random.default_rng(seed)
    prompts: dict[tuple[str, str], str] = {}
    for code, by_class in classes.items():
        templates = [template for template in templates_of(code) if template != BARE]
        for names in by_class.values() if templates else ():
            for name in names:
                prompts[code, name] = fill([templates[rng.integers(len(templates))]], name)[0]
    return prompts


def _split(
    captions: Sequence[Caption], rows: Mapping[str, int], held_out: frozenset[str]
) -> tuple[dict[str, dict[str, list[int]]], dict[str, dict[str, list[int]]]]:
    """Split captions into those for training and those held out: picture -> language -> rows of texts."""
    training: dict[str, dict[str, list[int]]] = {}
    measured: dict[str, dict[str, list[int]]] = {}
    for caption in captions:
        part = measured if caption.image in held_out else training
        part.setdefault(caption.image, {}).setdefault(caption.language, []).append(rows[caption.text])
    return training, measured


def _initial_head(
    spec: ImageSpec, training: Sequence[CaptionedSet], vectors: FloatArray, names: ClassNameRows, run: AlignmentRun
) -> ClassifierHead | ProjectionHead:
    """Make the image head that training starts from."""
    if spec.efficientnet is None:
        return ProjectionHead(read_weights(spec.folder)["visual_projection.weight"])
    if len(names.get(run.source, {})) != spec.efficientnet.classes:
        raise DataError(
            f"--classes must name all {spec.efficientnet.classes} classes of {run.image} in {run.source!r}; it names "
            f"{len(names.get(run.source, {}))}"
        )
    features = np.concatenate([part.features.reshape(-1, part.features.shape[2]) for part in training])
    start = class_vectors(vectors, names, run.source, run.training.others)
    weights = read_weights(spec.folder)
    return ClassifierHead(start, weights["classifier.weight"], weights["classifier.bias"], features, run.training)


def _recall_evaluator(held_out: Sequence[CaptionedSet], vectors: FloatArray, source: str) -> HeadEvaluator:
    """Make the evaluator of R@10 on the held-out pictures: the source language, and the mean of the others."""

    def evaluate(image: Encoder, text: Encoder) -> dict[str, float]:
        figures: dict[str, float] = {}
        for part in held_out:
            pictures = image(part.features[:, 0])
            by_language: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for picture, languages in enumerate(part.texts):
                for language, rows in languages.items():
                    by_language[language].extend((row, picture) for row in rows)
            recalls = {}
            for language, pairs in by_language.items():
                scores = text(vectors[[row for row, _ in pairs]]) @ pictures.T
                correct = np.array([picture for _, picture in pairs])[:, None] == np.arange(len(pictures))
                recalls[language] = float((best_ranks(scores, correct) <= RECALL_AT).mean())
            others = [recall for language, recall in recalls.items() if language != source]
            if source in recalls:
                figures[f"{part.name} {source}"] = recalls[source]
            if others:
                figures[f"{part.name} others"] = float(np.mean(others))
        return figures

    return evaluate


def _write(run: AlignmentRun, text: TextSpec, spec: ImageSpec, heads: TrainedHeads) -> None:
    """Write ``text`` with the map folded into its last Dense layer, ``image`` with the head, and the log."""
    copy_tower(text.folder, run.out / "text")
    module = read_text_spec(run.out / "text").dense[-1]
    weights = read_weights(module.folder)
    weight = heads.text_weight @ weights["linear.weight"]
    bias = heads.text_bias + (heads.text_weight @ weights["linear.bias"] if module.bias else 0)
    write_weights(module.folder / WEIGHTS, {"linear.weight": weight, "linear.bias": bias})
    _update(module.folder / "config.json", {"bias": True})
    copy_tower(spec.folder, run.out / "image")
    write_weights(run.out / "image" / WEIGHTS, {**read_weights(spec.folder), **heads.image})
    changes: dict[str, Any] = {"projection_dim": len(heads.text_bias)}
    if spec.efficientnet is not None:
        changes |= {"temperature": heads.temperature, "residual_width": run.training.width}
    _update(run.out / "image" / "config.json", changes)
    record = {
        "text": run.text,
        "image": run.image,
        "sets": [{"pictures": s.pictures.name, "captions": s.captions.name, "weight": s.weight} for s in run.sets],
        "held_out": len(run.held_out),
        "settings": asdict(run.training),
        "scale": heads.scale,
        "log": heads.log,
    }
    (run.out / LOG).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _update(path: Path, changes: Mapping[str, Any]) -> None:
    """Change entries of a JSON file."""
    path.write_text(json.dumps({**read_json(path), **changes}, indent=1) + "\n", encoding="utf-8")
