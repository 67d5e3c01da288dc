"""A whole alignment: texts, features, heads, and the folder of the pair that comes of it."""

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
from babelclip.evaluation.captions import Caption, read_captions, read_pictures
from babelclip.evaluation.retrieval import best_ranks
from babelclip.filesystem import read_unzipped, require_empty
from babelclip.models import registry
from babelclip.models.export import copy_tower
from babelclip.training.features import Features, read_features, source_of
from babelclip.training.heads import (
    Aligned,
    CaptionedSet,
    ClassifierHead,
    Encode,
    Measure,
    ProjectionHead,
    Settings,
    Show,
    align,
    captioned,
    class_vectors,
)
from babelclip.training.teacher import Say, Teacher, teacher_vectors
from babelclip.vectors import FloatArray
from babelclip.zeroshot.class_names import read_numbered_names
from babelclip.zeroshot.templates import BARE, fill, templates_of

LOG = "align.json"
CUT = 10
VIEWS = 6
ClassTexts = dict[str, dict[int, list[str]]]
"""language -> class -> its names."""


@dataclass(frozen=True, slots=True)
class CaptionSet:
    """Pictures (a tar or a folder), their captions (a table), and the set's share of the steps."""

    pictures: Path
    captions: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What is tied to what. Pictures named in ``held_out`` are measured on and never learned from."""

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
    training: Settings = field(default_factory=Settings)


def run_alignment(job: Alignment, *, say: Say | None = None, show: Show | None = None) -> Aligned:
    """Learn the heads and write the pair.

    :param job: what is tied to what
    :param say: is told what is under way
    :param show: is told where the learning is
    :return: what was learned; ``job.out`` holds ``text``, ``image`` and the log
    :raises InputError: if the folder is there already, or a tower is missing or cannot be tied
    :raises DataError: if the data have another form
    """
    say = say or (lambda _: None)
    require_empty(job.out)
    text = registry.find(job.text).text
    image = registry.find(job.image)
    if text is None or image.image is None:
        raise InputError(
            f"{job.text if text is None else job.image} has no {'text' if text is None else 'image'} tower"
        )
    spec, text_spec = read_image_spec(image.image), read_text_spec(text)
    if not text_spec.dense:
        raise InputError(f"{job.text} has no Dense layer that a map could be folded into; distil a student first")
    captions = {one: _captions(one, job) for one in job.sets}
    classes = _read_classes(job.classes, job.languages) if job.classes else {}
    prompts = _prompts(classes, job.training.seed) if job.templates else {}
    say("embedding texts")
    named = [name for own in classes.values() for names in own.values() for name in names]
    learned_from = [caption.text for rows in captions.values() for caption in rows]
    texts = list(dict.fromkeys([*learned_from, *named, *prompts.values()]))
    vectors = teacher_vectors((Teacher(str(text)),), texts, say=say).take(texts)
    rows = {text: row for row, text in enumerate(texts)}
    fingerprint = registry.fingerprint(registry.ModelFolders(job.image, None, image.image, {}))
    found: dict[CaptionSet, Features] = {}
    for one in job.sets:
        say(f"looking at {one.pictures.name}")
        found[one] = read_features(
            spec, fingerprint, source_of(one.pictures), read_pictures(one.pictures), views=job.views
        )
    training, held = [], []
    for one, features in found.items():
        learned, measured = _part(captions[one], rows, job.held_out)
        training.append(captioned(one.pictures.stem, features, learned, one.weight))
        held.append(captioned(one.pictures.stem, features, measured, 1.0))
    training = [one for one in training if one.texts]
    if not training:
        raise DataError("no caption that may be learned from names a picture that is here")
    numbered = {
        code: {number: tuple(rows[name] for name in names) for number, names in own.items()}
        for code, own in classes.items()
    }
    head = _start(spec, training, vectors, numbered, job)
    prompted = {
        code: {
            number: own[number] + tuple(rows[prompts[code, name]] for name in names if (code, name) in prompts)
            for number, names in classes[code].items()
        }
        for code, own in numbered.items()
    }
    aligned = align(
        head,
        training,
        vectors,
        prompted,
        job.training,
        source=job.source,
        measure=_measure([one for one in held if one.texts], vectors, job.source),
        show=show,
    )
    say("writing the pair")
    _write(job, text_spec, spec, aligned)
    return aligned


def _captions(one: CaptionSet, job: Alignment) -> list[Caption]:
    """The captions of a set in the languages asked for, without very long ones."""
    return [
        caption
        for caption in read_captions(one.captions)
        if (not job.languages or caption.language in job.languages) and len(caption.text) <= job.max_characters
    ]


def _read_classes(path: Path, languages: Sequence[str]) -> ClassTexts:
    """Class names: Babel-ImageNet's JSON, or a table with columns index, lang and name."""
    found: ClassTexts = defaultdict(lambda: defaultdict(list))
    if ".json" in path.name:
        for code, names in read_numbered_names(path)[1].items():
            for number, name in names.items():
                found[code][number].append(name)
    else:
        table = csv.DictReader(io.StringIO(read_unzipped(path).decode("utf-8")), delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"index", "lang", "name"} <= set(table.fieldnames or ()):
            raise DataError(f"{path}: its columns are {table.fieldnames}; index, lang and name must be among them")
        for row in table:
            found[row["lang"]][int(row["index"])].append(row["name"])
    return {code: dict(own) for code, own in found.items() if not languages or code in languages}


