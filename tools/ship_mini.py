"""Turns the float form of ``mini`` into the bundled model: 4-bit blocks, model card, checksums.

    python tools/ship_mini.py --float DIR --data ../shared/data

DIR is what build_mini.py wrote. The card's table is measured on the shipped form.
"""

import argparse
import json
import logging
import shutil
from pathlib import Path

from babelclip import registry
from babelclip.evaluation.captions import beginning_with, read_captions, read_pictures
from babelclip.evaluation.report import language_table, summary_table
from babelclip.evaluation.retrieval import evaluate_retrieval
from babelclip.evaluation.scores import Report
from babelclip.export import CARD, export_folder, write_manifest
from babelclip.languages import CODES
from babelclip.layouts import MANIFEST
from babelclip.model import Model

VERSION = "1"
LICENCE = "MIT (text), Apache-2.0 (image); see MODEL_CARD.md"
NATURAL_OBJECTS = ("animals", "town", "food", "household", "vehicles", "clothes", "plants", "hobbies", "sports")

log = logging.getLogger("ship_mini")


def main() -> None:
    """Ship what the command line names."""
    parser = argparse.ArgumentParser(description="Turn the float form of mini into the bundled model.")
    parser.add_argument("--float", type=Path, required=True, help="the folder that build_mini.py wrote")
    parser.add_argument("--data", type=Path, required=True, help="the data folder, for the card's table")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    ship(arguments.float, arguments.data, registry.BUNDLED / "mini")


def ship(source: Path, data: Path, target: Path) -> None:
    """Export, measure, and write the card.

    :param source: the float form.
    :param data: the data folder.
    :param target: the bundled folder; an old one is replaced.
    """
    shutil.rmtree(target, ignore_errors=True)
    facts = {"name": "mini", "version": VERSION, "licence": LICENCE, "languages": list(CODES)}
    export_folder(
        registry.ModelFolders("mini", source / "text", source / "image", {}), target, storage="int4", facts=facts
    )
    log.info("measuring %s", target)
    pictures = beginning_with(read_pictures(data / "images/tuxpaint.tar"), NATURAL_OBJECTS)
    captions = [c for c in read_captions(data / "captions/tuxpaint.tsv.gz") if c.language in CODES]
    report = evaluate_retrieval(Model.load(target), pictures, captions, progress=log.info)
    record = json.loads((source / "build.json").read_text(encoding="utf-8"))
    template = (Path(__file__).parent / "mini_card.md").read_text(encoding="utf-8")
    (target / CARD).write_text(fill(template, report, record), encoding="utf-8")
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    del manifest["files"]
    write_manifest(target, manifest)


def fill(template: str, report: Report, record: dict[str, object]) -> str:
    """Set the measured tables and the build's facts into the card.

    :param template: Markdown with ``{{names}}``.
    :param report: what was measured.
    :param record: build.json.
    :return: the card.
    """
    values = {
        "summary": summary_table(report, CODES),
        "languages": language_table(report, CODES),
        "subject": report.subject,
        **{key: json.dumps(value) if isinstance(value, dict | list) else str(value) for key, value in record.items()},
    }
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", value)
    return template


if __name__ == "__main__":
    main()
