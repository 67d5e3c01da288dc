"""A whole distillation: pairs, student, teacher's vectors, training, report and model card."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.evaluation.captions import read_captions, read_pictures
from babelclip.evaluation.report import as_data
from babelclip.evaluation.retrieval import encode_pictures, score_retrieval
from babelclip.evaluation.scores import LanguageScore, Report, TextEncoder, figures
from babelclip.evaluation.translation import Pairs, evaluate_translation
from babelclip.filesystem import require_empty
from babelclip.models.model import Model
from babelclip.training.artifacts import CARD, PLOT, plot_log, write_card
from babelclip.training.distill import (
    CHECKPOINTS,
    Progress,
    Settings,
    StudentEncoder,
    distill,
    last_checkpoint,
    processes,
)
from babelclip.training.pairs import Corpus, CorpusFile, hold_out, place, read_corpora
from babelclip.training.sampling import ALPHA, Plan, draw, shares
from babelclip.training.student import fit_dense, load_tokenizer, make_student, write_dense
from babelclip.training.teacher import Say, Teacher, teacher_vectors
from babelclip.training.vector_cache import VectorStore
from babelclip.training.vocabulary import count_tokens
from babelclip.vectors import FloatArray, unit_rows

FIT_TEXTS = 20_000
"""Texts that the student's Dense layer is fitted on before the training: fifty a dimension."""
START = "start"
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Pictures and captions that the student is measured on, and the model whose image tower embeds them."""

    pictures: Path
    captions: Path
    image_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is taught to whom.

    ``samples`` 0 is as many as there are pairs; ``dimension`` 0 is the teacher's own, or 512 where there are several.
    """

    teachers: tuple[Teacher, ...]
    student: Path
    out: Path
    corpora: tuple[CorpusFile, ...]
    source: str = "en"
    languages: tuple[str, ...] = ()
    dimension: int = 0
    layers: str = ""
    vocabulary: int = 0
    max_length: int = 128
    alpha: float = ALPHA
    language_weights: Mapping[str, float] = field(default_factory=dict)
    source_share: float = 0.5
    samples: int = 0
    held_out: int = 200
    images: tuple[ImageSet, ...] = ()
    training: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a course: its log, and reports on what training never saw."""

    log: list[dict[str, float]]
    reports: tuple[Report, ...]
    languages: Mapping[str, int]


def run_course(
    course: Course, *, resume: bool = False, say: Say | None = None, show: Callable[[Progress], None] | None = None
) -> Outcome:
    """Teach a student.

    :param course: what to whom
    :param resume: go on from the last checkpoint of a course with the same settings
    :param say: is told what is under way
    :param show: is told where the training is
    :return: the log and, in the first of several processes, the reports; the student is in ``course.out``
    :raises InputError: if something is there already
    """
    # Of several processes the first prepares what the others find on disk.
    state = processes()
    first = state.is_main_process
    say = say if say is not None and first else (lambda _: None)
    if first and not resume:
        require_empty(course.out, "or --resume")
    say("reading pairs")
    corpora = [
        corpus
        for file in course.corpora
        for corpus in read_corpora(file, source=course.source, languages=course.languages)
    ]
    split = hold_out(corpora, course.held_out)
    weights = {file.path: file.weight for file in course.corpora if file.weight is not None}
    fractions = shares(split.train, weights=weights, languages=course.language_weights, alpha=course.alpha)
    samples = course.samples or sum(map(len, split.train))
    plan = draw(split.train, fractions, samples=samples, source_share=course.source_share, seed=course.training.seed)
    held = held_out_pairs(split.held_out, course.held_out)
    sources = list(dict.fromkeys([*plan.sources, *(text for pairs in held for text in pairs.english)]))
    with state.main_process_first():
        say("teacher's vectors")
        bf16 = course.training.bf16
        store = teacher_vectors(course.teachers, sources, course.dimension, bf16=bf16, say=say)
        start = course.out / START
        if not (start / "modules.json").is_file():
            say("making the student")
            _make_start(course, start, corpora, plan, store)
    evaluate = _Examination(held, store, course.images)
    resume = resume and last_checkpoint(course.out / CHECKPOINTS) is not None
    say("training, from the last checkpoint" if resume else "training")
    log = distill(
        start,
        course.out,
        plan,
        store.rows(plan.sources),
        store.vectors,
        course.training,
        evaluate=evaluate,
        resume=resume,
        show=show,
    )
    state.wait_for_everyone()
    languages = _counts(split.train)
    reports: tuple[Report, ...] = ()
    if first:
        say("measuring the student")
        reports = evaluate.reports(Model.load(text=course.out))
        _write_report(course, log, reports, languages)
    return Outcome(log, reports, languages)


def _make_start(course: Course, start: Path, corpora: Sequence[Corpus], plan: Plan, store: VectorStore) -> None:
    """Write the student as it is before the training, its Dense layer fitted to the teacher."""
    counts = _token_counts(course, corpora) if course.vocabulary else None
    make_student(
        course.student,
        start,
        layers=course.layers,
        counts=counts,
        vocabulary=course.vocabulary,
        max_length=course.max_length,
    )
    fitted = slice(0, FIT_TEXTS)
    pooled = Model.load(text=start).encode_text(plan.texts[fitted], unit=False)
    write_dense(start, *fit_dense(pooled, store.take(plan.sources[fitted])))


def held_out_pairs(corpora: Sequence[Corpus], most: int) -> list[Pairs]:
    """Up to so many pairs of each language, one for a source, those first whose place comes first.

    :param corpora: pairs that training does not see
    :param most: how many a language
    :return: the pairs, in order of the codes
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for corpus in corpora:
        for source, text in zip(corpus.sources, corpus.texts, strict=True):
            found[corpus.language].setdefault(source, text)
    pairs = []
    for language, texts in sorted(found.items()):
        sources = sorted(texts, key=place)[:most]
        pairs.append(Pairs(language, sources, [texts[source] for source in sources]))
    return pairs


