"""The draw over corpora and languages."""

from collections import Counter

import numpy as np
import pytest

from babelclip.errors import DataError
from babelclip.training.pairs import Corpus
from babelclip.training.sampling import draw, shares


def corpus(name: str, language: str, size: int) -> Corpus:
    rows = range(size)
    return Corpus(name, language, tuple(f"{name} en {i}" for i in rows), tuple(f"{name} {language} {i}" for i in rows))


CORPORA = [corpus("news", "de", 6400), corpus("news", "gu", 100), corpus("nouns", "de", 400)]


def test_alpha_raises_small_languages() -> None:
    flat = shares(CORPORA[:2], weights={}, languages={}, alpha=0)
    root = shares(CORPORA[:2], weights={}, languages={}, alpha=0.5)
    size = shares(CORPORA[:2], weights={}, languages={}, alpha=1)
    assert flat == pytest.approx([1 / 2, 1 / 2])
    assert root == pytest.approx([8 / 9, 1 / 9])
    assert size == pytest.approx([64 / 65, 1 / 65])


def test_weights_are_shares_of_corpora_and_of_languages() -> None:
    found = shares(CORPORA, weights={"news": 1, "nouns": 3}, languages={"gu": 8}, alpha=0.5)
    assert found[2] == pytest.approx(0.75)
    assert found[0] == pytest.approx(found[1])
    assert found.sum() == pytest.approx(1)


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no sentence pairs"):
        shares([], weights={}, languages={})


def test_a_plan_keeps_the_shares_and_goes_through_a_corpus_before_repeating() -> None:
    fractions = shares(CORPORA, weights={"news": 1, "nouns": 1}, languages={}, alpha=0.5)
    plan = draw(CORPORA, fractions, samples=1800, source_share=0.0, seed=3)
    assert len(plan) == 1800
    counts = Counter(text.rsplit(" ", 1)[0] for text in plan.texts)
    assert counts == {"news de": 800, "news gu": 100, "nouns de": 900}
    repeats = Counter(text for text in plan.texts if text.startswith("nouns"))
    assert set(repeats.values()) == {2, 3}


def test_the_target_of_every_text_is_its_own_source_and_sources_have_their_share() -> None:
    fractions = np.array([0.5, 0.25, 0.25])
    plan = draw(CORPORA, fractions, samples=2000, source_share=0.3, seed=0)
    assert all(text.split()[::2] == source.split()[::2] for text, source in zip(plan.texts, plan.sources, strict=True))
    own = np.mean([text == source for text, source in zip(plan.texts, plan.sources, strict=True)])
    assert own == pytest.approx(0.3, abs=0.04)


def test_the_seed_decides_the_plan() -> None:
    fractions = np.array([0.5, 0.25, 0.25])
    plans = [draw(CORPORA, fractions, samples=50, source_share=0.5, seed=seed) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
