"""Turns a trained pair into the bundled model: compact weights, verdicts, model card, checksums, docs.

    python tools/ship_mini.py DIR --data ../shared/data --licences research

DIR is what train_mini.py wrote with both kinds of licences. The shipped form is what is measured; the other kind is
measured as it was trained. docs/benchmarks/quality.md gets the figures, with those of compare_speed.py where
DIR/speed.json is, and docs/training the logs.
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from babelclip.checkpoints.layouts import MANIFEST
from babelclip.checkpoints.weights import WEIGHTS, Storage, read_weights, write_weights
from babelclip.models import registry
from babelclip.models.export import CARD, export_folder, write_manifest
from babelclip.models.quantize import calibrate_towers, write_calibrations
from babelclip.text.languages import CODES
from babelclip.training.alignment_run import LOG
from int8_samples import sample_pictures, sample_texts
from quality_page import JUDGED, Measured, bars_table, languages_table, measures_table, page, verdicts

VERSION = "3"
STORAGE: Storage = "int8"
HALF = "image", "text/2_Dense"
"""What stays in float16: int8 rows there cost the other languages more than a point of R@10 on photographs."""
TRAINING_FILES = ("README.md", "report.json", "settings.json")
"""What a student's folder says of its training; docs/training has it."""
LICENCES = {
    "open": "MIT and Apache-2.0, trained on data under open licences; see MODEL_CARD.md",
    "research": "research use only, for the data it was trained on; see MODEL_CARD.md",
}
ROOT = Path(__file__).parent.parent

log = logging.getLogger("ship_mini")


def main() -> None:
    """Ship what the command line names."""
    parser = argparse.ArgumentParser(description="Turn a trained pair into the bundled model.")
    parser.add_argument("trained", type=Path, help="the folder that train_mini.py wrote")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--licences", choices=tuple(LICENCES), required=True, help="which of the two is shipped")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    ship(arguments.trained, arguments.data, arguments.licences, registry.BUNDLED / "mini")


def ship(trained: Path, data: Path, licences: str, target: Path) -> None:
    """Export, measure, judge, and write the card and the page.

    :param trained: the folder that train_mini.py wrote.
    :param data: the data folder.
    :param licences: "open" or "research".
    :param target: the bundled folder; an old one is replaced.
    """
    shutil.rmtree(target, ignore_errors=True)
    pair = trained / licences / "pair"
    facts = {
        "name": "mini",
        "version": VERSION,
        "licence": LICENCES[licences],
        "languages": list(CODES),
        "logit_scale": round(json.loads((pair / LOG).read_text(encoding="utf-8"))["scale"], 3),
    }
    towers = registry.ModelFolders("mini", pair / "text", pair / "image", {})
    export_folder(towers, target, storage=STORAGE, facts=facts)
    for name in TRAINING_FILES:
        (target / "text" / name).unlink(missing_ok=True)
    for part in HALF:
        write_weights(target / part / WEIGHTS, read_weights(pair / part), "float16")
    tokenizer = target / "text/tokenizer.json"
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    tokenizer.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    calibrate(towers, data, target)
    models = {}
    for name in LICENCES:
        file = trained / name / "measured.json"
        if not (trained / name / "pair").is_dir():
            log.info("there is no %s pair to compare with", name)
            continue
        if name == licences or not file.is_file():
            measure(target if name == licences else trained / name / "pair", data, file)
        models[name] = Measured(file)
    (ROOT / "docs/benchmarks/quality.md").write_text(page(models, licences, trained / "speed.json"), encoding="utf-8")
    keep_logs(trained, data, ROOT / "docs/training")
    template = (ROOT / "tools/mini_card.md").read_text(encoding="utf-8")
    record = json.loads((trained / "base/build.json").read_text(encoding="utf-8"))
    values = {
        "version": VERSION,
        "bars": bars_table({"this model": models[licences]}),
        "measures": measures_table({"this model": models[licences]}),
        "languages": languages_table(models[licences], [*JUDGED, "laser-tatoeba"]),
        **{key: str(value) for key, value in record.items()},
    }
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", value)
    (target / CARD).write_text(template, encoding="utf-8")
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    del manifest["files"]
    write_manifest(target, {**manifest, "verdicts": verdicts(models[licences])})


def calibrate(towers: registry.ModelFolders, data: Path, target: Path) -> None:
    """Let the shipped model run in int8.

    :param towers: the trained pair.
    :param data: the data folder.
    :param target: the bundled folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        pictures = sample_pictures(data, Path(folder))
        write_calibrations(target, calibrate_towers(towers, sample_texts(data), pictures, log_line=log.info))


def keep_logs(trained: Path, data: Path, target: Path) -> None:
    """Copy what the commands said and the losses they logged, without the folders of this machine.

    :param trained: the folder that train_mini.py wrote.
    :param data: the data folder.
    :param target: the folder to write; an old one is replaced.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    found = {file.name: file for file in (trained / "logs").glob("*.log")}
    for name in LICENCES:
        found |= {
            f"distill-{name}.jsonl": trained / name / "student/log.jsonl",
            f"align-{name}.json": trained / name / "pair" / LOG,
        }
    for name, file in found.items():
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            for folder, word in (
                (trained.resolve(), "OUT"),
                (data.resolve(), "DATA"),
                (trained, "OUT"),
                (data, "DATA"),
            ):
                text = text.replace(str(folder), word)
            (target / name).write_text(text, encoding="utf-8")


def measure(model: Path, data: Path, out: Path) -> None:
    """Measure a pair in a process of its own.

    :param model: the pair.
    :param data: the data folder.
    :param out: the file to write.
    """
    log.info("measuring %s", model)
    script = ROOT / "tools/measure_mini.py"
    subprocess.run([sys.executable, script, model, "--data", data, "--out", out], check=True)


if __name__ == "__main__":
    main()
