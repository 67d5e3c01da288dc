"""Options of the commands distill and align."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

Out = Annotated[Path, typer.Argument(help="The folder to create: a sentence-transformers folder.")]
Student = Annotated[Path, typer.Option(help="The initial student: a folder of BERT, DistilBERT or XLM-RoBERTa.")]
Pairs = Annotated[
    list[str],
    typer.Option(
        help="Parallel text: a file, a folder with one file per language, or hf:NAME. PATH,weight=2,cap=50000 sets its "
        "weight and the maximum number of pairs of a language. Repeatable."
    ),
]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        help="Teacher: a model's name or folder, or a .parquet file of text and vector. NAME,weight=2 sets its weight "
        "in an ensemble. Repeatable."
    ),
]
AddLanguage = Annotated[
    list[str] | None,
    typer.Option(help="Add this language to the finished student, which is its own teacher. Repeatable."),
]
Bound = Annotated[
    float,
    typer.Option(min=0, help="With --add-language: largest mean drift of another language, as one less the cosine."),
]
Source = Annotated[str, typer.Option(help="The teacher's language.")]
Languages = Annotated[str, typer.Option(help="Languages to train on, separated by commas. [default: all]")]
Layers = Annotated[
    str, typer.Option(help="Layers to keep: the number of first layers, or indexes such as 0,2,4. [default: all]")
]
Vocabulary = Annotated[int, typer.Option(min=0, help="Number of tokens to keep, the most frequent; 0 keeps all.")]
Dimension = Annotated[
    int, typer.Option(min=0, help="Dimension of the vectors; 0 is the teacher's, or 512 for an ensemble.")
]
MaxLength = Annotated[int, typer.Option(min=8, help="Maximum number of tokens of a text.")]
Samples = Annotated[int, typer.Option(min=0, help="Number of texts to train on; 0 is the number of pairs.")]
Alpha = Annotated[
    float, typer.Option(min=0, max=1, help="Sampling exponent: 1 is proportional to size, 0 is uniform over languages.")
]
LanguageWeight = Annotated[
    list[str] | None, typer.Option(help="Sampling weight of a language: ku=2 doubles its texts. Repeatable.")
]
SourceShare = Annotated[float, typer.Option(min=0, max=1, help="Share of the texts that are sources.")]
HeldOutPairs = Annotated[int, typer.Option(min=0, help="Number of held-out pairs of each language, for evaluation.")]
Loss = Annotated[Literal["mse", "cosine"], typer.Option(help="Loss: squared distance, or one less the cosine.")]
Contrast = Annotated[
    float, typer.Option(min=0, help="Weight of the contrastive loss over the teacher vectors of a batch.")
]
TextBatch = Annotated[int, typer.Option(min=1, help="Batch size: texts per step and process.")]
Accumulate = Annotated[int, typer.Option(min=1, help="Number of batches whose gradients are accumulated.")]
LearningRate = Annotated[float, typer.Option(help="Peak learning rate.")]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Train in bfloat16: faster if the processor supports it.")]
Dropout = Annotated[float, typer.Option(min=0, max=0.9, help="Dropout rate.")]
FreezeWords = Annotated[bool, typer.Option("--freeze-words", help="Do not train the token embeddings.")]
EvaluateEvery = Annotated[int, typer.Option(min=1, help="Number of steps between evaluations and checkpoints.")]
Patience = Annotated[
    int, typer.Option(min=0, help="Stop after this number of evaluations without improvement; 0 disables it.")
]
Images = Annotated[Path | None, typer.Option(help="Pictures for the evaluation of retrieval: a tar file or a folder.")]
Captions = Annotated[Path | None, typer.Option(help="Table of their captions.")]
ImageModel = Annotated[str, typer.Option(help="The model whose image tower embeds the pictures.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard logs to OUT/checkpoints/runs.")]
Seed = Annotated[int, typer.Option(help="Seed of the random generators.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")]

AlignmentOut = Annotated[Path, typer.Argument(help="The folder to create, with OUT/text and OUT/image.")]
TextModel = Annotated[str, typer.Option(help="The model or folder whose text space is the target.")]
ImageEncoder = Annotated[str, typer.Option(help="The model or folder whose image encoder is aligned with it.")]
CaptionSets = Annotated[
    list[str],
    typer.Option(help="PICTURES:CAPTIONS, a tar or folder and a table; PICTURES:CAPTIONS,weight=2. Repeatable."),
]
Classes = Annotated[Path | None, typer.Option(help="Class names of the image encoder's classifier, if it has one.")]
Templates = Annotated[bool, typer.Option(help="Train on the class names in prompt templates too.")]
HeldOutPictures = Annotated[
    Path | None, typer.Option(help="File with the names of held-out pictures, one per line, for evaluation.")
]
Steps = Annotated[int, typer.Option(min=1, help="Number of training steps.")]
PictureBatch = Annotated[int, typer.Option(min=2, help="Batch size: pictures per step.")]
HeadRate = Annotated[float, typer.Option(help="Peak learning rate of the image head.")]
TextRate = Annotated[
    float, typer.Option(min=0, help="Peak learning rate of the text map; 0 leaves the text tower unchanged.")
]
Width = Annotated[int, typer.Option(min=1, help="Inner width of the image head.")]
Views = Annotated[
    int, typer.Option(min=1, help="Number of views of a picture: the picture, its mirror image, random crops.")
]


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Options for reading and sampling parallel text."""

    pairs: list[str]
    source: str
    languages: str
    alpha: float
    samples: int
    held_out: int
    language_weights: list[str]
    source_share: float


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """Options for making the initial student."""

    student: Path
    layers: str
    vocabulary: int
    dimension: int
    max_length: int


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """Options for evaluating retrieval during training."""

    images: Path | None
    captions: Path | None
    image_model: str
