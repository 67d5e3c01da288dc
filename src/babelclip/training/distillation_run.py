"""A distillation from beginning to end: pairs, student, teacher vectors, training, report and model card."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from babelclip.pipeline import LogCallback
from babelclip.training.artifacts import CARD, PLOT, plot_log, write_card
from babelclip.training.distill import (
    CHECKPOINTS,
    DistillationConfig,
    StudentEncoder,
    TrainingProgressCallback,
    distill,
    last_checkpoint,
    processes,
)
from babelclip.training.pairs import Corpus, CorpusFile, hash_position, hold_out, read_corpora
from babelclip.training.sampling import ALPHA, TrainingPlan, draw, shares
from babelclip.training.student import fit_dense, load_tokenizer, make_student, write_dense
from babelclip.training.teacher import Teacher, teacher_vectors
from babelclip.training.vector_cache import VectorCache
from babelclip.training.vocabulary import count_tokens
from babelclip.vectors import FloatArray, unit_rows

FIT_TEXTS = 20_000
"""Texts on which the student's Dense layer is fitted before training: about fifty for each dimension."""
START = "start"
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Pictures and captions for evaluation, and the model whose image tower embeds the pictures."""

    pictures: Path
    captions: Path
    image_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationRun:
    """Inputs, outputs and hyperparameters.

    ``samples`` 0 is the number of pairs; ``dimension`` 0 is the teacher's, or 512 for an ensemble.
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
    training: DistillationConfig = field(default_factory=DistillationConfig)


@dataclass(frozen=True, slots=True)
class DistillationResult:
    """The log, reports on held-out data, and the number of training pairs by language."""

    log: list[dict[str, float]]
    reports: tuple[Report, ...]
    languages: Mapping[str, int]


def run_distillation(
    run: DistillationRun,
    *,
    resume: bool = False,
    log_line: LogCallback | None = None,
    progress: TrainingProgressCallback | None = None,
) -> DistillationResult:
    """Make, train and measure a student.

    :param run: inputs, outputs and hyperparameters
    :param resume: continue from the last checkpoint of a run with the same arguments
    :param log_line: receives a line at the beginning of each stage
    :param progress: receives the progress of training
    :return: the log and, in the first of several processes, the reports; the student is in ``run.out``
    :raises InputError: if the output folder is not empty
    """
    # The first of several processes prepares the files that the others read.
    state = processes()
    first = state.is_main_process
    log_line = log_line if log_line is not None and first else (lambda _: None)
    if first and not resume:
        require_empty(run.out, "or --resume")
    log_line("reading pairs")
    corpora = [
        corpus for file in run.corpora for corpus in read_corpora(file, source=run.source, languages=run.languages)
    ]
    split = hold_out(corpora, run.held_out)
    weights = {file.path: file.weight for file in run.corpora if file.weight is not None}
    fractions = shares(split.train, weights=weights, languages=run.language_weights, alpha=run.alpha)
    samples = run.samples or sum(map(len, split.train))
    plan = draw(split.train, fractions, samples=samples, source_share=run.source_share, seed=run.training.seed)
    held = held_out_pairs(split.held_out, run.held_out)
    sources = list(dict.fromkeys([*plan.sources, *(text for pairs in held for text in pairs.english)]))
    with state.main_process_first():
        log_line("computing teacher vectors")
        bf16 = run.training.bf16
        cache = teacher_vectors(run.teachers, sources, run.dimension, bf16=bf16, log_line=log_line)
        start = run.out / START
        if not (start / "modules.json").is_file():
            log_line("making the student")
            _make_student(run, start, corpora, plan, cache)
    evaluate = _StudentEvaluator(held, cache, run.images)
    resume = resume and last_checkpoint(run.out / CHECKPOINTS) is not None
    log_line("training, from the last checkpoint" if resume else "training")
    log = distill(
        start,
        run.out,
        plan,
        cache.rows(plan.sources),
        cache.vectors,
        run.training,
        evaluate=evaluate,
        resume=resume,
        progress=progress,
    )
    state.wait_for_everyone()
    languages = _pair_counts(split.train)
    reports: tuple[Report, ...] = ()
    if first:
        log_line("measuring the student")
        reports = evaluate.reports(Model.load(text=run.out))
        _write_report(run, log, reports, languages)
    return DistillationResult(log, reports, languages)


def _make_student(
    run: DistillationRun, start: Path, corpora: Sequence[Corpus], plan: TrainingPlan, cache: VectorCache
) -> None:
    """Write the initial student, its Dense layer fitted to the teacher."""
    counts = _token_counts(run, corpora) if run.vocabulary else None
    make_student(
        run.student,
        start,
        layers=run.layers,
        counts=counts,
        vocabulary=run.vocabulary,
        max_length=run.max_length,
    )
    fitted = slice(0, FIT_TEXTS)
    pooled = Model.load(text=start).encode_text(plan.texts[fitted], unit=False)
    write_dense(start, *fit_dense(pooled, cache.take(plan.sources[fitted])))


