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
class Engine:
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
class Bar:
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

ENGINES: tuple[Engine, ...] = (
    Engine(BEST, "babelclip", "openvino", "int8", _ALL),
    Engine("babelclip-openvino-bfloat16", "babelclip", "openvino", "bfloat16", _ALL),
    Engine("babelclip-openvino-float32", "babelclip", "openvino", "float32", _ALL),
    Engine("babelclip-onnxruntime-int8", "babelclip", "onnxruntime", "int8", _ALL),
    Engine("babelclip-onnxruntime-float32", "babelclip", "onnxruntime", "float32", _ALL),
    Engine("babelclip-torch-float32", "babelclip", "torch", "float32", _ALL),
    Engine(MINI, "babelclip", "openvino", "auto", (*_ALL, "start"), same_weights=False),
    Engine(CHOSEN, "babelclip", "openvino", "auto", ("start",)),
    Engine(SERVING_MINI, "service", "openvino", "auto", ("memory",), same_weights=False),
    Engine(SERVING_CHOSEN, "service", "openvino", "auto", ("memory",)),
    Engine(IMPORTING, "babelclip", "", "", ("start",), same_weights=False),
    Engine(IMPORTING_MODEL, "babelclip", "", "", ("start",), same_weights=False),
    Engine(BASELINE, "sentence-transformers", "torch", "float32", _THEIRS),
    Engine("sentence-transformers-onnx", "sentence-transformers", "onnxruntime", "float32", ("text", "query")),
    Engine("sentence-transformers-openvino", "sentence-transformers", "openvino", "float32", ("text", "query")),
    Engine("nncf-openvino-int8", "nncf", "openvino", "int8", ("text", "query", "images", "tower")),
    Engine("fastembed", "fastembed", "onnxruntime", "float32", ("text", "query")),
    Engine("open_clip", "open_clip", "torch", "float32", ("images", "tower", "files")),
    *(
        Engine(f"product-{runtime}-{precision}", "product", runtime, precision, _PRODUCT)
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

BARS: tuple[Bar, ...] = (
    Bar("text", BEST, "ratio", 8.0, at_least=True),
    Bar("query", BEST, "ratio", 10.0, at_least=True),
    Bar("images", BEST, "ratio", 7.0, at_least=True),
    Bar("files", BEST, "ratio", 20.0, at_least=True),
    Bar("tower", BEST, "share", 0.65, at_least=True),
    Bar("start", MINI, "median", 1.0, at_least=False),
    Bar("start", IMPORTING, "median", 0.2, at_least=False),
    Bar("memory", MINI, "median", 350.0, at_least=False),
    Bar("memory", BEST, "median", 700.0, at_least=False),
    Bar("memory", SERVING_MINI, "median", 350.0, at_least=False),
    Bar("memory", SERVING_CHOSEN, "median", 700.0, at_least=False),
)


def bar_of(task: str, engine: str) -> Bar | None:
    """The bar of an engine in a task.

    :param task: the task's name
    :param engine: the engine's name
    :return: the bar, or None
    """
    return next((bar for bar in BARS if (bar.task, bar.engine) == (task, engine)), None)


def named_tasks(names: tuple[str, ...]) -> tuple[Task, ...]:
    """Tasks by name, in the order of TASKS.

    :param names: their names; none means all
    :return: the tasks
    :raises InputError: if one is not known
    """
    _refuse_unknown("task", names, tuple(BY_TASK))
    return tuple(task for task in TASKS if not names or task.name in names)


def named_engines(names: tuple[str, ...]) -> tuple[Engine, ...]:
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
