"""Addition of languages to a trained model with bounded drift, so that indexed images need no new embedding.

The model is its own teacher: texts in the new language are trained towards the model's vector of the source, and texts
in the languages that it knows towards its own vectors of them (replay). If the drift of a language still exceeds the
bound, the weights are interpolated towards the old ones (Wortsman et al. 2022, WiSE-FT) until it does not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from babelclip.checkpoints.layouts import module_folders
from babelclip.checkpoints.weights import WEIGHTS, read_weights, write_weights
from babelclip.errors import DataError
from babelclip.evaluation.scores import LanguageScore, Report, TextEncoder, figures
from babelclip.evaluation.translation import evaluate_translation
from babelclip.filesystem import require_empty
from babelclip.models.export import copy_tower
from babelclip.models.model import Model
from babelclip.pipeline import LogCallback
from babelclip.training.distill import DistillationConfig, TrainingProgressCallback, distill
from babelclip.training.distillation_run import held_out_pairs
from babelclip.training.pairs import Corpus, CorpusFile, hold_out, read_corpora
from babelclip.training.sampling import ALPHA, TrainingPlan, draw, shares
from babelclip.training.teacher import Teacher, teacher_vectors
from babelclip.vectors import FloatArray

MAX_DRIFT = 0.02
"""One less the cosine of a text's old and new vector, mean over the held-out texts of a language."""
INTERPOLATIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the new weights; the largest that respects the bound is used."""
TRAINED, REPORT = "trained", "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageAddition:
    """Inputs, outputs and hyperparameters. ``corpora`` hold pairs of new languages and, for replay, of known ones."""

    model: Path
    out: Path
    corpora: tuple[CorpusFile, ...]
    languages: tuple[str, ...]
    bound: float = MAX_DRIFT
    source: str = "en"
    alpha: float = ALPHA
    replay: float = 0.5
    samples: int = 0
    held_out: int = 200
    training: DistillationConfig = field(default_factory=DistillationConfig)


@dataclass(frozen=True, slots=True)
class LanguageAdditionResult:
    """Translation accuracy before and after, drift by language, and the share of the new weights."""

    before: Report
    after: Report
    drift: Report
    interpolation: float


def add_language(
    run: LanguageAddition,
    *,
    log_line: LogCallback | None = None,
    progress: TrainingProgressCallback | None = None,
) -> LanguageAdditionResult:
    """Add languages to a model.

    :param run: inputs, outputs and hyperparameters
    :param log_line: receives a line at the beginning of each stage
    :param progress: receives the progress of training
    :return: accuracy and drift; the model is in ``run.out``
    :raises InputError: if the output folder is not empty
    :raises DataError: if there are no pairs of a new language, or none to replay
    """
    log_line = log_line or (lambda _: None)
    require_empty(run.out)
    log_line("reading pairs")
    corpora = [corpus for file in run.corpora for corpus in read_corpora(file, source=run.source)]
    split = hold_out(corpora, run.held_out)
    for language in run.languages:
        if not any(corpus.language == language for corpus in split.train):
            raise DataError(f"--pairs holds no pairs in {language!r}; give a file of them")
    if not any(corpus.language not in run.languages for corpus in split.train):
        raise DataError(
            "--pairs holds pairs of the new languages only; give pairs of languages that the model knows too, to bound "
            "their drift"
        )
    plan = _plan(split.train, run)
    log_line("computing the model's vectors")
    teacher = (Teacher(str(run.model)),)
    cache = teacher_vectors(teacher, list(dict.fromkeys(plan.sources)), bf16=run.training.bf16, log_line=log_line)
    log_line("training")
    trained = run.out / TRAINED
    distill(run.model, trained, plan, cache.rows(plan.sources), cache.vectors, run.training, progress=progress)
    pairs = held_out_pairs(split.held_out, run.held_out)
    old = Model.load(text=run.model)
    texts = {part.language: part.translated for part in pairs if part.language not in run.languages}
    texts[run.source] = list(dict.fromkeys(text for part in pairs for text in part.english))[: run.held_out]
    before = evaluate_translation(old, pairs)
    interpolation, drift = _bound_drift(run, trained, old, texts, log_line)
    after = evaluate_translation(Model.load(text=run.out), pairs)
    result = LanguageAdditionResult(before, after, drift, interpolation)
    _write_report(run, result)
    return result


def measure_drift(texts: Mapping[str, Sequence[str]], old: Mapping[str, FloatArray], new: TextEncoder) -> Report:
    """Measure the change of a model's vectors by language.

    :param texts: language -> texts
    :param old: language -> float32 (texts, dimension), unit rows: their old vectors
    :param new: the new model
    :return: the figures ``drift`` (one less the cosine, mean) and ``worst`` (maximum)
    """
    scores = []
    for language, language_texts in sorted(texts.items()):
        drift = np.maximum(0, 1 - (old[language] * new.encode_text(language_texts)).sum(axis=1))
        samples = {"drift": drift, "worst": np.full_like(drift, drift.max())}
        scores.append(LanguageScore(language, len(language_texts), figures(samples)))
    return Report("Drift", f"{sum(map(len, texts.values()))} texts", tuple(scores))


def _plan(corpora: Sequence[Corpus], run: LanguageAddition) -> TrainingPlan:
    """Sample texts of the new languages, whose targets are their sources, and texts to replay, their own targets."""
    new = [corpus for corpus in corpora if corpus.language in run.languages]
    known = [corpus for corpus in corpora if corpus.language not in run.languages]
    replayed = [Corpus(c.name, c.language, c.texts, c.texts) for c in known]
    replayed += [Corpus(c.name, run.source, c.sources, c.sources) for c in known]
    samples = run.samples or 2 * sum(map(len, new))
    plans = []
    for part, count in ((new, samples - round(run.replay * samples)), (replayed, round(run.replay * samples))):
        fractions = shares(part, weights={}, languages={}, alpha=run.alpha)
        plans.append(draw(part, fractions, samples=count, source_share=0.0, seed=run.training.seed))
    return TrainingPlan([t for plan in plans for t in plan.texts], [s for plan in plans for s in plan.sources])


def _bound_drift(
    run: LanguageAddition, trained: Path, old: Model, texts: Mapping[str, Sequence[str]], log_line: LogCallback
) -> tuple[float, Report]:
    """Write the model with the largest share of the new weights that respects the bound."""
    copy_tower(run.model, run.out)
    vectors = {language: old.encode_text(language_texts) for language, language_texts in texts.items()}
    weights = {}
    for folder in module_folders(run.out):
        if (folder / WEIGHTS).is_file():
            module = folder.relative_to(run.out)
            weights[folder / WEIGHTS] = read_weights(run.model / module), read_weights(trained / module)
    for share in INTERPOLATIONS:
        for file, (before, after) in weights.items():
            mixed = {name: array + share * (after[name] - array) for name, array in before.items() if name in after}
            write_weights(file, mixed)
        drift = measure_drift(texts, vectors, Model.load(text=run.out))
        worst = max(score.figures["drift"].value for score in drift.scores)
        log_line(f"{share:.0%} of the new weights: the largest drift of a language is {worst:.4f}, bound {run.bound}")
        if worst <= run.bound:
            return share, drift
    raise DataError(
        f"the largest drift is {worst:.4f} even with {INTERPOLATIONS[-1]:.0%} of the new weights, over the bound of "
        f"{run.bound}; give more pairs to replay, a lower --learning-rate or a higher --bound"
    )


def _write_report(run: LanguageAddition, result: LanguageAdditionResult) -> None:
    """Write accuracy and drift by language as JSON."""
    rows = [
        {
            "language": before.language,
            "new": before.language in run.languages,
            "count": before.count,
            "before": round(before.figures["both"].value, 4),
            "after": round(after.figures["both"].value, 4),
        }
        for before, after in zip(result.before.scores, result.after.scores, strict=True)
    ]
    report = {
        "model": run.model.name,
        "new": run.languages,
        "bound": run.bound,
        "interpolation": result.interpolation,
        "translation": rows,
        "drift": {score.language: round(score.figures["drift"].value, 5) for score in result.drift.scores},
        "worst": {score.language: round(score.figures["worst"].value, 5) for score in result.drift.scores},
        "settings": asdict(run.training),
    }
    (run.out / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
