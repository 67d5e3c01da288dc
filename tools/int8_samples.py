"""What the layers of ``mini`` are observed on for int8: texts in every language, and pictures of its training."""

import random
import tarfile
from collections import defaultdict
from pathlib import Path

from babelclip.evaluation.captions import read_captions
from babelclip.text.languages import CODES
from mini_pairs import held_out
from training_text import read_class_names

PICTURES = {"flickr8k": 250, "photos-vi": 200, "tuxpaint": 120, "emoji": 80}
TEXTS_A_LANGUAGE = 20
SEED = 0


def sample_texts(data: Path) -> list[str]:
    """Draw captions and class names, so many a language.

    :param data: the data folder.
    :return: the texts, mixed.
    """
    rng = random.Random(SEED)
    held = held_out(data)
    found: dict[str, list[str]] = defaultdict(list)
    for name in PICTURES:
        for caption in read_captions(data / f"captions/{name}.tsv.gz"):
            if caption.language in CODES and caption.image not in held:
                found[caption.language].append(caption.text)
    for classes in read_class_names(data):
        found["en"].append(classes.english)
        for language, names in classes.translations.items():
            found[language] += names
    texts = [t for code in sorted(found) for t in rng.sample(found[code], min(TEXTS_A_LANGUAGE, len(found[code])))]
    rng.shuffle(texts)
    return texts


def sample_pictures(data: Path, folder: Path) -> list[Path]:
    """Unpack some pictures of the training.

    :param data: the data folder.
    :param folder: where they go.
    :return: their files.
    """
    rng = random.Random(SEED)
    held = held_out(data)
    found = []
    for name, count in PICTURES.items():
        with tarfile.open(data / f"images/{name}.tar") as archive:
            members = [one for one in archive.getmembers() if one.isfile() and Path(one.name).stem not in held]
            for member in rng.sample(members, count):
                content = archive.extractfile(member)
                if content is not None:
                    found.append(folder / f"{name}-{Path(member.name).name}")
                    found[-1].write_bytes(content.read())
    return found