def _counts(corpora: Sequence[Corpus]) -> dict[str, int]:
    """Pairs by language."""
    counts: dict[str, int] = defaultdict(int)
    for corpus in corpora:
        counts[corpus.language] += len(corpus)
    return dict(sorted(counts.items()))


def _token_counts(course: Course, corpora: Sequence[Corpus]) -> dict[str, NDArray[np.int64]]:
    """The use of each token of the student's tokenizer by language."""
    tokenizer = load_tokenizer(course.student)
    counts: dict[str, NDArray[np.int64]] = {}
    for corpus in corpora:
        counts[corpus.language] = counts.get(corpus.language, 0) + count_tokens(tokenizer, corpus.texts)
    english = dict.fromkeys(text for corpus in corpora for text in corpus.sources)
    counts[course.source] = count_tokens(tokenizer, english)
    return counts


class _Examination:
    """Measures a student on pairs and pictures that training never saw."""

    def __init__(self, held: Sequence[Pairs], store: VectorStore, images: Sequence[ImageSet]) -> None:
        self._held = held
        self._store = store
        self._images = []
        for image_set in images:
            model = Model.load(image=image_set.image_model)
            names, vectors, _ = encode_pictures(model, read_pictures(image_set.pictures))
            self._images.append((names, vectors, read_captions(image_set.captions)))

    def __call__(self, student: StudentEncoder) -> dict[str, float]:
        """The means over the languages; ``score`` is that of translation, which needs no scale."""
        found: dict[str, float] = {}
        for report in self.reports(student):
            mean = report.mean([score.language for score in report.scores])
            found |= {f"{report.title.lower()} {name}": figure.value for name, figure in mean.figures.items()}
        return {**found, "score": found.get("translation both", 0.0)}

    def reports(self, encoder: TextEncoder) -> tuple[Report, ...]:
        """Distance from the teacher, translation, and retrieval where there are pictures."""
        reports = []
        if self._held:
            reports += [self._distance(encoder), evaluate_translation(encoder, self._held)]
        reports += [score_retrieval(encoder, *image_set) for image_set in self._images]
        return tuple(reports)

    def _distance(self, encoder: TextEncoder) -> Report:
        """100 times the mean squared error of unit rows, as sentence-transformers reports it; lower is better."""
        scores = []
        for pairs in self._held:
            targets = unit_rows(self._store.take(pairs.english))
            error: FloatArray = 100 * np.square(encoder.encode_text(pairs.translated) - targets).mean(axis=1)
            scores.append(LanguageScore(pairs.language, len(error), figures({"MSE x 100": error})))
        return Report("Distance from the teacher", f"{sum(score.count for score in scores)} pairs", tuple(scores))


def _write_report(
    course: Course, log: list[dict[str, float]], reports: Sequence[Report], languages: Mapping[str, int]
) -> None:
    """What the course was and what came of it, as JSON."""
    record = {
        "teachers": [asdict(teacher) for teacher in course.teachers],
        "student": str(course.student),
        "corpora": [asdict(file) for file in course.corpora],
        "pairs": languages,
        "layers": course.layers,
        "vocabulary": course.vocabulary,
        "samples": course.samples,
        "source_share": course.source_share,
        "alpha": course.alpha,
        "settings": asdict(course.training),
        "reports": [row for report in reports for row in as_data(report, sorted(languages))],
    }
    (course.out / REPORT).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    plot_log(log, course.out / PLOT)
    write_card(
        course.out / CARD,
        name=course.out.name,
        teachers=[Path(teacher.name).name for teacher in course.teachers],
        student=course.student.name,
        pairs=languages,
        corpora=[file.name for file in course.corpora],
        settings={"texts": course.samples or "as many as pairs", "layers": course.layers or "all"}
        | asdict(course.training),
        reports=reports,
    )
