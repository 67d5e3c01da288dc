"""Which ring a test belongs to, derived from its fixtures, parameters and imports.

The markers are declared in ``pyproject.toml``. ``pytest --quick`` runs the tests that have none of them, in a process
that cannot import torch: a test that needs it in spite of its markers fails.
"""

import ast
import sys
from collections.abc import Iterable
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "src", ROOT)
OWN = ("babelclip", "benchmarks", "tests")
"""Packages of the repository."""
RINGS = ("torch", "server", "browser", "slow")
TORCH_PACKAGES = {"torch", "transformers", "sentence_transformers", "datasets", "accelerate", "mteb"}
"""Packages that import torch, and torch."""
TORCH_FIXTURES = {
    "reference",
    "parity",
    "published_parity",
    "fixtures",
    "reference_clip_folder",
    "reference_text_folder",
    "inputs",
}
SERVER_PARAMETERS = {"postgresql", "redis", "milvus"}
BROWSER_FIXTURES = {"browser", "page"}
SLOW_FILES = (
    "tests/cli/",
    "tests/end_to_end/",
    "tests/explore/test_pixel_comparison.py",
    "tests/models/test_hub.py",
    "tests/models/test_quantize.py",
    "tests/scale/",
    "tests/service/inference/test_mounted_indexes.py",
    "tests/stores/test_graph_maintenance.py",
    "tests/stores/test_sqlite_ann.py",
)
"""Files and folders that start processes, build graphs or load whole models: two thirds of the time of the others."""


def add_markers(item: pytest.Item) -> None:
    """Mark a test by what it uses.

    :param item: the test
    """
    fixtures = set(getattr(item, "fixturenames", ()))
    parameters = {
        value for value in getattr(getattr(item, "callspec", None), "params", {}).values() if type(value) is str
    }
    of_module, of_function = torch_imports(item.path)
    function = getattr(item, "originalname", item.name)
    if fixtures & TORCH_FIXTURES or "torch" in parameters or of_module or function in of_function:
        item.add_marker("torch")
    if parameters & SERVER_PARAMETERS:
        item.add_marker("server")
    if fixtures & BROWSER_FIXTURES:
        item.add_marker("browser")
    if item.path.relative_to(ROOT).as_posix().startswith(SLOW_FILES):
        item.add_marker("slow")


class TorchBlocker(MetaPathFinder):
    """Refuses to import torch and the packages that import it, as if they were not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise for those packages, and leave all others to the next finder."""
        if fullname in TORCH_PACKAGES:
            raise ModuleNotFoundError(f"{fullname} is kept out of the quick tests", name=fullname)


@cache
def torch_imports(path: Path) -> tuple[bool, frozenset[str]]:
    """Find imports of torch in a test module without importing it.

    :param path: the module
    :return: whether one is at its top, and the names of the functions that hold one
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    direct = {node.name for node in functions if brought_in(imported(ast.walk(node))) & TORCH_PACKAGES}
    users = {node.name for node in functions if names_in(node) & direct}
    return bool(brought_in(imported(tree.body)) & TORCH_PACKAGES), frozenset(direct | users)


@cache
def missing_imports(path: Path) -> frozenset[str]:
    """Find the packages that a test module imports at its top, itself or through babelclip, and that are not installed.

    :param path: the module
    :return: their names
    """
    names = brought_in(imported(ast.parse(path.read_text(encoding="utf-8")).body))
    return frozenset(name for name in names - TORCH_PACKAGES if find_spec(name) is None)


def brought_in(names: Iterable[str]) -> set[str]:
    """Find the packages that importing some modules imports: their own, and those of modules of babelclip.

    :param names: modules, or names in them
    :return: names of top-level packages
    """
    return set().union(*map(packages_of, names))


@cache
def packages_of(name: str) -> frozenset[str]:
    """Find the packages that importing a module imports.

    :param name: the module, or a name in it
    :return: names of top-level packages
    """
    top = name.partition(".")[0]
    if name == "safetensors.torch":
        return frozenset({"torch"})
    if top not in OWN:
        return frozenset() if top in sys.stdlib_module_names else frozenset({top})
    for source in SOURCES:
        path = source / name.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return frozenset(brought_in(imported(ast.parse(file.read_text(encoding="utf-8")).body)))
    return frozenset()


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Collect the modules that statements import, and the names that they take from them, which may be modules."""
    names: set[str] = set()
    for node in nodes:
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {module, *(f"{module}.{alias.name}" for alias in aliases)}
            case ast.Try(body=body) | ast.With(body=body):
                names |= imported(body)
    return names


def names_in(node: ast.AST) -> set[str]:
    """Collect the plain names that a function uses."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