def _prompts(classes: ClassTexts, seed: int) -> dict[tuple[str, str], str]:
    """(language, name) -> the name in one of the templates of its language, drawn at random."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], str] = {}
    for code, own in classes.items():
        templates = [template for template in templates_of(code) if template != BARE]
        for names in own.values() if templates else ():
            for name in names:
                found[code, name] = fill([templates[rng.integers(len(templates))]], name)[0]
    return found


def _part(
    captions: Sequence[Caption], rows: Mapping[str, int], held_out: frozenset[str]
) -> tuple[dict[str, dict[str, list[int]]], dict[str, dict[str, list[int]]]]:
    """Picture -> language -> rows of texts, of those that are learned from and of those that are held out."""
    learned: dict[str, dict[str, list[int]]] = {}
    measured: dict[str, dict[str, list[int]]] = {}
    for caption in captions:
        into = measured if caption.image in held_out else learned
        into.setdefault(caption.image, {}).setdefault(caption.language, []).append(rows[caption.text])
    return learned, measured


def _start(
    spec: ImageSpec,
    training: Sequence[CaptionedSet],
    vectors: FloatArray,
    names: Mapping[str, Mapping[int, tuple[int, ...]]],
    job: Alignment,
) -> ClassifierHead | ProjectionHead:
    """The image head that the learning starts from."""
    if spec.efficientnet is None:
        return ProjectionHead(read_weights(spec.folder)["visual_projection.weight"])
    if len(names.get(job.source, {})) != spec.efficientnet.classes:
        raise DataError(
            f"--classes must name all {spec.efficientnet.classes} classes of {job.image} in {job.source!r}; it names "
            f"{len(names.get(job.source, {}))}"
        )
    flat = np.concatenate([one.features.reshape(-1, one.features.shape[2]) for one in training])
    start = class_vectors(vectors, names, job.source, job.training.others)
    weights = read_weights(spec.folder)
    return ClassifierHead(start, weights["classifier.weight"], weights["classifier.bias"], flat, job.training)


def _measure(held: Sequence[CaptionedSet], vectors: FloatArray, source: str) -> Measure:
    """R@10 of the held-out pictures of every set: in the source language, and the mean of the others."""

    def measure(image: Encode, text: Encode) -> dict[str, float]:
        found: dict[str, float] = {}
        for one in held:
            pictures = image(one.features[:, 0])
            by_language: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for picture, languages in enumerate(one.texts):
                for language, rows in languages.items():
                    by_language[language].extend((row, picture) for row in rows)
            recalls = {}
            for language, pairs in by_language.items():
                scores = text(vectors[[row for row, _ in pairs]]) @ pictures.T
                own = np.array([picture for _, picture in pairs])[:, None] == np.arange(len(pictures))
                recalls[language] = float((best_ranks(scores, own) <= CUT).mean())
            others = [recall for language, recall in recalls.items() if language != source]
            if source in recalls:
                found[f"{one.name} {source}"] = recalls[source]
            if others:
                found[f"{one.name} others"] = float(np.mean(others))
        return found

    return measure


def _write(job: Alignment, text: TextSpec, spec: ImageSpec, aligned: Aligned) -> None:
    """``text`` with its map folded into the last Dense layer, ``image`` with its head, and the log."""
    copy_tower(text.folder, job.out / "text")
    module = read_text_spec(job.out / "text").dense[-1]
    weights = read_weights(module.folder)
    weight = aligned.text_weight @ weights["linear.weight"]
    bias = aligned.text_bias + (aligned.text_weight @ weights["linear.bias"] if module.bias else 0)
    write_weights(module.folder / WEIGHTS, {"linear.weight": weight, "linear.bias": bias})
    _update(module.folder / "config.json", {"bias": True})
    copy_tower(spec.folder, job.out / "image")
    write_weights(job.out / "image" / WEIGHTS, {**read_weights(spec.folder), **aligned.image})
    changes: dict[str, Any] = {"projection_dim": len(aligned.text_bias)}
    if spec.efficientnet is not None:
        changes |= {"temperature": aligned.temperature, "residual_width": job.training.width}
    _update(job.out / "image" / "config.json", changes)
    record = {
        "text": job.text,
        "image": job.image,
        "sets": [{"pictures": s.pictures.name, "captions": s.captions.name, "weight": s.weight} for s in job.sets],
        "held_out": len(job.held_out),
        "settings": asdict(job.training),
        "scale": aligned.scale,
        "log": aligned.log,
    }
    (job.out / LOG).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _update(path: Path, changes: Mapping[str, Any]) -> None:
    """Change entries of a JSON file."""
    path.write_text(json.dumps({**read_json(path), **changes}, indent=1) + "\n", encoding="utf-8")
