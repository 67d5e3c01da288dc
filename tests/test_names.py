"""One meaning a name: a public class or type alias of src is defined in one module."""

import ast
from collections import defaultdict
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"

STILL_SHARED = frozenset(
    {
        "ClassNames",
        "Encoder",
        "Labels",
        "Task",
    }
)
"""Names that several modules still define. The list only shrinks: a name that became unique is taken out."""


def type_names(source: str) -> set[str]:
    """The public classes and type aliases that a module defines at its top level.

    Type variables are left out, and so are the options of commands (Annotated), which are named like their parameters.
    """
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            if ast.unparse(node.value).startswith(("TypeVar(", "Annotated[")):
                continue
            name = node.targets[0].id
        else:
            continue
        if name[0].isupper() and not name.isupper():
            names.add(name)
    return names


def shared_names() -> dict[str, list[str]]:
    """The names that more than one module defines, with the modules."""
    modules = defaultdict(list)
    for path in sorted(SRC.rglob("*.py")):
        for name in type_names(path.read_text(encoding="utf-8")):
            modules[name].append(path.relative_to(SRC).as_posix())
    return {name: paths for name, paths in modules.items() if len(paths) > 1}


def test_a_public_type_name_has_one_meaning() -> None:
    repeated = {name: paths for name, paths in shared_names().items() if name not in STILL_SHARED}
    assert not repeated, f"give each its own name (docs/reference/glossary.md): {repeated}"


def test_the_list_of_shared_names_holds_no_name_that_became_unique() -> None:
    unique = STILL_SHARED - shared_names().keys()
    assert not unique, f"take these out of STILL_SHARED: {sorted(unique)}"


def test_constants_functions_private_names_type_variables_and_options_are_not_counted() -> None:
    ignored = "T = TypeVar('T')\nCount = Annotated[int, typer.Option()]\nLIMIT = 3\n_Row = dict\ndef Run(): ...\n"
    source = ignored + "Row = dict[str, int]\nclass Place: ...\n"
    assert type_names(source) == {"Row", "Place"}
