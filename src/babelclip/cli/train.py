"""babelclip distill and align: teaching the text side, and tying the image side to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from babelclip.cli import output
from babelclip.cli.evaluation_table import show_report
from babelclip.cli.options import words
from babelclip.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from babelclip.training.add_language import Extended
    from babelclip.training.alignment_run import CaptionSet
    from babelclip.training.distill import Progress
    from babelclip.training.teacher import Teacher

PAIRS_HELP = (
    "Parallel text: a file, a folder with a file a language, or hf:NAME; PATH,weight=2,cap=50000 sets its share and "
    "the most pairs a language gives. May be repeated."
)


def distill(
    out: Annotated[Path, typer.Argument(help="The folder to make: a sentence-transformers folder.")],
    student: Annotated[Path, typer.Option(help="A folder of BERT, DistilBERT or XLM-RoBERTa to start from.")],
    pairs: Annotated[list[str], typer.Option(help=PAIRS_HELP)],
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="A model's name or folder, or a .parquet of text and vector. NAME,weight=2 where several."),
    ] = None,
    add_language: Annotated[
        list[str] | None, typer.Option(help="Add this language to the finished student, its own teacher. Repeatable.")
    ] = None,
    bound: Annotated[
        float, typer.Option(min=0, help="With --add-language: how far the other languages may move, as 1 - cosine.")
    ] = 0.02,
    source: Annotated[str, typer.Option(help="The teacher's language.")] = "en",
    languages: Annotated[str, typer.Option(help="Only these, parted by commas. [default: all]")] = "",
    layers: Annotated[str, typer.Option(help="Keep the first so many, or these: 0,2,4. [default: all]")] = "",
    vocabulary: Annotated[int, typer.Option(min=0, help="Keep so many tokens, those the pairs use; 0 is all.")] = 0,
    dimension: Annotated[int, typer.Option(min=0, help="Numbers a vector; 0 is the teacher's (512 of several).")] = 0,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens that are read of a text.")] = 128,
    samples: Annotated[int, typer.Option(min=0, help="Texts to train on, drawn; 0 is as many as there are pairs.")] = 0,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="1 draws by size, 0 all languages alike.")] = 0.5,
    language_weight: Annotated[
        list[str] | None, typer.Option(help="ku=2 draws a language twice as often. May be repeated.")
    ] = None,
    source_share: Annotated[float, typer.Option(min=0, max=1, help="The part of the texts that are sources.")] = 0.5,
    held_out: Annotated[int, typer.Option(min=0, help="Pairs a language that training never sees.")] = 200,
    loss: Annotated[Literal["mse", "cosine"], typer.Option(help="What is made small.")] = "mse",
    contrast: Annotated[float, typer.Option(min=0, help="Adds the loss of telling a batch's targets apart.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="Texts a step and process.")] = 256,
    accumulate: Annotated[int, typer.Option(min=1, help="Steps whose gradients are added up.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 2e-4,
    bf16: Annotated[bool, typer.Option("--bf16", help="Sums in bfloat16: faster where the processor has it.")] = False,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Part of the units left out at random.")] = 0.0,
    freeze_words: Annotated[bool, typer.Option("--freeze-words", help="Leave the word table as it is.")] = False,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps between measurements and checkpoints.")] = 1000,
    patience: Annotated[int, typer.Option(min=0, help="Stop after so many without gain; 0 is never.")] = 0,
    images: Annotated[Path | None, typer.Option(help="Pictures to measure retrieval on.")] = None,
    captions: Annotated[Path | None, typer.Option(help="Their captions.")] = None,
    image_model: Annotated[str, typer.Option(help="The model whose image side embeds them.")] = "mini",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write OUT/checkpoints/runs.")] = False,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last checkpoint.")] = False,
) -> None:
    """Teach a multilingual student the vectors of an English teacher (multilingual knowledge distillation)."""
    with _train_extra():
        from babelclip.training import distillation_run as courses
        from babelclip.training.add_language import Extension, run_extension
        from babelclip.training.distill import Settings
        from babelclip.training.pairs import parse_corpus
    settings = Settings(
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
    corpora = tuple(parse_corpus(option) for option in pairs)
    if bool(teacher) == bool(add_language):
        raise typer.BadParameter("give --teacher, or --add-language, one of them")
    if add_language:
        job = Extension(
            model=student,
            out=out,
            corpora=corpora,
            new=tuple(add_language),
            bound=bound,
            source=source,
            alpha=alpha,
            samples=samples,
            held_out=held_out,
            training=settings,
        )
        with _shown() as show:
            extended = run_extension(job, say=output.message, show=show)
        _show_extension(extended, add_language)
        output.message(f"model: {out}")
        return
    if (images is None) != (captions is None):
        raise typer.BadParameter("--images and --captions belong together")
    sets = (courses.ImageSet(images, captions, image_model),) if images and captions else ()
    weights = dict(_language_weight(option) for option in language_weight or ())
    course = courses.Course(
        teachers=tuple(_teacher(option) for option in teacher or ()),
        student=student,
        out=out,
        corpora=corpora,
        source=source,
        languages=words(languages),
        dimension=dimension,
        layers=layers,
        vocabulary=vocabulary,
        max_length=max_length,
        alpha=alpha,
        language_weights=weights,
        source_share=source_share,
        samples=samples,
        held_out=held_out,
        images=sets,
        training=settings,
    )
    with _shown() as show:
        outcome = courses.run_course(course, resume=resume, say=output.message, show=show)
    for report in outcome.reports:
        show_report(report, [report.mean(sorted(outcome.languages))])
    output.message(f"student: {out}")


def align(
    out: Annotated[Path, typer.Argument(help="The folder to make: OUT/text and OUT/image.")],
    text: Annotated[str, typer.Option(help="The model or folder whose text space pictures are tied to.")],
    image: Annotated[str, typer.Option(help="The model or folder whose image encoder is tied to it.")],
    captions: Annotated[
        list[str],
        typer.Option(
            help="PICTURES:CAPTIONS, a tar or folder and a table; PICTURES:CAPTIONS,weight=2. May be repeated."
        ),
    ],
    classes: Annotated[
        Path | None, typer.Option(help="Names of the image classifier's classes, where it has one.")
    ] = None,
    templates: Annotated[
        bool, typer.Option(help="Learn from the class names in the prompt templates of their language too.")
    ] = False,
    held_out: Annotated[
        Path | None, typer.Option(help="Names of pictures to measure on and not to learn from, a line each.")
    ] = None,
    languages: Annotated[str, typer.Option(help="Only these, parted by commas. [default: all]")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Batches of pictures.")] = 1500,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = 512,
    learning_rate: Annotated[float, typer.Option(help="Of the image head, at its highest.")] = 4e-4,
    text_rate: Annotated[float, typer.Option(min=0, help="Of the text map; 0 leaves the text side as it is.")] = 3e-4,
    width: Annotated[int, typer.Option(min=1, help="Inner width of the image head.")] = 768,
    views: Annotated[int, typer.Option(min=1, help="Views a picture: whole, mirrored, cut out.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
) -> None:
    """Tie an image encoder to a text space: a head on its frozen features, learned from captions in any language."""
    with _train_extra():
        from babelclip.training import alignment_run
        from babelclip.training.heads import Settings
    names = held_out.read_text(encoding="utf-8").split("\n") if held_out else []
    job = alignment_run.Alignment(
        text=text,
        image=image,
        out=out,
        sets=tuple(_caption_set(option) for option in captions),
        classes=classes,
        templates=templates,
        held_out=frozenset(name for name in names if name),
        languages=words(languages),
        views=views,
        training=Settings(
            steps=steps, batch=batch, learning_rate=learning_rate, text_rate=text_rate, width=width, seed=seed
        ),
    )
    with output.progress("aligning", steps) as bar:

        def show(step: int, total: int, entry: dict[str, float]) -> None:
            bar(step, total, f"loss {entry['contrastive']:.3f}")

        aligned = alignment_run.run_alignment(job, say=output.message, show=show)
    figures = [name for name in aligned.log[-1] if name not in ("step", "contrastive", "classes")]
    rows = [(f"{entry['step']:.0f}", *(f"{entry[name]:.3f}" for name in figures)) for entry in aligned.log]
    output.table(("step#", *(f"{name}#" for name in figures)), rows, title="T>I R@10 of pictures held out")
    output.message(f"pair: {out}")


@contextmanager
def _shown() -> Iterator[Callable[["Progress"], None]]:
    """A bar with the loss, the speed and the time left."""
    with output.progress("distilling") as bar:
        yield lambda at: bar(at.step, at.steps, f"loss {at.loss:.4f}, {at.rate:.0f} sentences/s")


@contextmanager
def _train_extra() -> Iterator[None]:
    """Turn a missing package of the extra ``train`` into an error that says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("babelclip"):
            raise
        raise MissingDependencyError(str(error.name), extra="train") from None


