"""Which files and folders below a folder are read: not hidden ones, not those of systems, not excluded ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from babelclip.errors import InputError
from babelclip.media.system_folders import is_system_folder

SkipReason = Literal["hidden", "system", "excluded"]


@dataclass(frozen=True, slots=True)
class PathRules:
    """What is passed over below a folder that somebody named; the folder itself is always read.

    ``include_system`` reads recycle bins and thumbnails too. ``exclude`` are patterns with ``*``, ``?`` and ``[...]``:
    one without ``/`` is compared with every name, one with ``/`` with the path from the folder on.
    """

    include_system: bool = False
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse patterns that could match nothing.

        :raises InputError: if a pattern is empty
        """
        if not all(pattern.strip("/ ") for pattern in self.exclude):
            raise InputError("a pattern to exclude is empty; give a name such as '*.png', or a path such as 'raw/2019'")

    def reason(self, parts: Sequence[str]) -> SkipReason | None:
        """Why a path is passed over.

        :param parts: its names from the folder on that is read
        :return: the reason of the first name that has one; None if it is read
        """
        for depth, name in enumerate(parts, 1):
            if is_system_folder(name):
                if not self.include_system:
                    return "system"
            elif name.startswith("."):
                return "hidden"
            if self.exclude and self._is_excluded(name, "/".join(parts[:depth])):
                return "excluded"
        return None

    def _is_excluded(self, name: str, path: str) -> bool:
        patterns = (pattern.strip("/") for pattern in self.exclude)
        return any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns)


DEFAULT_RULES = PathRules()
