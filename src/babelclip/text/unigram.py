"""Strings -> ids by a unigram model: what the tokenizers library makes of tokenizer.json, in a quarter of its memory.

The library keeps a hash map for every byte of every token, this one dictionary. A file that holds anything else than
what is done here is left to the library. The best path is found with the library's own numbers, added in its order,
because paths tie: SentencePiece, which adds in single precision, gives other ids for one text in some ten thousand.
"""

import json
import re
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

UNKNOWN_PENALTY = 10.0
"""How far a character that is no token is below the worst token (SentencePiece, unigram_model.cc)."""
WORDS_KEPT, LONGEST_KEPT = 4096, 32
"""Words whose ids are remembered, and their characters at most; all are forgotten when there are so many."""
_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""Unicode's White_Space; ``str.split`` takes more."""
_SPACES = re.compile(f"{_SPACE}+")
_STAND_IN = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]]}
"""A model with which the library reads the rest of a file."""
_PARTED = "\0"
_LOWEST = float("-inf")


class Unigram:
    """A unigram tokenizer. Safe to use from several threads.

    ``size`` is how many tokens it has, ``frame`` the special ones that every text gets.
    """

    def __init__(self, content: dict[str, Any], max_length: int) -> None:
        """Take over what a tokenizer.json holds; the content is used up.

        :param content: the file
        :param max_length: the most ids of a text, special ones included
        :raises ValueError: if it holds anything that is not done here
        """
        model = content["model"]
        if model["type"] != "Unigram" or model.get("byte_fallback"):
            raise ValueError("the model is not a unigram model alone")
        self._mark, self._by_space = _marking(content["pre_tokenizer"])
        self._marked = re.compile(f"{re.escape(self._mark)}[^{re.escape(self._mark)}]*")
        vocabulary = model.pop("vocab")
        self._scores = array("d", [score for _, score in vocabulary])
        # Written anew side by side, so that all the room of what was parsed becomes free.
        joined = _PARTED.join([token for token, _ in vocabulary])
        self.size = len(vocabulary)
        del vocabulary
        tokens = joined.split(_PARTED)
        del joined
        self._ids = dict(zip(tokens, range(self.size), strict=True))
        self._lengths = _lengths(tokens)
        self._unknown: int = model["unk_id"]
        if not 0 <= self._unknown < self.size:
            raise ValueError("the unknown token is not in the vocabulary")
        self._unknown_score = min(self._scores) - UNKNOWN_PENALTY
        self._added = _added(content["added_tokens"], self._ids, self._by_space)
        rest = {**content, "model": _STAND_IN, "added_tokens": [], "truncation": None, "padding": None}
        stub = FastTokenizer.from_str(json.dumps(rest))
        self._normalizer = stub.normalizer
        self.frame: list[int] = stub.encode("").ids
        index = stub.encode("a").special_tokens_mask.index(0)
        self._before, self._after = self.frame[:index], self.frame[index:]
        self._most = max_length - len(self.frame)
        self._cache: dict[str, list[int]] = {}

    @property
    def cached_words(self) -> frozenset[str]:
        """The words whose ids are cached."""
        return frozenset(self._cache)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special ones included, cut to the tower's length.

        :param texts: well-formed
        :return: a list of ids a text
        """
        return [self._framed(self._ids_of(text, self._most)) for text in texts]

    def encode_counted(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """The ids of each text, and how many there would be uncut.

        :param texts: well-formed
        :return: a list of ids a text, and a number a text
        """
        encoded = [self._ids_of(text) for text in texts]
        return [self._framed(ids) for ids in encoded], [len(ids) + len(self.frame) for ids in encoded]

    def _framed(self, ids: list[int]) -> list[int]:
        """Cut, and with the special tokens around."""
        return [*self._before, *ids[: self._most], *self._after]

    def _ids_of(self, text: str, enough: int = sys.maxsize) -> list[int]:
        """The ids of a text, at least so many of them; words have none in common, so that those are as in the whole."""
        ids: list[int] = []
        for number, part in enumerate(self._added.split(text)):
            if number % 2:
                ids.append(self._ids[part])
                continue
            for word in self._words(part):
                ids += self._cache.get(word) or self._learn(word)
                if len(ids) >= enough:
                    return ids
        return ids

    def _words(self, part: str) -> list[str]:
        """The words of what stands between special tokens, each without the mark before it."""
        mark = self._mark
        text = self._normalizer.normalize_str(part) if self._normalizer is not None else part
        pieces = [piece for piece in _SPACES.split(text) if piece] if self._by_space else [text.replace(" ", mark)]
        if mark not in text and self._by_space:
            return pieces
        return [
            word[1:]
            for piece in pieces
            if piece
            for word in self._marked.findall(piece if piece[0] == mark else mark + piece)
        ]

    def _learn(self, word: str) -> list[int]:
        """Find the ids of a word and cache them."""
        ids = self._best_path(self._mark + word)
        if len(word) <= LONGEST_KEPT:
            if len(self._cache) >= WORDS_KEPT:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _best_path(self, word: str) -> list[int]:
        """The tokens of the highest sum of scores, the first found of equal ones; unknown ones side by side are one."""
        ids, scores, unknown, end = self._ids.get, self._scores, self._unknown, len(word)
        best, start = [_LOWEST] * (end + 1), [0] * (end + 1)
        best[0] = 0.0
        for first in range(end):
            here, after = best[first], first + 1
            token = ids(word[first])
            total = (self._unknown_score if token is None else scores[token]) + here
            if total > best[after]:
                best[after], start[after] = total, first
            for length in self._lengths.get(word[first : first + 2], ()):
                after = first + length
                if after > end:
                    break
                token = ids(word[first:after])
                if token is not None:
                    total = scores[token] + here
                    if total > best[after]:
                        best[after], start[after] = total, first
        path: list[int] = []
        behind = 0
        while end:
            token = ids(word[start[end] : end], unknown)
            if token == unknown:
                behind = behind or end
            else:
                if behind:
                    path.append(ids(word[end:behind], unknown))
                    behind = 0
                path.append(token)
            end = start[end]
        if behind:
            path.append(ids(word[:behind], unknown))
        return path[::-1]


def read_unigram(path: Path, max_length: int) -> Unigram | None:
    """The tokenizer of a file, if it is one that is done here.

    :param path: tokenizer.json
    :param max_length: the most ids of a text, special ones included
    :return: the tokenizer; None leaves the file to the library, which says what is wrong with it
    """
    try:
        content = path.read_bytes()
        return Unigram(json.loads(content), max_length) if b'"Unigram"' in content else None
    except Exception:  # whatever is odd about a file; the library raises bare Exception
        return None


def _lengths(tokens: list[str]) -> dict[str, tuple[int, ...]]:
    """How long the tokens are that begin with the same two characters."""
    lengths: dict[str, set[int]] = {}
    for token in tokens:
        if len(token) > 1:
            lengths.setdefault(token[:2], set()).add(len(token))
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    rising = {start: tuple(sorted(sizes)) for start, sizes in lengths.items()}
    return {start: shared.setdefault(own, own) for start, own in rising.items()}


def _marking(step: dict[str, Any]) -> tuple[str, bool]:
    """What marks the beginning of a word, and whether words are parted by any white space rather than by blanks."""
    steps = step["pretokenizers"] if step["type"] == "Sequence" else [step]
    *before, marking = steps
    scheme = marking.get("prepend_scheme") or ("always" if marking["add_prefix_space"] else "never")
    if (
        [each["type"] for each in before] not in ([], ["WhitespaceSplit"])
        or (marking["type"], scheme, marking.get("split", True)) != ("Metaspace", "always", True)
        or len(marking["replacement"]) != 1
    ):
        raise ValueError("words are parted otherwise")
    return marking["replacement"], bool(before)


def _added(tokens: list[dict[str, Any]], ids: dict[str, int], by_space: bool) -> re.Pattern[str]:
    """What finds special tokens in a text, as its one group; of those that begin alike, the longest."""
    for token in tokens:
        odd = token["single_word"] or token["rstrip"] or token["normalized"] or (token["lstrip"] and not by_space)
        if odd or ids[token["content"]] != token["id"]:
            raise ValueError("special tokens are found otherwise")
    written = sorted((token["content"] for token in tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, written)).join("()") if written else "((?!))")
