"""Tests of pruning a tokenizer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babelclip.models.model import Model
from babelclip.training.student import load_tokenizer, make_student
from babelclip.training.vocabulary import choose_tokens, count_tokens, prune_tokenizer
from babelclip.vectors import unit_rows


@pytest.mark.parametrize("family", ["teacher", "xlm-roberta"])
def test_a_pruned_student_gives_the_same_vectors_for_the_tokens_it_kept(
    inputs: Path, tmp_path: Path, family: str, reference: Any
) -> None:
    tokenizer = load_tokenizer(inputs / family)
    texts = ["abcdef gh", "hgfedcba"]
    counts = {"en": count_tokens(tokenizer, texts)}
    size = tokenizer.get_vocab_size()
    kept = choose_tokens(tokenizer, counts, size - 4)
    pruned = prune_tokenizer(tokenizer, kept)
    assert pruned.get_vocab_size() == len(kept) < size
    assert [e.tokens for e in pruned.encode_batch(texts)] == [e.tokens for e in tokenizer.encode_batch(texts)]
    make_student(inputs / family, tmp_path / "pruned", counts=counts, vocabulary=size - 4)
    make_student(inputs / family, tmp_path / "whole")
    small, large = (Model.load(text=tmp_path / name).encode_text(texts) for name in ("pruned", "whole"))
    assert np.allclose(small, large, atol=1e-5)
    assert np.allclose(small, unit_rows(reference.text_vectors(tmp_path / "pruned", texts)), atol=1e-4)
