"""Pruning of a tokenizer to frequent tokens: Unigram (XLM-R) and WordPiece (BERT, DistilBERT)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from babelclip.errors import LayoutError
from babelclip.pipeline import chunks

BATCH = 20_000


def count_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> NDArray[np.int64]:
    """Count the occurrences of each token in texts.

    :param tokenizer: a tokenizer without truncation and padding
    :param texts: the texts
    :return: int64 (vocabulary,)
    """
    size = tokenizer.get_vocab_size()
    total = np.zeros(size, dtype=np.int64)
    for batch in chunks(texts, BATCH):
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        total += np.bincount([i for encoding in encodings for i in encoding.ids], minlength=size)
    return total


def choose_tokens(tokenizer: Tokenizer, counts: Mapping[str, NDArray[np.int64]], size: int) -> list[int]:
    """Choose the tokens to keep: special tokens, single characters, then the most frequent.

    The frequency of a token is the sum over languages of its share in the language's text, so that all languages
    have the same influence.

    :param tokenizer: the unpruned tokenizer
    :param counts: language -> int64 (vocabulary,)
    :param size: number of tokens to keep
    :return: ids of the tokens, ascending
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    kept = special | {i for token, i in vocabulary.items() if len(token.removeprefix("##")) == 1}
    frequency = np.sum([count / max(1, count.sum()) for count in counts.values()], axis=0)
    for index in np.argsort(-frequency, kind="stable").tolist():
        if len(kept) >= size or frequency[index] == 0:
            break
        kept.add(index)
    return sorted(kept)


def prune_tokenizer(tokenizer: Tokenizer, kept: Sequence[int]) -> Tokenizer:
    """Prune a tokenizer; token ``kept[i]`` gets the id i.

    :param tokenizer: the unpruned tokenizer
    :param kept: ids of the tokens to keep, ascending
    :return: the pruned tokenizer
    :raises LayoutError: if its type cannot be pruned (byte-pair encoding)
    """
    data: dict[str, Any] = json.loads(tokenizer.to_str())
    new = {old: i for i, old in enumerate(kept)}
    model = data["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept if old < len(model["vocab"])]
        model["unk_id"] = new[model["unk_id"]]
    elif model["type"] == "WordPiece":
        model["vocab"] = {token: new[i] for token, i in model["vocab"].items() if i in new}
    else:
        raise LayoutError(f"a {model['type']} tokenizer cannot be pruned; only Unigram and WordPiece can")
    data["added_tokens"] = [{**token, "id": new[token["id"]]} for token in data["added_tokens"] if token["id"] in new]
    _renumber(data["post_processor"], new)
    return Tokenizer.from_str(json.dumps(data))


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    """Replace the ids of the special tokens in a post-processor."""
    if isinstance(processor, list):
        for part in processor:
            _renumber(part, new)
    elif isinstance(processor, dict):
        for key, value in processor.items():
            if key == "ids":
                processor[key] = [new[i] for i in value]
            elif key in ("sep", "cls") and isinstance(value, list):
                processor[key] = [value[0], new[value[1]]]
            else:
                _renumber(value, new)
