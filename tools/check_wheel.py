"""Build the wheel, install it alone into a new environment, and do the main job with it: index photos and search them.

    python tools/check_wheel.py [--constraint constraints.txt] [--keep FOLDER]

Prints how many packages the base install brings and how large they are. Needs nothing but Python and pip.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("babelclip/py.typed", "babelclip/bundled/mini/", "babelclip/service/page/", ".dist-info/licenses/LICENSE")
"""Parts of paths that the wheel must hold beside the modules."""
PHOTOS = """
import sys
from PIL import Image
for name in ("red", "green", "blue"):
    Image.new("RGB", (320, 240), name).save(f"{sys.argv[1]}/{name}.jpg")
"""
"""A program that writes three photos into a folder."""
OPTIONAL = {"serve": "serve", "usage": "serve"}
"""Command that the base install cannot run -> the extra that it must name."""


def main() -> None:
    """Build, check, install, use and measure; stop at the first failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constraint", type=Path, help="versions to install")
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = arguments.keep or Path(temporary) / "wheel"
        folder.mkdir(parents=True)
        check(folder, arguments.constraint)


def check(folder: Path, constraint: Path | None) -> None:
    """Do every step in a folder.

    :param folder: an empty folder
    :param constraint: a pip constraints file, or none for the newest versions
    """
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    check_content(wheel)
    builder = venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt")
    builder.create(folder / "environment")
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    constraints = ["--constraint", str(constraint)] if constraint else []
    run(str(programs / "python"), "-m", "pip", "install", "--quiet", *constraints, str(wheel))
    use(folder, programs)
    measure(programs)


def check_content(wheel: Path) -> None:
    """Fail when the wheel lacks a part that is no module, or holds something that is not the package.

    :param wheel: the wheel
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [part for part in NEEDED if not any(part in name for name in names)]
    foreign = [name for name in names if not name.startswith("babelclip") or name.endswith(".pyc")]
    if missing or foreign:
        sys.exit(f"{wheel.name}: missing {missing}, not of the package {foreign}")


def use(folder: Path, programs: Path) -> None:
    """Index three photos, search them, and ask for commands whose extras are not installed.

    :param folder: where photos and index go
    :param programs: the folder of the environment's programs
    """
    photos = folder / "photos"
    photos.mkdir()
    index = str(folder / "photos.bc")
    home = {"BABELCLIP_HOME": str(folder / "home")}
    babelclip = str(programs / "babelclip")
    run(str(programs / "python"), "-c", PHOTOS, str(photos))
    run(babelclip, "doctor", **home)
    run(babelclip, "index", str(photos), "--index", index, **home)
    hits = [
        json.loads(line) for line in run(babelclip, "search", "rot", "--index", index, "--json", **home).splitlines()
    ]
    if Path(hits[0]["path"]).name != "red.jpg":
        sys.exit(f"the first hit is not the red photo: {hits}")
    for command, extra in OPTIONAL.items():
        refused = subprocess.run(
            [babelclip, command], capture_output=True, text=True, env=environment(home), check=False
        )
        if refused.returncode != 1 or f"pip install 'babelclip[{extra}]'" not in refused.stderr:
            sys.exit(f"babelclip {command}: exit code {refused.returncode}, {refused.stderr}")


def measure(programs: Path) -> None:
    """Print the number of packages and the size of the environment, without pip.

    :param programs: the folder of the environment's programs
    """
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(str(programs / "python"), "-c", script).strip())
    listed = [path.name for path in packages.glob("*.dist-info") if not path.name.startswith(("pip-", "setuptools-"))]
    size = sum(
        path.stat().st_size
        for path in packages.rglob("*")
        if path.is_file() and path.relative_to(packages).parts[0].split("-")[0] not in ("pip", "setuptools")
    )
    print(f"the base install: {len(listed)} packages, {size / 1e6:.0f} MB")  # noqa: T201


def run(*command: str, **variables: str) -> str:
    """Run a program with some environment variables and return its standard output; its failure ends this one."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment(variables), check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def environment(variables: dict[str, str]) -> dict[str, str]:
    """Copy this process's environment without what would let another babelclip in.

    :param variables: environment variables to set
    :return: an environment
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, **variables}


if __name__ == "__main__":
    main()