def held_out_pairs(corpora: Sequence[Corpus], most: int) -> list[Pairs]:
    """Choose up to ``most`` pairs of each language, one for each source, by the hash position of the source.

    :param corpora: held-out pairs
    :param most: maximum number of pairs of a language
    :return: the pairs, ordered by language code
    """
    by_language: dict[str, dict[str, str]] = defaultdict(dict)
    for corpus in corpora:
        for source, text in zip(corpus.sources, corpus.texts, strict=True):
            by_language[corpus.language].setdefault(source, text)
    pairs = []
    for language, texts in sorted(by_language.items()):
        sources = sorted(texts, key=hash_position)[:most]
        pairs.append(Pairs(language, sources, [texts[source] for source in sources]))
    return pairs


def _pair_counts(corpora: Sequence[Corpus]) -> dict[str, int]:
    """Count the pairs of each language."""
    counts: dict[str, int] = defaultdict(int)
    for corpus in corpora:
        counts[corpus.language] += len(corpus)
    return dict(sorted(counts.items()))


def _token_counts(run: DistillationRun, corpora: Sequence[Corpus]) -> dict[str, NDArray[np.int64]]:
    """Count the tokens of the student's tokenizer in the pairs of each language."""
    tokenizer = load_tokenizer(run.student)
    counts: dict[str, NDArray[np.int64]] = {}
    for corpus in corpora:
        counts[corpus.language] = counts.get(corpus.language, 0) + count_tokens(tokenizer, corpus.texts)
    english = dict.fromkeys(text for corpus in corpora for text in corpus.sources)
    counts[run.source] = count_tokens(tokenizer, english)
    return counts


class _StudentEvaluator:
    """Measures a student on held-out pairs and pictures."""

    def __init__(self, pairs: Sequence[Pairs], cache: VectorCache, images: Sequence[ImageSet]) -> None:
        self._pairs = pairs
        self._cache = cache
        self._images = []
        for image_set in images:
            model = Model.load(image=image_set.image_model)
            names, vectors, _ = encode_pictures(model, read_pictures(image_set.pictures))
            self._images.append((names, vectors, read_captions(image_set.captions)))

    def __call__(self, student: StudentEncoder) -> dict[str, float]:
        """Compute the means over the languages; ``score`` is the translation accuracy, which is scale-free."""
        means: dict[str, float] = {}
        for report in self.reports(student):
            mean = report.mean([score.language for score in report.scores])
            means |= {f"{report.title.lower()} {name}": figure.value for name, figure in mean.figures.items()}
        return {**means, "score": means.get("translation both", 0.0)}

    def reports(self, encoder: TextEncoder) -> tuple[Report, ...]:
        """Measure distance from the teacher and translation, and retrieval if there are pictures."""
        reports = []
        if self._pairs:
            reports += [self._distance(encoder), evaluate_translation(encoder, self._pairs)]
        reports += [score_retrieval(encoder, *image_set) for image_set in self._images]
        return tuple(reports)

    def _distance(self, encoder: TextEncoder) -> Report:
        """Compute 100 times the mean squared error of unit rows, as sentence-transformers does; lower is better."""
        scores = []
        for pairs in self._pairs:
            targets = unit_rows(self._cache.take(pairs.english))
            error: FloatArray = 100 * np.square(encoder.encode_text(pairs.translated) - targets).mean(axis=1)
            scores.append(LanguageScore(pairs.language, len(error), figures({"MSE x 100": error})))
        return Report("Distance from the teacher", f"{sum(score.count for score in scores)} pairs", tuple(scores))


def _write_report(
    run: DistillationRun, log: list[dict[str, float]], reports: Sequence[Report], languages: Mapping[str, int]
) -> None:
    """Write the report as JSON, the plot and the model card."""
    record = {
        "teachers": [asdict(teacher) for teacher in run.teachers],
        "student": str(run.student),
        "corpora": [asdict(file) for file in run.corpora],
        "pairs": languages,
        "layers": run.layers,
        "vocabulary": run.vocabulary,
        "samples": run.samples,
        "source_share": run.source_share,
        "alpha": run.alpha,
        "settings": asdict(run.training),
        "reports": [row for report in reports for row in as_data(report, sorted(languages))],
    }
    (run.out / REPORT).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    plot_log(log, run.out / PLOT)
    write_card(
        run.out / CARD,
        name=run.out.name,
        teachers=[Path(teacher.name).name for teacher in run.teachers],
        student=run.student.name,
        pairs=languages,
        corpora=[file.name for file in run.corpora],
        settings={"texts": run.samples or "as many as pairs", "layers": run.layers or "all"} | asdict(run.training),
        reports=reports,
    )
