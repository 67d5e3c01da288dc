"""A server in a process of its own, and requests to it."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from babelclip.errors import BabelclipError
from babelclip.settings import environment_of

LONGEST_ANSWER_SECONDS = 300


@contextmanager
def running_server(command: list[str], home: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run a server in a process of its own while the block lasts.

    :param command: what starts it
    :param home: its data folder, new, so that it makes an admin key
    :yield: the process, its address and its admin key
    :raises BabelclipError: if it does not start
    """
    process = subprocess.Popen(command, env=environment_of(home), stderr=subprocess.PIPE, text=True)
    try:
        key, log = "", []
        for line in process.stderr or ():
            log.append(line)
            key = next(iter(re.findall(r"bc-\S+", line)), key)
            if found := re.search(r"at (http://\S+)", line):
                yield process, found[1], key
                return
        raise BabelclipError("the server did not start: " + "".join(log)[-1000:])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def ask_embeddings(url: str, key: str, model: str, items: Sequence[Any]) -> int:
    """Ask a service for vectors.

    :param url: of the service, without a path
    :param key: its key
    :param model: as the service names it
    :param items: texts, or objects with an image
    :return: how many vectors came
    """
    content = json.dumps({"model": model, "input": list(items), "encoding_format": "base64"}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request(f"{url}/v1/embeddings", content, headers), timeout=LONGEST_ANSWER_SECONDS) as answer:
        return len(json.load(answer)["data"])
