"""The background thread that builds and grows the graphs of mounted indexes, while searches go on.

It has connections of its own to the index files. A search compares exactly what the graph does not contain, and adopts
a newer graph, whichever process has built it.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from babelclip.errors import BabelclipError

if TYPE_CHECKING:
    from babelclip.search.index import Index

POLL_SECONDS = 0.25
RETRY_SECONDS = 60.0
"""After a failure, such as a full disk."""
CLOSE_SECONDS = 10.0
"""How long closing waits; a build is cancelled between two blocks of vectors."""
NICENESS = 10
"""Added to the priority value of the thread on Linux, so that searches and encoding go first."""

LOG = logging.getLogger(__name__)


class _ClosedError(Exception):
    """Raised inside a build to cancel it."""


class IndexMaintenance:
    """One thread that maintains all mounted indexes in turn."""

    def __init__(self, openers: Mapping[str, Callable[[], "Index"]], poll: Callable[[str], None]) -> None:
        """Take the indexes; nothing runs before ``start``.

        :param openers: name -> opens the index, for use in the background thread alone
        :param poll: is called for every index from time to time, to let the searching thread adopt a newer graph
        """
        self._openers = openers
        self._poll = poll
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="babelclip-maintenance", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is anything to maintain."""
        if self._openers:
            self._thread.start()

    def close(self) -> None:
        """Cancel what is being built, and end the thread."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        """Maintain every index until closing."""
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        opened: dict[str, Index] = {}
        retry_at: dict[str, float] = {}
        try:
            while not self._closed.wait(POLL_SECONDS):
                for name, opener in self._openers.items():
                    if time.monotonic() >= retry_at.get(name, 0):
                        try:
                            if name not in opened:
                                opened[name] = opener()
                            opened[name].maintain(self._go_on)
                        except (BabelclipError, OSError) as error:
                            LOG.warning("index %s: its graph cannot be maintained: %s", name, error)
                            retry_at[name] = time.monotonic() + RETRY_SECONDS
                    if not self._closed.is_set():
                        self._poll(name)
        except _ClosedError:
            pass
        finally:
            for index in opened.values():
                index.close()

    def _go_on(self, done: int, total: int) -> None:
        """Cancel a build when the service closes."""
        if self._closed.is_set():
            raise _ClosedError
