"""Adding a language to a finished model without moving the vectors of the others: no image is embedded again.

The model is its own teacher: a text in the new language learns the vector that the model gives the source, and texts in
the languages it knows learn to keep the vectors that it gives them (replay). Should they move by more than the bound
all the same, the weights go back towards the old ones (Wortsman et al. 2022, WiSE-FT) until they do not.
"""

import json
from collections.abc import Callable, Mapping, Sequence
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
from babelclip.training.distill import Progress, Settings, distill
from babelclip.training.distillation_run import held_out_pairs
from babelclip.training.pairs import Corpus, CorpusFile, hold_out, read_corpora
from babelclip.training.sampling import ALPHA, Plan, draw, shares
from babelclip.training.teacher import Say, Teacher, teacher_vectors
from babelclip.vectors import FloatArray

BOUND = 0.02
"""Of one less the cosine between a text's old vector and its new one, mean over a language's held-out texts."""
STEPS_BACK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""How far from the old weights to the new ones; the farthest that keeps the bound is taken."""
TRAINED, REPORT = "trained", "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """What is added to what. ``corpora`` hold pairs of the new languages and, for replay, of those known already."""

    model: Path
    out: Path
    corpora: tuple[CorpusFile, ...]
    new: tuple[str, ...]
    bound: float = BOUND
    source: str = "en"
    alpha: float = ALPHA
    replay: float = 0.5
    samples: int = 0
    held_out: int = 200
    training: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Extended:
    """What came of it: translation accuracy before and after, how far the others moved, and how much was kept."""

    before: Report
    after: Report
    moved: Report
    kept: float


def run_extension(
    job: Extension, *, say: Say | None = None, show: Callable[[Progress], None] | None = None
) -> Extended:
    """Add languages to a model.

    :param job: what to what
    :param say: is told what is under way
    :param show: is told where the training is
    :return: what came of it; the model is in ``job.out``
    :raises InputError: if the folder is there already
    :raises DataError: if there are no pairs in a new language, or none to replay
    """
    say = say or (lambda _: None)
    require_empty(job.out)
    say("reading pairs")
    corpora = [corpus for file in job.corpora for corpus in read_corpora(file, source=job.source)]
    split = hold_out(corpora, job.held_out)
    for language in job.new:
        if not any(corpus.language == language for corpus in split.train):
            raise DataError(f"there are no pairs in {language!r}")
    if not any(corpus.language not in job.new for corpus in split.train):
        raise DataError("there are no pairs in the languages that the model knows; without them it would forget")
    plan = _plan(split.train, job)
    say("the model's own vectors")
    teacher = (Teacher(str(job.model)),)
    store = teacher_vectors(teacher, list(dict.fromkeys(plan.sources)), bf16=job.training.bf16, say=say)
    say("training")
    trained = job.out / TRAINED
    distill(job.model, trained, plan, store.rows(plan.sources), store.vectors, job.training, show=show)
    pairs = held_out_pairs(split.held_out, job.held_out)
    old = Model.load(text=job.model)
    texts = {own.language: own.translated for own in pairs if own.language not in job.new}
    texts[job.source] = list(dict.fromkeys(text for own in pairs for text in own.english))[: job.held_out]
    before = evaluate_translation(old, pairs)
    kept, moved = _go_back(job, trained, old, texts, say)
    after = evaluate_translation(Model.load(text=job.out), pairs)
    _write_report(job, before, after, moved, kept)
    return Extended(before, after, moved, kept)


def movement(texts: Mapping[str, Sequence[str]], old: Mapping[str, FloatArray], new: TextEncoder) -> Report:
    """How far a model's vectors have moved, by language.

    :param texts: language -> texts
    :param old: language -> float32 (texts, dimension), unit rows: the vectors that they had
    :param new: the model as it is
    :return: the figures ``moved`` (one less the cosine, mean) and ``worst`` (that of the text that moved most)
    """
    scores = []
    for language, own in sorted(texts.items()):
        far = np.maximum(0, 1 - (old[language] * new.encode_text(own)).sum(axis=1))
        scores.append(LanguageScore(language, len(own), figures({"moved": far, "worst": np.full_like(far, far.max())})))
    return Report("Movement", f"{sum(map(len, texts.values()))} texts", tuple(scores))


def _plan(corpora: Sequence[Corpus], job: Extension) -> Plan:
    """Texts in the new languages with their sources, and texts in the others as their own sources."""
    new = [corpus for corpus in corpora if corpus.language in job.new]
    known = [corpus for corpus in corpora if corpus.language not in job.new]
    own = [Corpus(c.name, c.language, c.texts, c.texts) for c in known]
    own += [Corpus(c.name, job.source, c.sources, c.sources) for c in known]
    samples = job.samples or 2 * sum(map(len, new))
    plans = []
    for part, count in ((new, samples - round(job.replay * samples)), (own, round(job.replay * samples))):
        fractions = shares(part, weights={}, languages={}, alpha=job.alpha)
        plans.append(draw(part, fractions, samples=count, source_share=0.0, seed=job.training.seed))
    return Plan([t for plan in plans for t in plan.texts], [s for plan in plans for s in plan.sources])


def _go_back(
    job: Extension, trained: Path, old: Model, texts: Mapping[str, Sequence[str]], say: Say
) -> tuple[float, Report]:
    """Write the model that is as far from the old one as the bound allows."""
    copy_tower(job.model, job.out)
    vectors = {language: old.encode_text(own) for language, own in texts.items()}
    weights = {}
    for folder in module_folders(job.out):
        if (folder / WEIGHTS).is_file():
            place = folder.relative_to(job.out)
            weights[folder / WEIGHTS] = read_weights(job.model / place), read_weights(trained / place)
    for part in STEPS_BACK:
        for file, (before, after) in weights.items():
            mixed = {name: array + part * (after[name] - array) for name, array in before.items() if name in after}
            write_weights(file, mixed)
        moved = movement(texts, vectors, Model.load(text=job.out))
        worst = max(score.figures["moved"].value for score in moved.scores)
        say(f"{part:.0%} of the way: the language that moved most moved by {worst:.4f}; the bound is {job.bound}")
        if worst <= job.bound:
            return part, moved
    raise DataError(
        f"no tenth of the way keeps the bound of {job.bound}; give more pairs to replay, a lower rate or a higher bound"
    )


def _write_report(job: Extension, before: Report, after: Report, moved: Report, kept: float) -> None:
    """Before and after by language, as JSON."""
    rows = [
        {
            "language": then.language,
            "new": then.language in job.new,
            "count": then.count,
            "before": round(then.figures["both"].value, 4),
            "after": round(now.figures["both"].value, 4),
        }
        for then, now in zip(before.scores, after.scores, strict=True)
    ]
    record = {
        "model": job.model.name,
        "new": job.new,
        "bound": job.bound,
        "part_of_the_way": kept,
        "translation": rows,
        "moved": {score.language: round(score.figures["moved"].value, 5) for score in moved.scores},
        "worst": {score.language: round(score.figures["worst"].value, 5) for score in moved.scores},
        "settings": asdict(job.training),
    }
    (job.out / REPORT).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
