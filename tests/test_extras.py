"""What is optional: every import belongs to a declared dependency, and a missing one is named with its install line."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from babelclip import extras
from babelclip.errors import MissingDependencyError

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/babelclip"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROOMS = {
    "benchmark": {"evaluate", "reference", "serve"},
    "evaluation/mteb_model.py": {"evaluate"},
    "media/raw.py": {"raw"},
    "media/video.py": {"video"},
    "runtimes/onnxruntime.py": {"onnxruntime"},
    "runtimes/torch.py": {"torch"},
    "scale": {"scale"},
    "service": {"serve"},
    "stores/milvus.py": {"scale"},
    "training": {"train"},
}
"""Where an extra is taken for granted: the room, or the file, is imported by those alone who have it."""
UNDECLARED = {"benchmark": {"autofaiss", "fastembed", "nncf", "open_clip"}, "stores/milvus.py": {"milvus_lite"}}
"""What no extra brings: libraries that are measured where they are installed, and the server of a local Milvus file."""
BLOCKED = {
    "serve": ("starlette", "uvicorn", "sqlalchemy", "limits", "orjson", "httpx2"),
    "watch": ("watchfiles",),
    "train": ("torch", "transformers", "sentence_transformers", "accelerate", "datasets"),
    "scale": ("ray", "pyarrow", "fsspec", "pymilvus", "requests"),
    "reference": ("torch", "transformers", "sentence_transformers"),
    "onnxruntime": ("onnxruntime",),
}
COMMANDS = [
    ("serve", "serve"),
    ("keys list", "serve"),
    ("keys create someone", "serve"),
    ("usage", "serve"),
    ("index photos --watch", "watch"),
    ("distill out --teacher x --student y --pairs z", "train"),
    ("scale embed photos vectors", "scale"),
    ("search dog --index milvus://photos.db", "scale"),
    ("benchmark parity", "reference"),
    ("embed dog --runtime onnxruntime", "onnxruntime"),
]


def requirement_names(requirements: Iterable[str]) -> set[str]:
    """The normalised names of packages."""
    return {normalised(text) for text in requirements}


def normalised(text: str) -> str:
    name = text
    for sign in "[<>=~!; ":
        name = name.partition(sign)[0]
    return name.lower().replace("_", "-")


BASE = requirement_names(PROJECT["dependencies"])
EXTRAS = {name: requirement_names(needed) for name, needed in PROJECT["optional-dependencies"].items()}
DISTRIBUTIONS = packages_distributions()


def third_party_imports(nodes: Iterable[ast.AST], extra: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Every import of another package, with the extra in whose context it stands; those for types are left out."""
    for node in nodes:
        inner = extra
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                found = [module]
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.With(items=items):
                found = []
                for item in items:
                    match item.context_expr:
                        case ast.Call(func=ast.Name(id="importing"), args=[ast.Constant(value=str(inner))]):
                            pass
            case _:
                found = []
        for name in found:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "babelclip":
                yield top, extra
        yield from third_party_imports(ast.iter_child_nodes(node), inner)


def allowed(path: Path, extra: str | None) -> set[str]:
    """The packages that a module may import in the context of an extra."""
    return BASE.union(*(EXTRAS[name] for name in of_place(ROOMS, path) | ({extra} if extra else set())))


def of_place(table: dict[str, set[str]], path: Path) -> set[str]:
    """What a table has for a module and for the rooms around it."""
    place = path.relative_to(SOURCE).as_posix()
    return {name for room, names in table.items() if place == room or place.startswith(room + "/") for name in names}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_import_is_of_the_base_or_of_an_extra_that_is_named(path: Path) -> None:
    for module, extra in third_party_imports(ast.parse(path.read_text(encoding="utf-8")).body):
        if module in of_place(UNDECLARED, path):
            continue
        packages = {normalised(name) for name in DISTRIBUTIONS.get(module, [module])}
        assert packages & allowed(path, extra), f"{module} is imported, and no dependency or extra brings it"


def test_the_service_checks_every_package_that_it_imports() -> None:
    from babelclip.service import NEEDED

    checked = {normalised(name) for module in NEEDED for name in DISTRIBUTIONS[module]}
    assert checked == EXTRAS["serve"] - {"uvloop"}


def test_the_base_install_is_about_a_dozen_packages() -> None:
    assert len(BASE) <= 15


def test_all_brings_every_extra_but_those_of_development() -> None:
    (line,) = PROJECT["optional-dependencies"]["all"]
    assert set(line.removeprefix("babelclip[").removesuffix("]").split(",")) == set(EXTRAS) - {"all", "dev", "docs"}


@pytest.mark.parametrize(("command", "extra"), COMMANDS, ids=lambda value: value.replace(" ", "-"))
def test_a_command_without_its_extra_prints_the_install_line(command: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    script = (
        f"import sys\nfor name in {BLOCKED[extra]!r}: sys.modules[name] = None\n"
        f"sys.argv = ['babelclip', *{command.split()!r}]\nfrom babelclip.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"is not installed. Install it with: pip install 'babelclip[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_of_every_command_needs_no_extra(tmp_path: Path) -> None:
    blocked = sorted({name for names in BLOCKED.values() for name in names})
    script = (
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "import typer\nfrom babelclip.cli.app import assemble\ntyper.main.get_command(assemble())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_service_without_its_extra_says_how_to_install_it() -> None:
    script = "import sys\nsys.modules['starlette'] = None\nimport babelclip.service.state"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "starlette is not installed. Install it with: pip install 'babelclip[serve]'" in done.stderr


def test_a_package_is_named_as_pip_knows_it() -> None:
    expected = pytest.raises(MissingDependencyError, match=r"^umap-learn is not installed.*babelclip\[explore\]")
    with expected, extras.importing("explore"):
        raise ModuleNotFoundError("no", name="umap.plot")
    with pytest.raises(MissingDependencyError, match=r"^no-such-module is not installed"):
        extras.require("serve", "sys", "no-such-module")


def test_a_module_of_babelclip_that_is_missing_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"babelclip\.nothing"), extras.importing("serve"):
        __import__("babelclip.nothing")