def _language_weight(option: str) -> tuple[str, float]:
    """LANGUAGE=NUMBER, with a number over 0."""
    name, _, value = option.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise InputError(f"{option!r} is not LANGUAGE=NUMBER with a number over 0")
    return name.strip(), number


def _teacher(option: str) -> "Teacher":
    """A name, or NAME,weight=NUMBER."""
    from babelclip.training.pairs import parse_numbers
    from babelclip.training.teacher import Teacher

    name, numbers = parse_numbers(option, "weight")
    return Teacher(name, **numbers)


def _caption_set(option: str) -> "CaptionSet":
    """PICTURES:CAPTIONS, perhaps with a weight."""
    from babelclip.training.alignment_run import CaptionSet
    from babelclip.training.pairs import parse_numbers

    place, numbers = parse_numbers(option, "weight")
    pictures, found, captions = place.rpartition(":")
    if not found:
        raise InputError(f"{option!r} is not PICTURES:CAPTIONS")
    return CaptionSet(Path(pictures), Path(captions), **numbers)


def _show_extension(extended: "Extended", new: Sequence[str]) -> None:
    """Translation accuracy before and after, and how far each language moved."""
    moved = {score.language: score.figures["moved"].value for score in extended.moved.scores}
    rows = [
        (
            f"{then.language} (new)" if then.language in new else then.language,
            f"{then.figures['both'].value:.3f}",
            f"{now.figures['both'].value:.3f}",
            f"{moved[then.language]:.4f}" if then.language in moved else "",
        )
        for then, now in zip(extended.before.scores, extended.after.scores, strict=True)
    ]
    output.table(("language", "before#", "after#", "moved#"), rows, title="Translation accuracy, pairs held out")
    if extended.kept < 1:
        output.message(f"the weights went {extended.kept:.0%} of the way, to keep the bound")
