"""Readers of parallel text: sources and their translations, by language.

A source is a sentence in the teacher's language. The formats are
  .tsv, .tsv.gz             two columns without a header: source, tab, translation; the file name is the language
                            (``de.tsv.gz``); or several columns under a header of language codes
  .jsonl, .jsonl.gz         one object per line, whose keys, at the top or in ``translation``, are language codes
  .parquet                  columns named by language codes, or a struct column ``translation`` with such fields
  folders of such files; folders that ``save_to_disk`` of Hugging Face datasets wrote; and ``hf:NAME`` or
  ``hf:NAME/CONFIG``, a data set by name.
Columns called english, source or anchor hold the source; non_english, target, translation or positive hold the
translation, whose language is then the file's name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from babelclip.errors import DataError
from babelclip.extras import importing

SUFFIXES = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
MAX_CHARACTERS = 250
"""Longer sentences are left out, as in the example of sentence-transformers (Reimers & Gurevych 2020)."""

_CODE = re.compile(r"[a-z]{2,3}(-[a-z]{2,4})?")
_SOURCE_COLUMNS = ("english", "source", "anchor")
_TARGET_COLUMNS = ("non_english", "target", "translation", "positive")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentence pairs of one path in one language: ``texts[i]`` translates ``sources[i]``; ``name`` is the path."""

    name: str
    language: str
    sources: tuple[str, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A path of parallel text, its weight relative to other paths, and the maximum number of pairs of a language.

    A path whose weight is None is weighted by its size.
    """

    path: str
    weight: float | None = None
    cap: int | None = None

    @property
    def name(self) -> str:
        """Name of the corpus in tables: the last part of its path, without suffixes."""
        return self.path.rstrip("/").rsplit("/", 1)[-1].split(".")[0]


def parse_corpus(option: str) -> CorpusFile:
    """Parse a corpus option: ``PATH``, or ``PATH,weight=2,cap=50000``.

    :param option: the option
    :return: path, weight and cap
    :raises DataError: if a setting is unknown or not a positive number
    """
    path, numbers = parse_numbers(option, "weight", "cap")
    return CorpusFile(path, numbers.get("weight"), int(numbers["cap"]) if "cap" in numbers else None)


def parse_numbers(option: str, *known: str) -> tuple[str, dict[str, float]]:
    """Parse an option with numeric settings: ``VALUE``, or ``VALUE,setting=2``.

    :param option: the option
    :param *known: names of the settings
    :return: the value, and its settings
    :raises DataError: if a setting is unknown or not a positive number
    """
    value, *settings = option.split(",")
    numbers: dict[str, float] = {}
    for setting in settings:
        key, _, number = setting.partition("=")
        try:
            numbers[key.strip()] = float(number)
        except ValueError:
            numbers[key.strip()] = 0
        if key.strip() not in known or not numbers[key.strip()] > 0:
            raise DataError(
                f"{option!r}: {setting!r} is not {' or '.join(f'{k}=NUMBER' for k in known)}, with a positive number"
            )
    return value, numbers


def read_corpora(file: CorpusFile, *, source: str = "en", languages: Sequence[str] = ()) -> list[Corpus]:
    """Read and clean the pairs of one path by language.

    Surrounding white space is removed; empty sentences, those over MAX_CHARACTERS and repeated pairs are left out; then
    the cap keeps the first pairs in file order.

    :param file: the path and its cap
    :param source: the language of the teacher
    :param languages: the languages to read; all if empty
    :return: one corpus for each language, ordered by language code
    :raises DataError: if the path does not exist, or a file has another form
    """
    pairs: dict[str, dict[tuple[str, str], None]] = {}
    for language, left, right in _read(file.path, source):
        if languages and language not in languages:
            continue
        pair = left.strip(), right.strip()
        if 0 < len(pair[0]) <= MAX_CHARACTERS and 0 < len(pair[1]) <= MAX_CHARACTERS:
            kept = pairs.setdefault(language, {})
            if file.cap is None or len(kept) < file.cap:
                kept[pair] = None
    return [
        Corpus(file.path, language, tuple(left for left, _ in kept), tuple(right for _, right in kept))
        for language, kept in sorted(pairs.items())
        if kept
    ]


@dataclass(slots=True)
class Split:
    """Pairs for training, and held-out pairs."""

    train: list[Corpus] = field(default_factory=list)
    held_out: list[Corpus] = field(default_factory=list)


def hold_out(corpora: Sequence[Corpus], count: int) -> Split:
    """Hold out pairs by their sources, so that no language trains on the sources that evaluate another.

    :param corpora: the pairs
    :param count: number of held-out pairs of a language, at most a tenth of its pairs
    :return: both parts; a held-out source occurs in no training pair of any language
    """
    totals: dict[str, int] = {}
    for corpus in corpora:
        totals[corpus.language] = totals.get(corpus.language, 0) + len(corpus)
    positions = {source: hash_position(source) for corpus in corpora for source in corpus.sources}
    # A source is held out for all languages or for none, and languages share most sources: each language holds out its
    # lowest hash positions, so that languages hold out mostly the same sources.
    held: set[str] = set()
    for language in totals:
        sources = sorted({s for c in corpora if c.language == language for s in c.sources}, key=positions.__getitem__)
        held.update(sources[: min(count, totals[language] // 10)])
    split = Split()
    for corpus in corpora:
        for is_held, part in ((False, split.train), (True, split.held_out)):
            rows = [i for i, source in enumerate(corpus.sources) if (source in held) is is_held]
            if rows:
                picked = tuple(corpus.sources[i] for i in rows), tuple(corpus.texts[i] for i in rows)
                part.append(Corpus(corpus.name, corpus.language, *picked))
    return split


def hash_position(text: str) -> float:
    """Hash a text to a position in 0..1; texts with low positions are held out.

    :param text: any text
    :return: the position
    """
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()[:8], "big") / 2**64


def _read(path: str, source: str) -> Iterator[tuple[str, str, str]]:
    """Read every (language, source, translation) of a path."""
    if path.startswith("hf:"):
        yield from _read_hub(path.removeprefix("hf:"), source)
        return
    root = Path(path).expanduser()
    if (root / "dataset_info.json").is_file() or (root / "dataset_dict.json").is_file():
        yield from _read_saved(root, source)
        return
    files = sorted(f for f in root.iterdir() if f.name.endswith(SUFFIXES)) if root.is_dir() else [root]
    if not files or not files[0].is_file():
        raise DataError(
            f"{path}: no such file, or a folder without a file whose name ends in one of {', '.join(SUFFIXES)}"
        )
    for file in files:
        yield from _read_file(file, source)


def _read_file(file: Path, source: str) -> Iterator[tuple[str, str, str]]:
    """Read every (language, source, translation) of one file."""
    language = file.name.split(".")[0]
    with importing("train"):
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.json
        import pyarrow.parquet
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
            raise DataError(f"{file}: the format is unknown; the name must end in one of {', '.join(SUFFIXES)}")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    yield from _rows(table.column_names, table.to_batches(), language, source, str(file))


def _with_header(table: Any) -> Any:
    """Name the columns of a table by its first row, if that holds only language codes."""
    first = [str(value) for value in table.slice(0, 1).to_pylist()[0].values()] if table.num_rows else []
    if first and all(_CODE.fullmatch(cell) for cell in first) and len(set(first)) == len(first):
        return table.slice(1).rename_columns(first)
    return table.rename_columns(["source", "target"]) if table.num_columns == 2 else table


def _read_saved(folder: Path, source: str) -> Iterator[tuple[str, str, str]]:
    """Read a folder that Hugging Face datasets wrote."""
    loaded = _datasets().load_from_disk(str(folder))
    yield from _read_dataset(loaded, folder.name, source, str(folder))


def _read_hub(name: str, source: str) -> Iterator[tuple[str, str, str]]:
    """Read a data set by its name: OWNER/NAME, or OWNER/NAME/CONFIG."""
    owner, _, rest = name.partition("/")
    dataset, _, config = rest.partition("/")
    try:
        loaded = _datasets().load_dataset(f"{owner}/{dataset}" if dataset else owner, config or None)
    except (OSError, ValueError) as error:
        raise DataError(f"hf:{name} cannot be loaded: {error}") from None
    yield from _read_dataset(loaded, config or dataset or owner, source, f"hf:{name}")


def _read_dataset(loaded: Any, language: str, source: str, origin: str) -> Iterator[tuple[str, str, str]]:
    """Read the rows of a data set, or of its split ``train`` if it has splits."""
    if isinstance(loaded, Mapping):
        loaded = loaded["train"] if "train" in loaded else next(iter(loaded.values()))
    table = loaded.with_format("arrow")
    yield from _rows(loaded.column_names, table.iter(batch_size=10_000), language, source, origin)


def _datasets() -> Any:
    """Import Hugging Face datasets."""
    with importing("train"):
        import datasets
    return datasets


def _rows(
    columns: Sequence[str], batches: Any, language: str, source: str, origin: str
) -> Iterator[tuple[str, str, str]]:
    """Read every (language, source, translation) of batches of Arrow rows."""
    names = set(columns)
    left = next((name for name in (source, *_SOURCE_COLUMNS) if name in names), None)
    struct = "translation" in names and left is None
    if left is None and not struct:
        raise DataError(
            f"{origin}: the columns are {', '.join(columns)}; one must be {source!r}, english, source or anchor"
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
