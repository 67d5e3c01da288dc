import re
from pathlib import Path

import pytest
import typer

import screenshots
import write_reference
from babelclip.cli.app import APP
from babelclip.service.http import page
from babelclip.service.routes import classify, deepinfra, embeddings, photos, search, status

ROOT = Path(__file__).parents[1]
COMMANDS_PAGE = (ROOT / "docs/guides/command-line.md").read_text()
SHARED_OPTIONS = {"--model", "-m", "--runtime", "--precision", "--index", "-i", "--json", "--help"}


def commands() -> dict[str, set[str]]:
    """Every command and its options."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        subcommands = getattr(command, "commands", None)
        for sub, inner in (subcommands or {}).items():
            walk(inner, f"{name} {sub}")
        if subcommands is None:
            parameters = getattr(command, "params", [])
            found[name] = {option for p in parameters for option in p.opts if option.startswith("-")}

    walk(typer.main.get_command(APP), "babelclip")
    return found


def section(name: str) -> str:
    parts = re.split(r"^## ", COMMANDS_PAGE, flags=re.MULTILINE)
    (text,) = [part for part in parts if re.match(rf"{re.escape(name)}(\s|$)", part)]
    return text


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name: str) -> None:
    text = section(name)
    missing = {option for option in commands()[name] - SHARED_OPTIONS if f"`{option}" not in text}
    assert not missing


def test_every_documented_command_exists() -> None:
    documented = {" ".join(line.split()[1:]) for line in COMMANDS_PAGE.splitlines() if line.startswith("## babelclip")}
    for line in documented:
        assert any(line.startswith(name) for name in commands()), line


def test_every_setting_is_documented_and_no_other() -> None:
    pattern = re.compile(r"BABELCLIP_[A-Z_]+")
    in_code = set(pattern.findall((ROOT / "src/babelclip/settings.py").read_text()))
    assert in_code == set(pattern.findall((ROOT / "docs/reference/settings.md").read_text()))


def test_every_route_is_documented_and_no_other() -> None:
    modules = (embeddings, deepinfra, classify, search, photos, status, page)
    routes = {(method, route.path) for m in modules for route in m.ROUTES for method in route.methods - {"HEAD"}}
    table = (ROOT / "docs/guides/http-api.md").read_text()
    documented = set(re.findall(r"`(GET|POST) (/[^`]*)`", table.split("## ")[0]))
    shown = {(method, path.replace(":path}", "}")) for method, path in routes}
    assert documented - {("GET", "/openapi.json")} == shown


def test_every_environment_variable_is_read_in_settings_alone() -> None:
    readers = [p.name for p in (ROOT / "src").rglob("*.py") if "os.environ" in p.read_text()]
    assert readers == ["settings.py"]


@pytest.mark.parametrize("page", sorted(write_reference.pages()), ids=lambda page: page.name)
def test_a_generated_page_is_what_is_generated_today(page: Path) -> None:
    assert page.read_text() == write_reference.pages()[page], "run python tools/write_reference.py"


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_decision_has_its_sections_and_stands_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    decisions = sorted(folder.glob("[0-9]*.md"))
    listed = re.findall(r"\]\(([0-9][^)]+)\)", (folder / "index.md").read_text())
    assert [decision.name for decision in decisions] == listed
    for number, decision in enumerate(decisions, 1):
        text = decision.read_text()
        assert text.startswith(f"# {number}. ")
        assert re.findall("^## (.*)", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Evidence"]
        assert re.search("^Status: (proposed|accepted|replaced by ADR [0-9]+)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda p: p.name)
def test_pages_are_in_plain_technical_english(page: Path) -> None:
    if page.name != "glossary.md":
        assert not re.findall(r"\b(so many|parted|anew|shall|is told|somebody|whoever)\b", page.read_text())


def test_screenshots_are_small_and_each_is_shown() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    images = sorted((ROOT / "docs/images").iterdir())
    assert sum(image.stat().st_size for image in images) <= screenshots.MAX_BYTES
    assert [image.name for image in images if f"images/{image.name}" not in pages] == []


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")], ids=lambda p: p.name)
def test_modules_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/.-])((?:[a-z_]+/)*[a-z_]+\.py)\b", page.read_text())
    missing = {name for name in named if not any((base / name).is_file() for base in (ROOT, ROOT / "src/babelclip"))}
    assert page.name == "glossary.md" or not missing


def test_pages_that_the_code_names_exist() -> None:
    files = [path for folder in ("src", "tools", "tests", "deploy") for path in (ROOT / folder).rglob("*")]
    texts = [file.read_text() for file in files if file.suffix in {".py", ".yaml"}]
    named = {name for text in texts for name in re.findall(r"\bdocs/[a-z/-]+\.md", text)}
    assert named
    assert not {name for name in named if not (ROOT / name).is_file()}
