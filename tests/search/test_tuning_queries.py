from importlib import resources

from babelclip.models.model import Model
from babelclip.search.tuning_queries import PAIRS, sentences, tuning_vectors, word_pairs
from babelclip.text.languages import BY_CODE
from babelclip.zeroshot.background_vocabulary import background_vocabulary


def test_neighbours_are_tuned_with_words_and_with_sentences_in_known_languages(pair: Model) -> None:
    words, texts = tuning_vectors(pair)
    lines = resources.files("babelclip.search").joinpath("tuning_queries.tsv").read_text(encoding="utf-8").splitlines()
    assert words.shape == (400, pair.dimension)
    assert texts.shape == (len(lines) + len(word_pairs()), pair.dimension)
    assert len(set(lines)) == len(lines)
    languages = dict.fromkeys(line.split("\t")[0] for line in lines)
    assert languages.keys() <= set(BY_CODE)
    for i, language in enumerate(languages):
        pairs = [set(pair.split(", ")) for pair in word_pairs()[PAIRS * i : PAIRS * (i + 1)]]
        assert len(pairs) == PAIRS
        assert all(len(pair) == 2 and pair <= set(background_vocabulary(language)) for pair in pairs)
    assert len(sentences()) == len(lines)
