"""Teachers: models, or files of precomputed vectors, alone or combined to an ensemble.

Their vectors are kept in vector caches, each in a folder named by the teacher's fingerprint and precision.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from babelclip.errors import DataError, InputError
from babelclip.extras import importing
from babelclip.models.hub import sha256
from babelclip.models.model import Model
from babelclip.pipeline import LogCallback
from babelclip.runtimes import RuntimePrecision
from babelclip.settings import settings
from babelclip.training.vector_cache import VectorCache
from babelclip.vectors import FloatArray, unit_rows

DIMENSION = 512
"""Default dimension of an ensemble."""
FIT_TEXTS = 20_000
"""Texts on which the principal components of an ensemble are computed: forty for each dimension."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model's name or folder, or a Parquet file of vectors, and its weight in an ensemble."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Combines the vectors of several teachers: centred unit rows, concatenated with weights, reduced by PCA.

    The cosine of two concatenated rows is the weighted mean of the teachers' cosines. The reduction keeps the principal
    components of the largest variance.
    """

    weights: tuple[float, ...]
    means: tuple[FloatArray, ...]
    rotation: FloatArray

    @classmethod
    def fit(cls, parts: Sequence[FloatArray], weights: Sequence[float], dimension: int) -> "Ensemble":
        """Compute the means and the principal components.

        :param parts: for each teacher float32 (n, d_i), vectors of the same n texts
        :param weights: weights of the teachers
        :param dimension: the number of components
        :return: the ensemble; its rotation is float32 (sum of d_i, dimension)
        :raises InputError: if the teachers have fewer dimensions together
        """
        width = sum(part.shape[1] for part in parts)
        if dimension > width:
            raise InputError(
                f"--dimension {dimension} is over the {width} dimensions of the teachers together; give a lower one"
            )
        shares = tuple(weight / sum(weights) for weight in weights)
        means = tuple(unit_rows(part).mean(axis=0) for part in parts)
        joined = cls(shares, means, np.eye(width, dtype=np.float32)).join(parts).astype(np.float64)
        _, directions = np.linalg.eigh(joined.T @ joined)
        return cls(shares, means, np.ascontiguousarray(directions[:, : -dimension - 1 : -1], dtype=np.float32))

    def join(self, parts: Sequence[FloatArray]) -> FloatArray:
        """Combine the teachers' vectors.

        :param parts: for each teacher float32 (n, d_i)
        :return: float32 (n, dimension), unit rows
        """
        rows = [
            math.sqrt(weight) * unit_rows(unit_rows(part) - mean)
            for weight, mean, part in zip(self.weights, self.means, parts, strict=True)
        ]
        return unit_rows(np.hstack(rows) @ self.rotation)

    @property
    def fingerprint(self) -> str:
        """Digest of weights, means and rotation: 32 hexadecimal digits."""
        content = b"".join(array.tobytes() for array in (*self.means, self.rotation))
        return blake2b(repr(self.weights).encode() + content, digest_size=16).hexdigest()


def read_vectors(path: Path) -> tuple[list[str], FloatArray]:
    """Read precomputed vectors from a Parquet file of ``text`` and ``vector``, as ``babelclip embed`` writes it.

    :param path: the file
    :return: texts and float32 (n, d)
    :raises DataError: if it has another form
    """
    with importing("train"):
        import pyarrow as pa
        import pyarrow.parquet as pq
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
    log_line: LogCallback | None = None,
) -> VectorCache:
    """Read the teachers' vectors of texts from the vector caches; compute those that are missing.

    :param teachers: the teachers
    :param texts: the texts
    :param dimension: dimension of the vectors; 0 is the teacher's, or 512 for an ensemble
    :param bf16: whether the teachers run in bfloat16, if the runtime supports it
    :param log_line: receives a line about the progress
    :return: a vector cache that holds all of the texts
    """
    parts = [_cached_vectors(teacher.name, texts, bf16, log_line or (lambda _: None)) for teacher in teachers]
    if len(parts) == 1 and not dimension:
        return parts[0]
    sample = texts[:FIT_TEXTS]
    weights = [teacher.weight for teacher in teachers]
    ensemble = Ensemble.fit([part.take(sample) for part in parts], weights, dimension or DIMENSION)
    cache = VectorCache(settings().home / "teachers" / f"ensemble-{ensemble.fingerprint}", ensemble.rotation.shape[1])
    cache.add(texts, lambda chunk: ensemble.join([part.take(chunk) for part in parts]))
    return cache


def _cached_vectors(teacher: str, texts: Sequence[str], bf16: bool, log_line: LogCallback) -> VectorCache:
    """Read or compute the vectors of one teacher."""
    folder = settings().home / "teachers"
    if teacher.endswith(".parquet"):
        known, vectors = read_vectors(Path(teacher))
        rows = {text: i for i, text in enumerate(known)}
        cache = VectorCache(folder / f"file-{sha256(Path(teacher))}", vectors.shape[1])
        cache.add(known, lambda chunk: vectors[[rows[text] for text in chunk]])
        return cache
    precision: RuntimePrecision = "bfloat16" if bf16 and settings().runtime == "openvino" else "float32"
    model = Model.load(text=teacher, precision=precision)
    cache = VectorCache(folder / f"{model.fingerprint}-{precision}", model.dimension)
    cache.add(
        texts,
        lambda chunk: model.encode_text(chunk, unit=False),
        lambda done, total: log_line(f"computed {done} of {total} teacher vectors"),
    )
    return cache
