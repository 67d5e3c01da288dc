"""Builds the XLM-R Unigram tokenizer with the ``tokenizers`` library and prunes its pieces.

The normalization is sentencepiece's ``nmt_nfkc``; its compiled table is taken from a throw-away
sentencepiece model. The zero-width joiner becomes a space first: XLM-R's table did that, the tables of
sentencepiece since 0.2.1 do not.
"""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from babelclip.training.vocabulary import count_tokens

__all__ = ["build_tokenizer", "choose_pieces", "count_pieces"]

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
UNKNOWN_ID = 3
ZERO_WIDTH_JOINER = "\u200d"
# Sources of short names of things, which is what people search for, and their part in a piece's use.
NAME_SOURCES = frozenset({"emoji", "emoji-cldr", "wordnet-nouns"})
NAME_PART = 0.7
THROWAWAY_SENTENCES = ("a b c d e f g", "hello there")
THROWAWAY_VOCABULARY = 20


def build_tokenizer(pieces: Sequence[str], scores: NDArray[np.float32]) -> Tokenizer:
    """Build the tokenizer ``<s> text </s>`` over the given pieces.

    :param pieces: the pieces in the order of their ids; the first four are the special tokens.
    :param scores: float32 (pieces,), log probabilities.
    :return: the tokenizer; it neither truncates nor pads.
    """
    vocabulary = [(piece, round(float(score), 4)) for piece, score in zip(pieces, scores, strict=True)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=UNKNOWN_ID, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(ZERO_WIDTH_JOINER, " "), normalizers.Precompiled(_nmt_nfkc())]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    begin, end = SPECIAL_TOKENS[0], SPECIAL_TOKENS[2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(begin, pieces.index(begin)), (end, pieces.index(end))],
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def count_pieces(
    tokenizer: Tokenizer, texts: Iterable[tuple[str, str, list[str]]]
) -> dict[tuple[str, bool], NDArray[np.int64]]:
    """Count how often each language uses each piece, apart in names of things and in other text.

    :param tokenizer: the unpruned tokenizer.
    :param texts: (language, source, texts) as ``training_text.read_texts`` gives them.
    :return: (language, whether of names) -> int64 (pieces,).
    """
    size = tokenizer.get_vocab_size()
    counts: dict[tuple[str, bool], NDArray[np.int64]] = {}
    for language, source, rows in texts:
        total = counts.setdefault((language, source in NAME_SOURCES), np.zeros(size, np.int64))
        total += count_tokens(tokenizer, rows)
    return counts


def choose_pieces(pieces: Sequence[str], counts: dict[tuple[str, bool], NDArray[np.int64]], size: int) -> list[int]:
    """Choose the pieces to keep: special tokens, single characters, then the most used.

    A piece's use is the sum over languages of its share in the language's names and in its other text, so
    that a language with little text counts as much as one with a lot.

    :param pieces: all pieces in the order of their ids.
    :param counts: (language, whether of names) -> int64 (pieces,).
    :param size: how many to keep.
    :return: sorted ids.
    """
    kept = set(range(len(SPECIAL_TOKENS))) | {index for index, piece in enumerate(pieces) if len(piece) == 1}
    shares = [
        (NAME_PART if of_names else 1 - NAME_PART) * count / count.sum()
        for (_, of_names), count in sorted(counts.items())
    ]
    use = np.sum(shares, axis=0)
    for index in np.argsort(-use, kind="stable").tolist():
        if len(kept) >= size:
            break
        kept.add(index)
    return sorted(kept)


def _nmt_nfkc() -> bytes:
    """Return sentencepiece's compiled ``nmt_nfkc`` table."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(THROWAWAY_SENTENCES * 20),
        model_writer=written,
        model_type="unigram",
        vocab_size=THROWAWAY_VOCABULARY,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(written.getvalue())
    table: bytes = model.normalizer_spec.precompiled_charsmap
    return table
