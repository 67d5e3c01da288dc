"""Take the screenshots of docs/images in a real Chromium, on the pictures of scripts/demo.

    python tools/screenshots.py demo-output/tuxpaint/usr/share/tuxpaint/stamps
    python tools/screenshots.py STAMPS --only page-de,map --out FOLDER

Needs Chromium and playwright (extra ``dev``), and UMAP for the map (extra ``explore``).
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
WORK = Path("/tmp/babelclip")
"""The folder of the photos and the index: its name is in the pictures."""
MAX_BYTES = 1536 * 1024
"""Of all pictures together."""
QUALITY = 72
WIDE, PHONE = (1200, 860), (390, 780)
SHEET_QUERIES = ("ein Segelboot", "μια μπανάνα", "果物", "un gâteau d'anniversaire")
COMMANDS = (
    ("search", "ein Segelboot", "-k", "4"),
    ("search", "果物", "-k", "4", "--where", "folder:food AND width>300"),
    ("classify", "{photos}/animals/mammals/bears", "--labels", "gatto,orso,cavallo", "--top", "1"),
)
TERMINAL_COLUMNS = 96
FOLDERS = ("animals", "food", "hobbies", "household", "plants", "seasonal", "space", "sports", "town", "vehicles")
"""Of the stamps: no letters and no weapons."""


@dataclass(frozen=True, slots=True)
class Shots:
    """A browser, the indexed pictures, and where screenshots go."""

    browser: Any
    work: Path
    out: Path

    @property
    def photos(self) -> Path:
        """The folder of the photos."""
        return self.work / "Pictures"

    def run(self, *arguments: str) -> str:
        """Run a command of babelclip on the index.

        :param *arguments: the command and its options
        :return: what it printed on stdout, with colours
        """
        environment = os.environ | {
            "BABELCLIP_HOME": str(self.work / "home"),
            "FORCE_COLOR": "1",
            "COLUMNS": str(TERMINAL_COLUMNS),
        }
        command = [sys.executable, "-m", "babelclip", *arguments]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    @property
    def index(self) -> str:
        """The index file."""
        return str(self.work / "photos.bc")

    def open(self, address: str, size: tuple[int, int], *, dark: bool = False, language: str = "en") -> Any:
        """Open a page.

        :param address: its URL
        :param size: of the window, in CSS pixels
        :param dark: whether the system prefers dark pages
        :param language: the language of the browser
        :return: the page of playwright
        """
        context = self.browser.new_context(
            locale=language,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        return page

    def save(self, page: Any, name: str, **options: Any) -> None:
        """Write a screenshot as WebP and close the page.

        :param page: the page of playwright
        :param name: of the picture, without its ending
        :param **options: of playwright's screenshot
        """
        page.wait_for_timeout(400)
        with Image.open(io.BytesIO(page.screenshot(**options))) as picture:
            picture.convert("RGB").save(self.out / f"{name}.webp", quality=QUALITY, method=6)
        page.context.close()


def contact_sheet(shots: Shots) -> None:
    """Take a contact sheet of several queries, light and dark.

    :param shots: browser and photos
    """
    queries = shots.work / "queries.txt"
    queries.write_text("\n".join(SHEET_QUERIES) + "\n", encoding="utf-8")
    sheet = shots.work / "sheet.html"
    shots.run("search", "--from", str(queries), "-k", "5", "--index", shots.index, "--html", str(sheet))
    for name, dark in (("contact-sheet", False), ("contact-sheet-dark", True)):
        shots.save(shots.open(sheet.as_uri(), WIDE, dark=dark), name)


def duplicates(shots: Shots) -> None:
    """Take the page of duplicates.

    :param shots: browser and photos
    """
    page = shots.work / "duplicates.html"
    shots.run("duplicates", "--index", shots.index, "--html", str(page))
    shots.save(shots.open(page.as_uri(), WIDE), "duplicates")


def photo_map(shots: Shots) -> None:
    """Take the map, light, with its thumbnails.

    :param shots: browser and photos
    """
    page = shots.work / "map.html"
    shots.run("map", str(page), "--index", shots.index, "--language", "en")
    opened = shots.open(page.as_uri(), WIDE)
    for _ in range(2):
        opened.click("#in")
    shots.save(opened, "map")


@contextmanager
def service(shots: Shots) -> Iterator[tuple[str, str]]:
    """Serve the index for the while.

    :param shots: browser and photos
    :yield: the address and a key
    """
    environment = os.environ | {"BABELCLIP_HOME": str(shots.work / "home")}
    command = [sys.executable, "-m", "babelclip", "serve", "--port", "0", "--quiet", "--index", f"photos={shots.index}"]
    secret = shots.run("keys", "create", "page", "--scope", "search", "--scope", "embed", "--scope", "classify")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr or ():
            if found := re.search(r"http://[\d.]+:\d+", line):
                yield found[0] + "/", re.sub(r"\x1b\[[\d;]*m", "", secret).split()[-1]
                break
        else:
            raise RuntimeError("the service ended before it listened")
    finally:
        process.terminate()
        process.wait()


def service_page(shots: Shots) -> None:
    """Take the page of the service in German, in Arabic (dark), and in Japanese on a phone.

    :param shots: browser and photos
    """
    with service(shots) as (address, secret):
        for name, language, query, size, dark in (
            ("page-de", "de", "ein Haus aus Holz", WIDE, False),
            ("page-ar", "ar", "زهرة حمراء", WIDE, True),
            ("page-phone", "ja", "果物", PHONE, False),
        ):
            page = shots.open(address, size, dark=dark, language=language)
            page.wait_for_selector("html[data-ready]")
            page.fill("#key-value", secret)
            page.keyboard.press("Enter")
            page.wait_for_selector("#key-dialog", state="hidden")
            page.fill("#query", query)
            page.keyboard.press("Enter")
            page.wait_for_selector("#hits li:nth-child(2) img[src^=blob]")
            page.wait_for_load_state("networkidle")
            shots.save(page, name)


def terminal(shots: Shots) -> None:
    """Take the output of commands as a terminal shows it.

    :param shots: browser and photos
    """
    console = Console(record=True, width=TERMINAL_COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in COMMANDS:
        arguments = [part.format(photos=shots.photos) for part in command]
        shown = " ".join(f'"{part}"' if " " in part else part for part in arguments)
        console.print(Text("$ ", "bold green") + Text(f"babelclip {shown}", "bold"))
        index = [] if command[0] == "classify" else ["--index", shots.index]
        console.print(Text.from_ansi(shots.run(*arguments, *index).rstrip()), end="\n\n")
    drawing = shots.work / "terminal.svg"
    svg = console.export_svg(title="babelclip")
    drawing.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")
    width, height = (float(side) for side in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    page = shots.open(drawing.as_uri(), (round(width), round(height)))
    shots.save(page, "terminal")


SCENES: dict[str, Callable[[Shots], None]] = {
    "contact-sheet": contact_sheet,
    "duplicates": duplicates,
    "map": photo_map,
    "page": service_page,
    "terminal": terminal,
}


def copy_pictures(stamps: Path, photos: Path) -> None:
    """Copy the pictures, and add duplicates of some of them.

    :param stamps: the pictures of scripts/demo
    :param photos: the folder to make
    """
    for folder in FOLDERS:
        for file in sorted((stamps / folder).rglob("*.png")):
            target = photos / file.relative_to(stamps)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    folder_of_copies = photos / "copies"
    folder_of_copies.mkdir()
    copies: tuple[tuple[str, float, str, dict[str, Any]], ...] = (
        ("birthday_cake", 1, "jpg", {"quality": 50}),
        ("rooster", 0.6, "png", {}),
        ("hedgehog", 1, "webp", {"quality": 60}),
    )
    for stem, scale, ending, options in copies:
        (original,) = photos.rglob(f"{stem}.png")
        with Image.open(original) as picture:
            copy = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
            copy = copy.resize((round(copy.width * scale), round(copy.height * scale)))
            copy.convert("RGB").save(folder_of_copies / f"{stem}-copy.{ending}", **options)


def main() -> None:
    """Index the pictures and take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stamps", type=Path, help="the pictures of scripts/demo")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    parser.add_argument("--only", default=",".join(SCENES), help="some of " + ", ".join(SCENES))
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(WORK, ignore_errors=True)
    copy_pictures(options.stamps, WORK / "Pictures")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shots = Shots(browser, WORK, options.out)
        shots.run("index", str(shots.photos), "--index", shots.index)
        for scene in options.only.split(","):
            SCENES[scene](shots)
        browser.close()
    taken = sum(file.stat().st_size for file in options.out.glob("*.webp"))
    sys.stdout.write(f"{taken / 1024:.0f} KiB in {options.out}\n")
    if taken > MAX_BYTES:
        raise SystemExit(f"over {MAX_BYTES / 1024:.0f} KiB: lower QUALITY")


if __name__ == "__main__":
    main()
