import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from babelclip.benchmark.samples import ALL
from babelclip.checkpoints.layouts import read_text_spec
from babelclip.models import registry
from babelclip.text.tokenizer import TextTokenizer
from babelclip.text.unigram import Unigram, read_unigram

LIMIT = 24
BLANKS = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u200b\u200d\ufeff"
SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "<mask>", " <mask> ", "\uff1cunk\uff1e", "<s", "\u2581", "\u2581\u2581")
UNKNOWN = "\U00010348\ue000"


@pytest.fixture(scope="module")
def mini_file() -> Path:
    folders = registry.find(registry.DEFAULT)
    assert folders.text is not None
    return folders.text / "tokenizer.json"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a tokenizer.json of a few letters whose scores are of few values, so that many paths are equal."""

    def write(change: Callable[[dict[str, Any]], None] = lambda content: None) -> Path:
        rng = random.Random(0)
        words = {"\u2581" * rng.randrange(2) + "".join(rng.choices("abcd", k=rng.randrange(1, 6))) for _ in range(300)}
        specials = ["<s>", "<pad>", "</s>", "<unk>"]
        scored = [[word, rng.choice((-1.1, -2.2, -3.3, -0.7, -1.8))] for word in ["\u2581", *sorted(words)]]
        content: dict[str, Any] = {
            "version": "1.0",
            "truncation": {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
            "padding": None,
            "added_tokens": [special(text, number) for number, text in enumerate([*specials, "<mask>"])],
            "normalizer": {"type": "NFKC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace()]},
            "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]},
            "decoder": None,
            "model": {"type": "Unigram", "unk_id": 3, "vocab": [*([s, 0.0] for s in [*specials, "<mask>"]), *scored]},
        }
        content["added_tokens"][4]["lstrip"] = True
        content["post_processor"] |= {"trim_offsets": True, "add_prefix_space": True}
        change(content)
        path = tmp_path_factory.mktemp("small") / "tokenizer.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def special(text: str, number: int) -> dict[str, Any]:
    no = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, "special": True, **no}


def metaspace(**changes: Any) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True, **changes}


def by_library(path: Path, texts: list[str]) -> tuple[list[list[int]], list[int]]:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    full = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    tokenizer.enable_truncation(LIMIT)
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)], [len(ids) for ids in full]


def made_up(pieces: list[str], *, seed: int, texts: int) -> list[str]:
    rng = random.Random(seed)
    anything = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]

    def piece() -> str:
        kinds = (
            pieces,
            pieces,
            [word.replace("\u2581", " ") for word in pieces[:200]],
            anything,
            BLANKS,
            SPECIAL,
            UNKNOWN,
        )
        return rng.choice(rng.choice(kinds))

    return ["".join(piece() for _ in range(rng.choice((1, 3, 8, 40)))) for _ in range(texts)]


def tokens_of(path: Path) -> list[str]:
    return [token for token, _ in json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]]


def opened(path: Path) -> Unigram:
    tokenizer = read_unigram(path, LIMIT)
    assert tokenizer is not None
    return tokenizer


def test_ids_and_counts_of_mini_equal_those_of_the_library_in_forty_scripts_and_in_noise(mini_file: Path) -> None:
    texts = [*ALL, *made_up(tokens_of(mini_file), seed=1, texts=1500)]
    assert opened(mini_file).encode_counted(texts) == by_library(mini_file, texts)
    assert opened(mini_file).encode(texts) == by_library(mini_file, texts)[0]


@pytest.mark.parametrize("parted", ["white space", "blanks"])
def test_of_paths_that_are_equal_the_librarys_is_taken(small: Callable[..., Path], parted: str) -> None:
    def by_blanks(content: dict[str, Any]) -> None:
        content["pre_tokenizer"] = metaspace()
        content["added_tokens"].pop()

    path = small() if parted == "white space" else small(by_blanks)
    texts = made_up(tokens_of(path), seed=2, texts=3000)
    assert opened(path).encode_counted(texts) == by_library(path, texts)


def test_an_xlm_roberta_tokenizer_is_read_here_and_by_the_library_alike(tmp_path: Path, reference: Any) -> None:
    reference.save_text_model(tmp_path / "m", ALL, family="xlm-roberta")
    path = tmp_path / "m" / "tokenizer.json"
    texts = [*ALL, *made_up(tokens_of(path), seed=3, texts=500)]
    assert opened(path).encode_counted(texts) == by_library(path, texts)
    assert TextTokenizer(read_text_spec(tmp_path / "m")).frame == [0, 2]


OTHERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bytes": lambda c: c["model"].update(byte_fallback=True),
    "no unknown token": lambda c: c["model"].update(unk_id=None),
    "a mark at the first word alone": lambda c: c.update(pre_tokenizer=metaspace(prepend_scheme="first")),
    "words that are not parted": lambda c: c.update(pre_tokenizer=metaspace(split=False)),
    "punctuation parted": lambda c: c["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "BertPreTokenizer"}),
    "nothing parted": lambda c: c.update(pre_tokenizer=None),
    "blanks that belong to a special token": lambda c: c["added_tokens"][4].update(rstrip=True),
    "special tokens as words": lambda c: c["added_tokens"][4].update(single_word=True),
    "special tokens once normalized": lambda c: c["added_tokens"][4].update(normalized=True),
    "a token beside the vocabulary": lambda c: c["added_tokens"].append(special("<new>", len(c["model"]["vocab"]))),
    "zero bytes": lambda c: c["model"]["vocab"].append(["a\0b", -1.0]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_else_a_file_holds_is_left_to_the_library(small: Callable[..., Path], other: str) -> None:
    assert read_unigram(small(), LIMIT) is not None
    assert read_unigram(small(OTHERS[other]), LIMIT) is None


def test_words_are_remembered_within_a_bound(small: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.text.unigram.WORDS_KEPT", 10)
    path = small()
    tokenizer = opened(path)
    texts = ["".join(random.Random(seed).choices("abcd ", k=50)) for seed in range(100)] + ["a" * 1000]
    assert tokenizer.encode_counted(texts) == by_library(path, texts)
    assert 0 < len(tokenizer.cached_words) <= 10
    assert "a" * 1000 not in tokenizer.cached_words
