"""Strings -> token ids and mask."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Encoding, Regex, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from tokenizers.models import BPE

from babelclip.checkpoints.layouts import read_json
from babelclip.checkpoints.specs import TextSpec
from babelclip.errors import InputError, LayoutError
from babelclip.text.unigram import read_unigram

TokenIds = NDArray[np.int64]

# CLIP's own splitting of words (transformers, CLIPTokenizer).
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLIP_START, _CLIP_END = "<|startoftext|>", "<|endoftext|>"


class _Library:
    """The tokenizer that the library makes of a folder: ``size`` tokens, and the special ones that every text gets."""

    def __init__(self, folder: Path, max_length: int) -> None:
        self._tokenizer = _load(folder)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.size = self._tokenizer.get_vocab_size()
        self.frame: list[int] = self._tokenizer.encode("").ids

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, cut."""
        return [encoding.ids for encoding in self._encodings(texts)]

    def encode_counted(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """The same, and how many there would be uncut."""
        special = len(self.frame)
        encodings = self._encodings(texts)
        ids = [encoding.ids for encoding in encodings]
        left = [sum(len(part.ids) - special for part in encoding.overflowing) for encoding in encodings]
        return ids, [len(row) + more for row, more in zip(ids, left, strict=True)]

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """What the library makes of texts; a query is not worth its threads, which take a CPU from the engine's."""
        if len(texts) == 1:
            return [self._tokenizer.encode(texts[0])]
        return self._tokenizer.encode_batch_fast(texts)


class TextTokenizer:
    """Turns strings into the ids that one text tower reads. Safe to use from several threads."""

    def __init__(self, spec: TextSpec) -> None:
        """Load the tokenizer of a text tower.

        :param spec: the tower
        :raises LayoutError: if its files are missing, damaged or do not fit its vocabulary
        """
        self._spec = spec
        folder = spec.tokenizer_folder
        self._made = read_unigram(folder / "tokenizer.json", spec.max_length) or _Library(folder, spec.max_length)
        if self._made.size > spec.vocab_size:
            raise LayoutError(
                f"{folder}: the tokenizer has {self._made.size} tokens, the encoder only {spec.vocab_size}"
            )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens included, cut to the tower's length.

        :param texts: any strings; an empty one gives the special tokens alone
        :return: a list of ids a text
        :raises InputError: if one of them is not a string
        """
        return self._made.encode(self._prepared(texts))

    def encode_counted(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """The ids of each text as ``encode`` gives them, and how many tokens it has before it is cut.

        :param texts: any strings
        :return: a list of ids a text, and the tokens of each in all, special tokens included
        :raises InputError: if one of them is not a string
        """
        return self._made.encode_counted(self._prepared(texts))

    @property
    def frame(self) -> list[int]:
        """The special tokens that every text gets: the ids of an empty text, without the prompt."""
        return self._made.frame

    def framed(self, ids: Sequence[int]) -> list[int]:
        """The ids of a text with the special tokens around them, where they are not there yet; nothing is cut.

        :param ids: ids of this tokenizer's vocabulary
        :return: what the tower reads
        :raises InputError: if an id is not in the vocabulary
        """
        size = self._spec.vocab_size
        for token in ids:
            if not 0 <= token < size:
                raise InputError(f"token {token} is not in the vocabulary: ids are 0 to {size - 1}")
        if len(self.frame) != 2 or (len(ids) > 1 and [ids[0], ids[-1]] == self.frame):
            return list(ids)
        return [self.frame[0], *ids, self.frame[1]]

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        """Texts as the tokenizer takes them."""
        require_strings(texts)
        prompt, lowercase = self._spec.prompt, self._spec.lowercase
        return [prompt + _well_formed(text.lower() if lowercase else text) for text in texts]


def require_strings(texts: Sequence[str]) -> None:
    """Refuse what is no list of strings.

    :param texts: the texts
    :raises InputError: if one of them is not a string; names the first
    """
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {position} is {type(text).__name__}, not a string")


def pad(ids: Sequence[Sequence[int]], pad_id: int, width: int = 0) -> tuple[TokenIds, TokenIds]:
    """One rectangle of ids, as wide as the longest row, or wider.

    :param ids: ids a text, at least one text
    :param pad_id: what fills the shorter rows
    :param width: the least width
    :return: int64 (n, width) ids, and int64 (n, width) mask: 1 on tokens, 0 on padding
    """
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    mask = (np.arange(max(width, lengths.max())) < lengths[:, None]).astype(np.int64)
    padded = np.full(mask.shape, pad_id, dtype=np.int64)
    padded[mask.astype(bool)] = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return padded, mask


def _well_formed(text: str) -> str:
    """The text itself, or, where it holds lone surrogates, the text with the replacement character for each."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _load(folder: Path) -> FastTokenizer:
    """The tokenizer of a folder: tokenizer.json, or CLIP's vocab.json + merges.txt, or BERT's vocab.txt."""
    try:
        if (folder / "tokenizer.json").is_file():
            return FastTokenizer.from_file(str(folder / "tokenizer.json"))
        if (folder / "merges.txt").is_file() and (folder / "vocab.json").is_file():
            return _clip_tokenizer(folder)
        if (folder / "vocab.txt").is_file():
            return _bert_tokenizer(folder)
    except LayoutError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise LayoutError(f"the tokenizer in {folder} cannot be read: {error}") from None
    raise LayoutError(f"{folder} has no tokenizer.json, and neither vocab.json with merges.txt nor vocab.txt")


def _clip_tokenizer(folder: Path) -> FastTokenizer:
    """CLIP's byte-level BPE, lower-cased, from vocab.json and merges.txt."""
    vocab = dict(read_json(folder / "vocab.json"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [
        (left, right)
        for left, _, right in (line.partition(" ") for line in lines if not line.startswith("#version"))
        if right
    ]
    tokenizer = FastTokenizer(
        BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token=_CLIP_END)
    )
    tokenizer.add_special_tokens([AddedToken(_CLIP_START, special=True), AddedToken(_CLIP_END, special=True)])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (_CLIP_END, vocab[_CLIP_END]), (_CLIP_START, vocab[_CLIP_START]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def _bert_tokenizer(folder: Path) -> FastTokenizer:
    """BERT's word pieces from vocab.txt, with the options of tokenizer_config.json (cased unless it says so)."""
    source = folder / "tokenizer_config.json"
    config = read_json(source) if source.is_file() else {}
    built = BertWordPieceTokenizer(
        str(folder / "vocab.txt"),
        lowercase=bool(config.get("do_lower_case", False)),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
    )
    return FastTokenizer.from_str(built.to_str())
