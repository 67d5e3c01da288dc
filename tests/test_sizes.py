"""Sizes of modules and functions: long ones hide what they do."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
"""Without the docstring."""


def long_functions(source: str) -> Iterator[str]:
    """Yield the name of each function over the limit."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - len((docstring or "").splitlines())
            if length > MAX_FUNCTION_LINES:
                yield node.name


def test_modules_and_functions_are_short() -> None:
    too_long = set()
    for folder in ("src", "tests", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            source, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
            if len(source.splitlines()) > MAX_MODULE_LINES:
                too_long.add(name)
            too_long |= {f"{name}: {function}" for function in long_functions(source)}
    assert too_long == set()


def test_a_long_function_is_reported_without_its_docstring() -> None:
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    assert list(long_functions(f"def long():\n{body}")) == ["long"]
    short = "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    assert list(long_functions(f'def short():\n    """Do it.\n\n    At length.\n    """\n{short}')) == []
