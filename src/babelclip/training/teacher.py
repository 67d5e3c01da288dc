"""What teaches: models, or vectors that were computed elsewhere; one, or several as one.

Their vectors are kept in stores, each in a folder named by the teacher's fingerprint and the precision it ran in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from babelclip.errors import DataError, InputError, MissingDependencyError
from babelclip.models.hub import sha256
from babelclip.models.model import Model
from babelclip.runtimes import Precision
from babelclip.settings import settings
from babelclip.training.vector_cache import VectorStore
from babelclip.vectors import FloatArray, unit_rows

DIMENSION = 512
"""Of several teachers together, where nothing else is asked for."""
FIT_TEXTS = 20_000
"""Texts that the directions of several teachers are found on: forty a dimension."""
Say = Callable[[str], None]
"""Is told what is under way."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model's name or folder, or a Parquet file of vectors, and its part in what several teach together."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several teachers as one: their unit rows, centred and of unit length again, side by side, each by its weight.

    The cosine of two such rows is the weighted mean of the teachers' cosines. They are then turned into fewer numbers,
    which keeps the directions in which they differ most.
    """

    weights: tuple[float, ...]
    means: tuple[FloatArray, ...]
    rotation: FloatArray

    @classmethod
    def fit(cls, parts: Sequence[FloatArray], weights: Sequence[float], dimension: int) -> "Ensemble":
        """Find the means and the directions (principal components).

        :param parts: a teacher each: float32 (n, d_i), vectors of the same n texts
        :param weights: of the teachers
        :param dimension: how many numbers are kept
        :return: the ensemble; its rotation is float32 (sum of d_i, dimension)
        :raises InputError: if the teachers have fewer numbers than that
        """
        width = sum(part.shape[1] for part in parts)
        if dimension > width:
            raise InputError(f"the teachers have {width} dimensions together; {dimension} cannot be made of them")
        own = tuple(weight / sum(weights) for weight in weights)
        means = tuple(unit_rows(part).mean(axis=0) for part in parts)
        joined = cls(own, means, np.eye(width, dtype=np.float32)).join(parts).astype(np.float64)
        _, directions = np.linalg.eigh(joined.T @ joined)
        return cls(own, means, np.ascontiguousarray(directions[:, : -dimension - 1 : -1], dtype=np.float32))

    def join(self, parts: Sequence[FloatArray]) -> FloatArray:
        """The ensemble's vectors.

        :param parts: a teacher each: float32 (n, d_i)
        :return: float32 (n, dimension), unit rows
        """
        rows = [
            math.sqrt(weight) * unit_rows(unit_rows(part) - mean)
            for weight, mean, part in zip(self.weights, self.means, parts, strict=True)
        ]
        return unit_rows(np.hstack(rows) @ self.rotation)

    @property
    def fingerprint(self) -> str:
        """What tells it from other ensembles: 32 hexadecimal digits."""
        content = b"".join(array.tobytes() for array in (*self.means, self.rotation))
        return blake2b(repr(self.weights).encode() + content, digest_size=16).hexdigest()


def read_vectors(path: Path) -> tuple[list[str], FloatArray]:
    """Vectors that were computed elsewhere: a Parquet file of ``text`` and ``vector``, as ``babelclip embed`` writes.

    :param path: the file
    :return: texts and float32 (n, d)
    :raises DataError: if it has another form
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingDependencyError("pyarrow", extra="train") from None
    try:
        table = pq.read_table(path, columns=["text", "vector"])
        vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file of text and vector: {error}") from None
    if vectors.ndim != 2 or not len(vectors):
        raise DataError(f"{path} holds no vectors of one length")
    return table["text"].to_pylist(), vectors


def teacher_vectors(
    teachers: Sequence[Teacher],
    texts: Sequence[str],
    dimension: int = 0,
    *,
    bf16: bool = False,
    say: Say | None = None,
) -> VectorStore:
    """The vectors that one or several teachers give some texts, from their stores; what is missing is computed.

    :param teachers: the teachers
    :param texts: the texts
    :param dimension: numbers a vector; 0 is the teacher's own, or 512 where there are several
    :param bf16: whether they calculate in bfloat16, where the runtime can
    :param say: is told what is under way
    :return: a store that has all of the texts
    """
    parts = [_own_vectors(teacher.name, texts, bf16, say or (lambda _: None)) for teacher in teachers]
    if len(parts) == 1 and not dimension:
        return parts[0]
    sample = texts[:FIT_TEXTS]
    weights = [teacher.weight for teacher in teachers]
    ensemble = Ensemble.fit([part.take(sample) for part in parts], weights, dimension or DIMENSION)
    store = VectorStore(settings().home / "teachers" / f"ensemble-{ensemble.fingerprint}", ensemble.rotation.shape[1])
    store.add(texts, lambda chunk: ensemble.join([part.take(chunk) for part in parts]))
    return store


def _own_vectors(teacher: str, texts: Sequence[str], bf16: bool, say: Say) -> VectorStore:
    """One teacher's vectors."""
    folder = settings().home / "teachers"
    if teacher.endswith(".parquet"):
        known, vectors = read_vectors(Path(teacher))
        rows = {text: i for i, text in enumerate(known)}
        store = VectorStore(folder / f"file-{sha256(Path(teacher))}", vectors.shape[1])
        store.add(known, lambda chunk: vectors[[rows[text] for text in chunk]])
        return store
    precision: Precision = "bfloat16" if bf16 and settings().runtime == "openvino" else "float32"
    model = Model.load(text=teacher, precision=precision)
    store = VectorStore(folder / f"{model.fingerprint}-{precision}", model.dimension)
    store.add(
        texts,
        lambda chunk: model.encode_text(chunk, unit=False),
        lambda done, total: say(f"teacher's vectors: {done} of {total}"),
    )
    return store
