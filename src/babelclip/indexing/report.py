"""Report and progress of an indexing run."""

from dataclasses import dataclass, field

from babelclip.media.path_rules import SkipReason


@dataclass(slots=True)
class IndexReport:
    """Number of files by outcome; ``failed`` holds (path, reason).

    ``skipped`` holds (path, reason, files) of skipped folders and files: the reason is ``system`` or ``excluded``, and
    ``files`` is the number of photos, videos and archives at or below the path.
    """

    added: int = 0
    unchanged: int = 0
    known_content: int = 0
    removed: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, SkipReason, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """Number of processed files, and of all files; members of archives count as soon as their archive is opened."""

    done: int
    total: int
