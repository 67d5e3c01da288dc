"""babelclip pull, models, export, doctor: what is here, and how well it will run."""

import importlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from babelclip import __version__
from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName, Precision, Runtime, load
from babelclip.errors import BabelclipError
from babelclip.models import hub, registry
from babelclip.models.export import export_folder
from babelclip.models.precision import int8_hardware
from babelclip.runtimes import RUNTIMES
from babelclip.settings import settings

_EXTRAS = {
    "onnxruntime": ("onnxruntime",),
    "parquet": ("pyarrow",),
    "torch": ("torch",),
    "reference": ("torch", "transformers", "sentence-transformers"),
}
_FAST = {"FP32": "float32", "BF16": "bfloat16 sums in hardware", "INT8": "int8 sums in hardware"}


def pull(
    name: Annotated[str, typer.Argument(help="clip-ViT-B-32-multilingual-v1, or owner/name on the hub.")],
    revision: Annotated[str | None, typer.Option(help="A commit, tag or branch. [default: the newest]")] = None,
) -> None:
    """Download a model from the hub, verified and pinned. Run it again to continue after an interruption."""
    repositories = registry.PAIRS.get(name.removeprefix("sentence-transformers/"), (name,))
    if revision is not None and len(repositories) > 1:
        raise typer.BadParameter(f"a revision is of one repository, and {name} is {' and '.join(repositories)}")
    for repository in repositories:
        folder = hub.pull(repository, revision)
        output.line(f"{repository}: {folder}")


def models(
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its checksum.")] = False,
    json: AsJson = False,
) -> None:
    """List the named models."""
    rows: list[dict[str, Any]] = []
    for name, folder in registry.names():
        row: dict[str, Any] = {"name": name, "folder": str(folder) if folder else None, "licence": None}
        if folder is not None:
            manifest = registry.from_folder(folder, name).manifest
            row["licence"] = manifest.get("licence")
            row["languages"] = len(manifest.get("languages", [])) or None
            if verify:
                row["damaged"] = hub.damaged_files(folder)
        rows.append(row)
    if json:
        for row in rows:
            output.json_line(row)
    else:
        cells = [
            (row["name"], row["folder"] or f"not here; babelclip pull {row['name']}", row["licence"] or "")
            for row in rows
        ]
        output.table(("model", "folder", "licence"), cells)
    damaged = [f"{row['name']}: {file}" for row in rows for file in row.get("damaged", [])]
    for file in damaged:
        output.message(f"missing or changed: {file}")
    if damaged:
        raise typer.Exit(1)


def export(
    name: Annotated[str, typer.Argument(help="Name or folder of a model.")],
    target: Annotated[Path, typer.Argument(help="The folder to create.")],
    weights: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="float32 and float16 open in sentence-transformers; int8 only in babelclip."),
    ] = "float32",
    form: Annotated[
        Literal["folder", "onnx", "openvino"],
        typer.Option("--format", help="babelclip folder, or graphs with pooling, Dense and normalization inside."),
    ] = "folder",
) -> None:
    """Write a model as a babelclip folder, whose text folder opens in sentence-transformers, or as graph files.

    Graph files are run against the model before the command ends.
    """
    if form == "folder":
        export_folder(registry.find(name), target, storage=weights)
    else:
        # The engine is needed here alone; other commands shall not wait for it.
        from babelclip.models.export_graphs import export_graphs

        for tower, difference in export_graphs(registry.find(name), target, form).items():
            output.message(f"{tower}: within {difference:.1g} of the model")
    output.line(str(target))


