import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from babelclip.benchmark.samples import ALL
from babelclip.checkpoints.layouts import read_text_spec
from babelclip.errors import InputError, LayoutError
from babelclip.text.tokenizer import TextTokenizer, pad


def reference_ids(folder: Path, length: int) -> list[list[int]]:
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    return [list(tokenizer(text, truncation=True, max_length=length)["input_ids"]) for text in ALL]


@pytest.mark.parametrize("family", ["distilbert", "xlm-roberta"])
def test_ids_equal_those_of_transformers_in_forty_scripts(tmp_path: Path, family: str, reference: Any) -> None:
    reference.save_text_model(tmp_path / "m", ALL, family=family)
    assert TextTokenizer(read_text_spec(tmp_path / "m")).encode(ALL) == reference_ids(tmp_path / "m", 128)


def test_vocab_txt_alone_gives_the_same_ids(text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    expected = TextTokenizer(read_text_spec(folder)).encode(ALL)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    (folder / "tokenizer.json").unlink()
    assert TextTokenizer(read_text_spec(folder)).encode(ALL) == expected


def test_clip_ids_equal_those_of_transformers_with_and_without_tokenizer_json(
    reference_clip_folder: Path, tmp_path: Path, reference: Any
) -> None:
    expected = reference_ids(reference_clip_folder, 77)
    assert TextTokenizer(read_text_spec(reference_clip_folder)).encode(ALL) == expected
    reference.save_as_clip_vit_b_32(reference_clip_folder, tmp_path / "st")
    assert TextTokenizer(read_text_spec(tmp_path / "st")).encode(ALL) == expected


def test_a_long_text_is_cut_at_the_towers_length(text_folder: Path) -> None:
    (ids,) = TextTokenizer(read_text_spec(text_folder)).encode(["dog " * 1000])
    assert len(ids) == 128


def test_tokens_are_counted_as_they_were_before_the_cut(text_folder: Path) -> None:
    import transformers

    texts = ["dog " * 300, "a dog", ""]
    tokenizer, whole = (
        TextTokenizer(read_text_spec(text_folder)),
        transformers.AutoTokenizer.from_pretrained(text_folder),
    )
    ids, totals = tokenizer.encode_counted(texts)
    assert totals == [len(whole(text)["input_ids"]) for text in texts]
    assert totals[0] > 300
    assert ids == tokenizer.encode(texts)


def test_a_text_alone_has_the_ids_that_it_has_among_others(text_folder: Path) -> None:
    tokenizer = TextTokenizer(read_text_spec(text_folder))
    assert [tokenizer.encode([text])[0] for text in ALL] == tokenizer.encode(ALL)


def test_a_prompt_stands_before_every_text(text_folder: Path) -> None:
    spec = read_text_spec(text_folder)
    prompted = TextTokenizer(replace(spec, prompt="a dog ")).encode(["runs", ""])
    assert prompted == TextTokenizer(spec).encode(["a dog runs", "a dog "])


def test_special_tokens_are_put_round_ids_that_lack_one(text_folder: Path) -> None:
    tokenizer = TextTokenizer(read_text_spec(text_folder))
    (whole,) = tokenizer.encode(["a dog"])
    first, last = tokenizer.frame
    assert tokenizer.framed(whole) == tokenizer.framed(whole[1:-1]) == whole
    assert tokenizer.framed(whole[:-1]) == [first, *whole[:-1], last]
    with pytest.raises(InputError, match="token 999999 is not in the vocabulary"):
        tokenizer.framed([999_999])


def test_padding_is_as_wide_as_the_longest_row_and_no_wider() -> None:
    ids, mask = pad([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_lone_surrogates_become_the_replacement_character(text_folder: Path) -> None:
    tokenizer = TextTokenizer(read_text_spec(text_folder))
    assert tokenizer.encode(["a \ud800 b"]) == tokenizer.encode(["a \ufffd b"])


def test_what_is_not_a_string_is_named(text_folder: Path) -> None:
    with pytest.raises(InputError, match="text 1 is NoneType"):
        TextTokenizer(read_text_spec(text_folder)).encode(["a", None])  # type: ignore[list-item]


def test_missing_and_damaged_tokenizers_are_errors(text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    spec = read_text_spec(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(LayoutError, match="cannot be read"):
        TextTokenizer(spec)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(LayoutError, match=r"no tokenizer\.json"):
        TextTokenizer(spec)


def test_a_tokenizer_larger_than_the_word_table_is_an_error(text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 10}))
    with pytest.raises(LayoutError, match="the encoder only 10"):
        TextTokenizer(read_text_spec(folder))


def test_a_rectangle_may_be_wider_than_its_longest_row() -> None:
    ids, mask = pad([[5, 6, 7], [8]], 1, 4)
    assert ids.tolist() == [[5, 6, 7, 1], [8, 1, 1, 1]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert pad([[5, 6, 7]], 1, 2)[0].tolist() == [[5, 6, 7]]
