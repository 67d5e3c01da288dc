"""Folders that are followed."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from babelclip.catalog.catalog import Catalog
from babelclip.errors import InputError
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.watch import follow
from babelclip.models.model import Model
from tests.helpers.updating import XMP, captions, opened


def test_a_folder_is_followed(pair: Model, photos: Path, tmp_path: Path) -> None:
    stop, ready = threading.Event(), threading.Event()

    def run() -> None:
        catalog = opened(tmp_path / "p.bc", pair)

        def bring_in() -> None:
            bring_up_to_date(catalog, pair, photos)
            ready.set()

        for _ in follow(catalog, pair, [photos], stop=stop, ready=bring_in):
            pass
        catalog.close()

    reader = opened(tmp_path / "p.bc", pair)

    def wait_for(condition: Callable[[], bool]) -> None:
        for _ in range(600):
            if condition():
                return
            time.sleep(0.1)
        pytest.fail("what changed was not brought in")

    follower = threading.Thread(target=run)
    follower.start()
    try:
        assert ready.wait(60)
        Image.new("RGB", (30, 40), "red").save(photos / "new.png")
        wait_for(lambda: reader.vectors.count() == 6)
        shutil.move(photos / "new.png", photos / "inner/moved.png")
        wait_for(lambda: str(photos / "inner/moved.png") in reader.vectors.all()[0] and reader.vectors.count() == 6)
        (photos / "inner/moved.xmp").write_text(XMP)
        wait_for(lambda: captions(reader)["moved.png"] == "TITLE")
        shutil.move(photos / "inner", tmp_path / "away")
        wait_for(lambda: reader.vectors.count() == 3)
        shutil.move(tmp_path / "away", photos / "back")
        wait_for(lambda: reader.vectors.count() == 6)
    finally:
        stop.set()
        follower.join()
        reader.close()


def test_what_is_not_a_folder_cannot_be_followed(catalog: Catalog, pair: Model, photos: Path) -> None:
    with pytest.raises(InputError, match="not a folder that can be followed"):
        next(follow(catalog, pair, [photos / "a.jpg"]))
