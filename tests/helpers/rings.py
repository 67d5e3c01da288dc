"""Which ring a test belongs to, derived from its fixtures, parameters and imports.

The markers are declared in ``pyproject.toml``. ``pytest --quick`` runs the tests that have none of them, in a process
that cannot import torch: a test that needs it in spite of its markers fails.
"""

import ast
from collections.abc import Iterable
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "src", ROOT)
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
    direct = {node.name for node in functions if any(needs_torch(name) for name in imported(ast.walk(node)))}
    users = {node.name for node in functions if names_in(node) & direct}
    return any(needs_torch(name) for name in imported(tree.body)), frozenset(direct | users)


@cache
def needs_torch(name: str) -> bool:
    """Tell whether a module is torch or imports it at its top, itself or through other modules of the repository.

    :param name: the module, or a name in it
    :return: whether importing it needs torch
    """
    if name.partition(".")[0] in TORCH_PACKAGES or name == "safetensors.torch":
        return True
    for source in SOURCES:
        for path in (source / f"{name.replace('.', '/')}.py", source / name.replace(".", "/") / "__init__.py"):
            if path.is_file():
                return any(needs_torch(inner) for inner in imported(ast.parse(path.read_text(encoding="utf-8")).body))
    return False


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Collect the modules that statements import, and the names that they take from them, which may be modules."""
    names: set[str] = set()
    for node in nodes:
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {module, *(f"{module}.{alias.name}" for alias in aliases)}
            case ast.Try(body=body):
                names |= imported(body)
    return names


def names_in(node: ast.AST) -> set[str]:
    """Collect the plain names that a function uses."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
