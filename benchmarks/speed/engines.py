"""What is measured: engines, tasks, and the bars they are held to.

Nothing here needs more than the standard library: a worker may run in an environment that lacks babelclip's packages.
"""

from dataclasses import dataclass
from typing import Literal

from babelclip.errors import InputError

Family = Literal["babelclip", "service", "sentence-transformers", "fastembed", "open_clip", "nncf", "product"]
Quantity = Literal["seconds", "mebibytes"]
Figure = Literal["ratio", "share", "median"]

BASELINE = "sentence-transformers-torch"
MINI = "babelclip-mini"
BEST = "babelclip-openvino-int8"
"""The engine that the bars of the pair are for."""
CHOSEN = "babelclip-pair"
"""The pair as a command without options runs it."""
SERVING_MINI, SERVING_CHOSEN = "babelclip-serve-mini", "babelclip-serve-pair"
IMPORTING = "import-babelclip"
IMPORTING_MODEL = "import-babelclip-model"


@dataclass(frozen=True, slots=True)
class Task:
    """Something to time: what stands above its table, what a row is, and whether multiply-adds are counted."""

    name: str
    title: str
    unit: str
    quantity: Quantity = "seconds"
    counted: bool = False


@dataclass(frozen=True, slots=True)
class EngineAdapter:
    """Something that does tasks, in a process of its own.

    ``product`` engines multiply large matrices in a runtime and precision, which is the ceiling of the others there.
    ``same_weights`` says whether its vectors are those of the baseline's weights, so that a ratio means something.
    """

    name: str
    family: Family
    runtime: str
    precision: str
    tasks: tuple[str, ...]
    same_weights: bool = True

    @property
    def ceiling(self) -> str:
        """The name of the matrix product that bounds it."""
        return f"product-{self.runtime}-{self.precision}"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a figure of a task must be for one engine: at least or at most so much."""

    task: str
    engine: str
    figure: Figure
    limit: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return value >= self.limit if self.at_least else value <= self.limit


TASKS: tuple[Task, ...] = (
    Task("text", "Texts: a batch of {texts} of 12 tokens", "texts", counted=True),
    Task("query", "One query of 12 tokens", "texts"),
    Task("images", "Pictures: {pictures} decoded ones of {width} x {height} pixels", "pictures"),
    Task("tower", "Image tower: {pictures} squares of the size that it reads", "pictures", counted=True),
    Task("files", "Files to vectors: {files} JPEGs of {megapixels} megapixels", "files"),
    Task("index", "Indexing a folder of {files} JPEGs of {megapixels} megapixels into a new index", "files"),
    Task("search", "Search: a query against {photos} photos, the index open", "queries"),
    Task("start", "Cold start: a process from its start to its end", "runs"),
    Task("memory", "Resident memory after {texts} texts, {pictures} pictures and single queries", "runs", "mebibytes"),
)
BY_TASK = {task.name: task for task in TASKS}

_ALL = ("text", "query", "images", "tower", "files", "index", "search", "memory")
_THEIRS = ("text", "query", "images", "tower", "files", "search", "start", "memory")
_PRODUCT = ("text", "tower")

ENGINES: tuple[EngineAdapter, ...] = (
    EngineAdapter(BEST, "babelclip", "openvino", "int8", _ALL),
    EngineAdapter("babelclip-openvino-bfloat16", "babelclip", "openvino", "bfloat16", _ALL),
    EngineAdapter("babelclip-openvino-float32", "babelclip", "openvino", "float32", _ALL),
    EngineAdapter("babelclip-onnxruntime-int8", "babelclip", "onnxruntime", "int8", _ALL),
    EngineAdapter("babelclip-onnxruntime-float32", "babelclip", "onnxruntime", "float32", _ALL),
    EngineAdapter("babelclip-torch-float32", "babelclip", "torch", "float32", _ALL),
    EngineAdapter(MINI, "babelclip", "openvino", "auto", (*_ALL, "start"), same_weights=False),
    EngineAdapter(CHOSEN, "babelclip", "openvino", "auto", ("start",)),
    EngineAdapter(SERVING_MINI, "service", "openvino", "auto", ("memory",), same_weights=False),
    EngineAdapter(SERVING_CHOSEN, "service", "openvino", "auto", ("memory",)),
    EngineAdapter(IMPORTING, "babelclip", "", "", ("start",), same_weights=False),
    EngineAdapter(IMPORTING_MODEL, "babelclip", "", "", ("start",), same_weights=False),
    EngineAdapter(BASELINE, "sentence-transformers", "torch", "float32", _THEIRS),
    EngineAdapter("sentence-transformers-onnx", "sentence-transformers", "onnxruntime", "float32", ("text", "query")),
    EngineAdapter("sentence-transformers-openvino", "sentence-transformers", "openvino", "float32", ("text", "query")),
    EngineAdapter("nncf-openvino-int8", "nncf", "openvino", "int8", ("text", "query", "images", "tower")),
    EngineAdapter("fastembed", "fastembed", "onnxruntime", "float32", ("text", "query")),
    EngineAdapter("open_clip", "open_clip", "torch", "float32", ("images", "tower", "files")),
    *(
        EngineAdapter(f"product-{runtime}-{precision}", "product", runtime, precision, _PRODUCT)
        for runtime, precision in (
            ("openvino", "int8"),
            ("openvino", "bfloat16"),
            ("openvino", "float32"),
            ("onnxruntime", "int8"),
            ("onnxruntime", "float32"),
            ("torch", "float32"),
        )
    ),
)
BY_ENGINE = {engine.name: engine for engine in ENGINES}

THRESHOLDS: tuple[Threshold, ...] = (
    Threshold("text", BEST, "ratio", 8.0, at_least=True),
    Threshold("query", BEST, "ratio", 10.0, at_least=True),
    Threshold("images", BEST, "ratio", 7.0, at_least=True),
    Threshold("files", BEST, "ratio", 20.0, at_least=True),
    Threshold("tower", BEST, "share", 0.65, at_least=True),
    Threshold("start", MINI, "median", 1.0, at_least=False),
    Threshold("start", IMPORTING, "median", 0.2, at_least=False),
    Threshold("memory", MINI, "median", 350.0, at_least=False),
    Threshold("memory", BEST, "median", 700.0, at_least=False),
    Threshold("memory", SERVING_MINI, "median", 350.0, at_least=False),
    Threshold("memory", SERVING_CHOSEN, "median", 700.0, at_least=False),
)


def bar_of(task: str, engine: str) -> Threshold | None:
    """The bar of an engine in a task.

    :param task: the task's name
    :param engine: the engine's name
    :return: the bar, or None
    """
    return next((bar for bar in THRESHOLDS if (bar.task, bar.engine) == (task, engine)), None)


def named_tasks(names: tuple[str, ...]) -> tuple[Task, ...]:
    """Tasks by name, in the order of TASKS.

    :param names: their names; none means all
    :return: the tasks
    :raises InputError: if one is not known
    """
    _refuse_unknown("task", names, tuple(BY_TASK))
    return tuple(task for task in TASKS if not names or task.name in names)


def named_engines(names: tuple[str, ...]) -> tuple[EngineAdapter, ...]:
    """Engines by name, in the order of ENGINES, with the matrix products that bound them.

    :param names: their names; none means all
    :return: the engines
    :raises InputError: if one is not known
    """
    _refuse_unknown("engine", names, tuple(BY_ENGINE))
    bounds = {BY_ENGINE[name].ceiling for name in names}
    return tuple(engine for engine in ENGINES if not names or engine.name in names or engine.name in bounds)


def _refuse_unknown(kind: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """An InputError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise InputError(f"{kind} {name!r} is not known; known are {', '.join(known)}")
