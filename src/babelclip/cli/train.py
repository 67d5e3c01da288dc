"""babelclip distill and align: train a text tower on a teacher, and align an image encoder with a text space."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from babelclip.cli import output
from babelclip.cli import training_options as options
from babelclip.cli.evaluation_table import show_report
from babelclip.cli.options import words
from babelclip.errors import InputError
from babelclip.extras import importing

if TYPE_CHECKING:
    from babelclip.training.add_language import LanguageAdditionResult
    from babelclip.training.alignment_run import CaptionSet
    from babelclip.training.distill import DistillationConfig, TrainingProgress
    from babelclip.training.teacher import Teacher


def distill(
    out: options.Out,
    student: options.Student,
    pairs: options.Pairs,
    teacher: options.Teachers = None,
    add_language: options.AddLanguage = None,
    bound: options.Bound = 0.02,
    source: options.Source = "en",
    languages: options.Languages = "",
    layers: options.Layers = "",
    vocabulary: options.Vocabulary = 0,
    dimension: options.Dimension = 0,
    max_length: options.MaxLength = 128,
    samples: options.Samples = 0,
    alpha: options.Alpha = 0.5,
    language_weight: options.LanguageWeight = None,
    source_share: options.SourceShare = 0.5,
    held_out: options.HeldOutPairs = 200,
    loss: options.Loss = "mse",
    contrast: options.Contrast = 0.0,
    batch: options.TextBatch = 256,
    accumulate: options.Accumulate = 1,
    learning_rate: options.LearningRate = 2e-4,
    bf16: options.Bf16 = False,
    dropout: options.Dropout = 0.0,
    freeze_words: options.FreezeWords = False,
    evaluate_every: options.EvaluateEvery = 1000,
    patience: options.Patience = 0,
    images: options.Images = None,
    captions: options.Captions = None,
    image_model: options.ImageModel = "mini",
    tensorboard: options.Tensorboard = False,
    seed: options.Seed = 0,
    resume: options.Resume = False,
) -> None:
    """Train a multilingual student on the vectors of an English teacher (multilingual knowledge distillation)."""
    if bool(teacher) == bool(add_language):
        raise typer.BadParameter("give either --teacher or --add-language")
    with importing("train"):
        from babelclip.training.distill import DistillationConfig
    config = DistillationConfig(
        loss=loss,
        contrast=contrast,
        batch=batch,
        accumulate=accumulate,
        learning_rate=learning_rate,
        bf16=bf16,
        dropout=dropout,
        freeze_words=freeze_words,
        evaluate_every=evaluate_every,
        patience=patience,
        tensorboard=tensorboard,
        seed=seed,
    )
    data = options.PairOptions(pairs, source, languages, alpha, samples, held_out, language_weight or [], source_share)
    if add_language:
        _add_languages(student, out, add_language, bound, data, config)
    else:
        initial = options.StudentOptions(student, layers, vocabulary, dimension, max_length)
        retrieval = options.RetrievalOptions(images, captions, image_model)
        _distill(out, teacher or [], initial, data, retrieval, config, resume=resume)


def _add_languages(
    student: Path,
    out: Path,
    languages: list[str],
    bound: float,
    data: options.PairOptions,
    config: "DistillationConfig",
) -> None:
    """Add languages to a finished student, and print accuracy and drift."""
    from babelclip.training.add_language import LanguageAddition, add_language
    from babelclip.training.pairs import parse_corpus

    run = LanguageAddition(
        model=student,
        out=out,
        corpora=tuple(parse_corpus(option) for option in data.pairs),
        languages=tuple(languages),
        bound=bound,
        source=data.source,
        alpha=data.alpha,
        samples=data.samples,
        held_out=data.held_out,
        training=config,
    )
    with _training_bar() as progress:
        result = add_language(run, log_line=output.message, progress=progress)
    _show_languages(result, languages)
    output.message(f"model: {out}")


def _distill(
    out: Path,
    teachers: Sequence[str],
    initial: options.StudentOptions,
    data: options.PairOptions,
    retrieval: options.RetrievalOptions,
    config: "DistillationConfig",
    *,
    resume: bool,
) -> None:
    """Make and train a student, and print its evaluation."""
    from babelclip.training.distillation_run import DistillationRun, ImageSet, run_distillation
    from babelclip.training.pairs import parse_corpus

    images, captions = retrieval.images, retrieval.captions
    if (images is None) != (captions is None):
        raise typer.BadParameter("--images and --captions need each other; give both or neither")
    run = DistillationRun(
        teachers=tuple(_teacher(option) for option in teachers),
        student=initial.student,
        out=out,
        corpora=tuple(parse_corpus(option) for option in data.pairs),
        source=data.source,
        languages=words(data.languages),
        dimension=initial.dimension,
        layers=initial.layers,
        vocabulary=initial.vocabulary,
        max_length=initial.max_length,
        alpha=data.alpha,
        language_weights=dict(_language_weight(option) for option in data.language_weights),
        source_share=data.source_share,
        samples=data.samples,
        held_out=data.held_out,
        images=(ImageSet(images, captions, retrieval.image_model),) if images and captions else (),
        training=config,
    )
    with _training_bar() as progress:
        result = run_distillation(run, resume=resume, log_line=output.message, progress=progress)
    for report in result.reports:
        show_report(report, [report.mean(sorted(result.languages))])
    output.message(f"student: {out}")


def align(
    out: options.AlignmentOut,
    text: options.TextModel,
    image: options.ImageEncoder,
    captions: options.CaptionSets,
    classes: options.Classes = None,
    templates: options.Templates = False,
    held_out: options.HeldOutPictures = None,
    languages: options.Languages = "",
    steps: options.Steps = 1500,
    batch: options.PictureBatch = 512,
    learning_rate: options.HeadRate = 4e-4,
    text_rate: options.TextRate = 3e-4,
    width: options.Width = 768,
    views: options.Views = 6,
    seed: options.Seed = 0,
) -> None:
    """Align an image encoder with a text space: train a head on its frozen features, on captions in any language."""
    with importing("train"):
        from babelclip.training.alignment_run import AlignmentRun, run_alignment
        from babelclip.training.heads import HeadConfig
    names = held_out.read_text(encoding="utf-8").split("\n") if held_out else []
    run = AlignmentRun(
        text=text,
        image=image,
        out=out,
        sets=tuple(_caption_set(option) for option in captions),
        classes=classes,
        templates=templates,
        held_out=frozenset(name for name in names if name),
        languages=words(languages),
        views=views,
        training=HeadConfig(
            steps=steps, batch=batch, learning_rate=learning_rate, text_rate=text_rate, width=width, seed=seed
        ),
    )
    with output.progress("aligning", steps) as bar:

        def progress(step: int, total: int, entry: dict[str, float]) -> None:
            bar(step, total, f"loss {entry['contrastive']:.3f}")

        heads = run_alignment(run, log_line=output.message, progress=progress)
    figures = [name for name in heads.log[-1] if name not in ("step", "contrastive", "classes")]
    rows = [(f"{entry['step']:.0f}", *(f"{entry[name]:.3f}" for name in figures)) for entry in heads.log]
    output.table(("step#", *(f"{name}#" for name in figures)), rows, title="T>I R@10 of held-out pictures")
    output.message(f"model: {out}")


@contextmanager
def _training_bar() -> Iterator[Callable[["TrainingProgress"], None]]:
    """Show a progress bar with the loss and the rate."""
    with output.progress("distilling") as bar:
        yield lambda at: bar(at.step, at.steps, f"loss {at.loss:.4f}, {at.rate:.0f} sentences/s")


def _language_weight(option: str) -> tuple[str, float]:
    """Parse LANGUAGE=NUMBER, with a positive number."""
    name, _, value = option.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise InputError(f"--language-weight {option!r} is not LANGUAGE=NUMBER with a positive number, such as ku=2")
    return name.strip(), number


def _teacher(option: str) -> "Teacher":
    """Parse NAME, or NAME,weight=NUMBER."""
    from babelclip.training.pairs import parse_numbers
    from babelclip.training.teacher import Teacher

    name, numbers = parse_numbers(option, "weight")
    return Teacher(name, **numbers)


def _caption_set(option: str) -> "CaptionSet":
    """Parse PICTURES:CAPTIONS, or PICTURES:CAPTIONS,weight=NUMBER."""
    from babelclip.training.alignment_run import CaptionSet
    from babelclip.training.pairs import parse_numbers

    paths, numbers = parse_numbers(option, "weight")
    pictures, separator, captions = paths.rpartition(":")
    if not separator:
        raise InputError(f"--captions {option!r} is not PICTURES:CAPTIONS, such as photos.tar:captions.tsv")
    return CaptionSet(Path(pictures), Path(captions), **numbers)


def _show_languages(result: "LanguageAdditionResult", new: Sequence[str]) -> None:
    """Print translation accuracy before and after, and the drift of each language."""
    drift = {score.language: score.figures["drift"].value for score in result.drift.scores}
    rows = [
        (
            f"{before.language} (new)" if before.language in new else before.language,
            f"{before.figures['both'].value:.3f}",
            f"{after.figures['both'].value:.3f}",
            f"{drift[before.language]:.4f}" if before.language in drift else "",
        )
        for before, after in zip(result.before.scores, result.after.scores, strict=True)
    ]
    output.table(("language", "before#", "after#", "drift#"), rows, title="Translation accuracy on held-out pairs")
    if result.interpolation < 1:
        output.message(f"the model has {result.interpolation:.0%} of the new weights; more would exceed --bound")