def doctor(
    model: ModelName = registry.DEFAULT, runtime: Runtime = None, precision: Precision = "auto", json: AsJson = False
) -> None:
    """Print what is installed, how a model would run here, and what is slow and why."""
    report = {**_examine(), "model": model, "towers": _towers(model, runtime, precision)}
    if json:
        output.json_line(report)
        return
    output.line(
        f"babelclip {report['babelclip']}, Python {report['python']}, {report['machine']}, {report['cpus']} CPUs"
    )
    rows = [(name, version or "not installed") for name, version in report["packages"].items()]
    output.table(("package", "version"), rows)
    rows = [(name, state) for name, state in report["runtimes"].items()]
    output.table(("runtime", "state"), rows)
    output.line("The processor has: " + ", ".join(_FAST[name] for name in report["capabilities"]))
    for tower, how in report["towers"].items():
        output.line(f"{report['model']}, {tower} tower: {how['precision']}, because {how['why']}.")
    cache = report["compiled"]
    output.line(f"Compiled towers: {cache['towers']} in {cache['bytes'] / 2**20:.0f} MiB, {cache['folder']}")
    output.line(f"Data folder: {report['home']}")
    for remark in report["remarks"]:
        output.line(f"- {remark}")


def _version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _examine() -> dict[str, Any]:
    """Everything that doctor tells."""
    base = ("numpy", "onnx", "openvino", "tokenizers", "safetensors", "pillow", "pillow-heif", "faiss-cpu")
    optional = sorted({package for packages in _EXTRAS.values() for package in packages})
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    states = {name: _runtime_state(name) for name in RUNTIMES}
    capabilities: list[str] = []
    if states["openvino"] == "ready":
        found = importlib.import_module("babelclip.runtimes.openvino").RUNTIME.capabilities()
        capabilities = [name for name in _FAST if name in found and (name != "INT8" or int8_hardware() is not False)]
    compiled = [file.stat().st_size for file in settings().compiled.glob("*.blob")]
    return {
        "babelclip": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": cpus,
        "packages": {package: _version(package) for package in (*base, *optional)},
        "runtimes": states,
        "capabilities": capabilities,
        "compiled": {"folder": str(settings().compiled), "towers": len(compiled), "bytes": sum(compiled)},
        "home": str(settings().home),
        "remarks": _remarks(states, capabilities, cpus),
    }


def _towers(name: str, runtime: str | None, precision: Any) -> dict[str, dict[str, str]]:
    """In what the towers of a model would run, and why."""
    found = {}
    for tower in ("text", "image"):
        try:
            model = load(name, runtime, precision)
            if (model.text_spec if tower == "text" else model.image_spec) is not None:
                choice = model.precision(tower)
                found[tower] = {"precision": choice.name, "why": choice.why}
        except (BabelclipError, ImportError, OSError) as error:
            found[tower] = {"precision": "does not run", "why": str(error)}
    return found


def _runtime_state(name: str) -> str:
    """Whether a runtime can be imported."""
    if name not in ("openvino", "reference") and _version(name) is None:
        return f"not installed: pip install 'babelclip[{name}]'"
    try:
        importlib.import_module(f"babelclip.runtimes.{name}")
    except (ImportError, OSError) as error:
        return f"broken: {error}"
    return "ready"


def _remarks(states: dict[str, str], capabilities: list[str], cpus: int) -> list[str]:
    """What is slow, and why."""
    remarks = []
    if states["openvino"] != "ready":
        remarks.append(
            "OpenVINO, the default runtime, does not load: nothing runs until it does, or --runtime is given."
        )
    if states["openvino"] == "ready" and "BF16" not in capabilities:
        remarks.append("The processor has no bfloat16: precision bfloat16 would be slower than float32 here.")
    if int8_hardware() is False:
        remarks.append("The processor adds no products of bytes: quantised models would gain little here.")
    if cpus == 1:
        remarks.append("Only one CPU is allowed to this process: decoding and encoding take turns.")
    if not settings().cache_bytes:
        remarks.append("BABELCLIP_CACHE_MIB=0: every process compiles its towers anew, which takes seconds.")
    if settings().threads and settings().threads < cpus:
        remarks.append(f"BABELCLIP_THREADS={settings().threads} leaves {cpus - settings().threads} CPUs unused.")
    if settings().runtime == "reference":
        remarks.append("BABELCLIP_RUNTIME=reference is a numpy evaluator for tests: hundreds of times slower.")
    return remarks or ["Nothing is slow that need not be."]
