"""Parallel text: files of many forms -> sources, and their translations by language.

A source is a sentence in the teacher's language. Read are
  .tsv, .tsv.gz             two columns without a header: source, tab, translation; the file is named by its language
                            (``de.tsv.gz``); or many columns under a header of language codes (n-way)
  .jsonl, .jsonl.gz         an object a line whose keys are language codes, in ``translation`` or at the top
  .parquet                  columns named by language codes, or a struct column ``translation`` of them
  folders of these, a language or a corpus a file; folders that Hugging Face datasets' ``save_to_disk`` wrote; and
  ``hf:NAME`` or ``hf:NAME/CONFIG``, a data set by its name.
Columns called english, source or anchor hold the source; non_english, target, translation or positive hold the
translation, whose language is then the file's name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from babelclip.errors import DataError, MissingDependencyError

SUFFIXES = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
MAX_CHARACTERS = 250
"""A longer sentence is left out, as sentence-transformers' example has it (Reimers & Gurevych 2020)."""

_CODE = re.compile(r"[a-z]{2,3}(-[a-z]{2,4})?")
_SOURCE_COLUMNS = ("english", "source", "anchor")
_TARGET_COLUMNS = ("non_english", "target", "translation", "positive")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentence pairs of one path, its name, in one language: ``sources[i]`` is translated by ``texts[i]``."""

    name: str
    language: str
    sources: tuple[str, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """What is asked for of one path: its share against other paths, and the most pairs a language may give.

    A weight of None gives a path the share that its size has under the temperature.
    """

    path: str
    weight: float | None = None
    cap: int | None = None

    @property
    def name(self) -> str:
        """What the corpus is called in tables: the last part of its path, without suffixes."""
        return self.path.rstrip("/").rsplit("/", 1)[-1].split(".")[0]


def parse_corpus(option: str) -> CorpusFile:
    """A corpus as the command line names it: ``PATH``, or ``PATH,weight=2,cap=50000``.

    :param option: the words
    :return: the path and its settings
    :raises DataError: if a setting is not known or is not a number over 0
    """
    path, numbers = parse_numbers(option, "weight", "cap")
    return CorpusFile(path, numbers.get("weight"), int(numbers["cap"]) if "cap" in numbers else None)


def parse_numbers(option: str, *known: str) -> tuple[str, dict[str, float]]:
    """A word with settings behind it: ``WORD``, or ``WORD,setting=2``.

    :param option: the words
    :param *known: the settings that it may have
    :return: the word, and its settings
    :raises DataError: if a setting is not known or is not a number over 0
    """
    word, *settings = option.split(",")
    numbers: dict[str, float] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            numbers[key.strip()] = float(value)
        except ValueError:
            numbers[key.strip()] = 0
        if key.strip() not in known or not numbers[key.strip()] > 0:
            raise DataError(
                f"{option!r}: {setting!r} is not {' or '.join(f'{k}=NUMBER' for k in known)}, with a number over 0"
            )
    return word, numbers


def read_corpora(file: CorpusFile, *, source: str = "en", languages: Sequence[str] = ()) -> list[Corpus]:
    """The pairs of one path by language, cleaned.

    Surrounding blanks go; empty ones, those over MAX_CHARACTERS and repeated pairs are left out; then the cap is
    applied in file order, so that a list that begins with what matters most keeps it.

    :param file: the path and its cap
    :param source: the language of the teacher
    :param languages: only these; all where empty
    :return: a corpus a language, in order of the codes
    :raises DataError: if nothing is there, or a file has another form
    """
    pairs: dict[str, dict[tuple[str, str], None]] = {}
    for language, left, right in _read(file.path, source):
        if languages and language not in languages:
            continue
        pair = left.strip(), right.strip()
        if 0 < len(pair[0]) <= MAX_CHARACTERS and 0 < len(pair[1]) <= MAX_CHARACTERS:
            found = pairs.setdefault(language, {})
            if file.cap is None or len(found) < file.cap:
                found[pair] = None
    return [
        Corpus(file.path, language, tuple(left for left, _ in found), tuple(right for _, right in found))
        for language, found in sorted(pairs.items())
        if found
    ]


@dataclass(slots=True)
class Split:
    """Pairs for training, and by language pairs that training never sees."""

    train: list[Corpus] = field(default_factory=list)
    held_out: list[Corpus] = field(default_factory=list)


def hold_out(corpora: Sequence[Corpus], count: int) -> Split:
    """Part pairs for evaluation by their sources, so that no language trains on what another is tested on.

    :param corpora: the pairs
    :param count: how many a language is tested on, if it has ten times as many; else a tenth of them
    :return: both parts; every held-out source is in no training pair of any language
    """
    wanted: dict[str, int] = {}
    for corpus in corpora:
        wanted[corpus.language] = wanted.get(corpus.language, 0) + len(corpus)
    places = {source: place(source) for corpus in corpora for source in corpus.sources}
    # A source is held out for all languages or for none, and the languages share most sources: the lowest places are
    # taken until the language with the fewest pairs below them has enough.
    held: set[str] = set()
    for language in wanted:
        own = sorted({s for c in corpora if c.language == language for s in c.sources}, key=places.__getitem__)
        held.update(own[: min(count, wanted[language] // 10)])
    split = Split()
    for corpus in corpora:
        for chosen, into in ((False, split.train), (True, split.held_out)):
            rows = [i for i, source in enumerate(corpus.sources) if (source in held) is chosen]
            if rows:
                picked = tuple(corpus.sources[i] for i in rows), tuple(corpus.texts[i] for i in rows)
                into.append(Corpus(corpus.name, corpus.language, *picked))
    return split


def place(text: str) -> float:
    """A number in 0..1 that a text always has: those with low ones are held out.

    :param text: any text
    :return: the number
    """
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()[:8], "big") / 2**64


def _read(path: str, source: str) -> Iterator[tuple[str, str, str]]:
    """Every (language, source, translation) of a path."""
    if path.startswith("hf:"):
        yield from _read_hub(path.removeprefix("hf:"), source)
        return
    place = Path(path).expanduser()
    if (place / "dataset_info.json").is_file() or (place / "dataset_dict.json").is_file():
        yield from _read_saved(place, source)
        return
    files = sorted(f for f in place.iterdir() if f.name.endswith(SUFFIXES)) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise DataError(f"{path}: there is no such file, or no {', '.join(SUFFIXES)} file in the folder")
    for file in files:
        yield from _read_file(file, source)


def _read_file(file: Path, source: str) -> Iterator[tuple[str, str, str]]:
    """Every (language, source, translation) of one file."""
    language = file.name.split(".")[0]
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.json
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingDependencyError("pyarrow", extra="train") from None
    try:
        if file.suffix == ".parquet":
            table = pa.parquet.read_table(file)
        elif ".jsonl" in file.name:
            with pa.input_stream(str(file)) as stream:
                table = pa.json.read_json(stream)
        elif ".tsv" in file.name:
            with pa.input_stream(str(file)) as stream:
                table = pa.csv.read_csv(
                    stream,
                    read_options=pa.csv.ReadOptions(autogenerate_column_names=True, block_size=1 << 24),
                    parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
                    convert_options=pa.csv.ConvertOptions(
                        column_types={f"f{i}": pa.string() for i in range(1000)}, strings_can_be_null=False
                    ),
                )
            table = _with_header(table)
        else:
            raise DataError(f"{file}: its name must end in one of {', '.join(SUFFIXES)}")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    yield from _rows(table.column_names, table.to_batches(), language, source, str(file))


def _with_header(table: Any) -> Any:
    """A table whose first row, where it is language codes alone, became the names of its columns."""
    first = [str(value) for value in table.slice(0, 1).to_pylist()[0].values()] if table.num_rows else []
    if first and all(_CODE.fullmatch(cell) for cell in first) and len(set(first)) == len(first):
        return table.slice(1).rename_columns(first)
    return table.rename_columns(["source", "target"]) if table.num_columns == 2 else table


def _read_saved(folder: Path, source: str) -> Iterator[tuple[str, str, str]]:
    """A folder that Hugging Face datasets wrote."""
    loaded = _datasets().load_from_disk(str(folder))
    yield from _read_dataset(loaded, folder.name, source, str(folder))


def _read_hub(name: str, source: str) -> Iterator[tuple[str, str, str]]:
    """A data set by its name: OWNER/NAME, or OWNER/NAME/CONFIG."""
    owner, _, rest = name.partition("/")
    dataset, _, config = rest.partition("/")
    try:
        loaded = _datasets().load_dataset(f"{owner}/{dataset}" if dataset else owner, config or None)
    except (OSError, ValueError) as error:
        raise DataError(f"hf:{name} cannot be loaded: {error}") from None
    yield from _read_dataset(loaded, config or dataset or owner, source, f"hf:{name}")


def _read_dataset(loaded: Any, language: str, source: str, origin: str) -> Iterator[tuple[str, str, str]]:
    """The rows of a data set, or of its split ``train`` where it has splits."""
    if isinstance(loaded, Mapping):
        loaded = loaded["train"] if "train" in loaded else next(iter(loaded.values()))
    table = loaded.with_format("arrow")
    yield from _rows(loaded.column_names, table.iter(batch_size=10_000), language, source, origin)


def _datasets() -> Any:
    """Hugging Face's library of data sets."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise MissingDependencyError("datasets", extra="train") from None
    return datasets


def _rows(
    columns: Sequence[str], batches: Any, language: str, source: str, origin: str
) -> Iterator[tuple[str, str, str]]:
    """Every (language, source, translation) of batches of Arrow rows."""
    names = set(columns)
    left = next((name for name in (source, *_SOURCE_COLUMNS) if name in names), None)
    struct = "translation" in names and left is None
    if left is None and not struct:
        raise DataError(
            f"{origin}: its columns are {', '.join(columns)}; none is {source!r} or another name of a source"
        )
    for batch in batches:
        for row in batch.to_pylist():
            values = row["translation"] if struct else row
            text = values.get(source if struct else left)
            if not isinstance(text, str):
                continue
            for column, translation in values.items():
                if column in (left, source) or not isinstance(translation, str):
                    continue
                if column in _TARGET_COLUMNS:
                    yield language, text, translation
                elif _CODE.fullmatch(column):
                    yield column, text, translation
