"""Options that several commands share."""

import locale
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from babelclip.models.model import Model

ModelName = Annotated[
    str, typer.Option("--model", "-m", help="Name or folder of a model; `babelclip models` lists the names.")
]
IndexFile = Annotated[
    Path | None, typer.Option("--index", "-i", help="The index file. [default: photos.bc in the data folder]")
]
IndexName = Annotated[
    str | None,
    typer.Option(
        "--index", "-i", help="The index file, or milvus://HOST/COLLECTION. [default: photos.bc in the data folder]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line on stdout and nothing else.")]
Runtime = Annotated[str | None, typer.Option("--runtime", help="Runtime: openvino, onnxruntime, torch or reference.")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16", "int8"],
    typer.Option("--precision", help="Precision of the towers; `babelclip doctor` explains auto."),
]
Count = Annotated[int, typer.Option("-k", "--top", min=1, help="Number of photos.")]


def words(option: str) -> tuple[str, ...]:
    """The words of an option.

    :param option: words parted by commas
    :return: the words, without blanks around them and without empty ones
    """
    return tuple(word.strip() for word in option.split(",") if word.strip())


def load(name: str, runtime: str | None, precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto") -> "Model":
    """Load the model that the options name.

    :param name: a name or folder
    :param runtime: an engine, or None for the default
    :param precision: in what the towers calculate
    :return: the model
    """
    from babelclip.models.model import Model

    return Model.load(name, runtime=runtime, precision=precision)


def system_language(known: Sequence[str]) -> str:
    """The language of the system.

    :param known: the codes to choose from
    :return: one of them; English where the system's is not among them
    """
    try:
        locale.setlocale(locale.LC_CTYPE, "")
        stated = locale.getlocale(locale.LC_CTYPE)[0] or ""
    except (locale.Error, ValueError):
        stated = ""
    code = stated.split(".")[0].replace("_", "-").casefold()
    code = {"no": "nb", "nn": "nb"}.get(code.split("-")[0], code)
    return next((one for one in (code, code.split("-")[0], f"{code}-cn") if one in known), "en")
