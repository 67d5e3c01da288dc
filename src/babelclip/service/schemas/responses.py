"""The forms of replies. Routes send plain dictionaries; these say what is in them."""

from typing import Any, Literal

from pydantic import BaseModel

Reply = dict[str, Any]


class EmbeddingRow(BaseModel):
    """A vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class TokenUsage(BaseModel):
    """Tokens that the model read, special tokens included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    """Vectors of unit length, in the order of ``input``."""

    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: TokenUsage


class InferenceStatus(BaseModel):
    """What a request took; cost is in dollars."""

    status: Literal["succeeded"]
    runtime_ms: int
    cost: float
    tokens_generated: int
    tokens_input: int


class LabelScore(BaseModel):
    """A label and its probability; its path where labels are a tree."""

    label: str
    score: float
    path: list[str] | None = None


class InferenceReply(BaseModel):
    """DeepInfra's answer: ``embeddings`` with ``input_tokens``, or ``results`` where labels were given."""

    embeddings: list[list[float]] | None = None
    input_tokens: int | None = None
    results: list[LabelScore] | None = None
    request_id: str
    inference_status: InferenceStatus


class ImageUsage(TokenUsage):
    """Tokens that the model read, and images that it saw."""

    images: int


class ClassifiedRow(BaseModel):
    """What a picture shows: ``label`` is null for none of these, whose probability is ``none``."""

    index: int
    label: str | None
    holding: list[LabelScore]
    ranked: list[LabelScore]
    none: float | None = None


class ClassifyReply(BaseModel):
    """What pictures show, in their order, and the language that the labels were taken for."""

    object: Literal["list"]
    data: list[ClassifiedRow]
    model: str
    language: str | None
    usage: ImageUsage


class AlikeRow(BaseModel):
    """A photo that is nearly the same as a hit."""

    path: str
    photo: str | None = None


class HitRow(BaseModel):
    """A photo: ``score`` is its cosine with the query; ``photo`` names its content, for /v1/indexes/.../photos/...."""

    rank: int
    path: str
    photo: str | None = None
    score: float
    confidence: float | None = None
    match: Literal["strong", "likely", "weak", "none"] | None = None
    at_ms: int | None = None
    alike: list[AlikeRow] | None = None
    thumbnail: str | None = None


class SearchReply(BaseModel):
    """Photos, the best first."""

    object: Literal["list"]
    data: list[HitRow]
    index: str
    model: str
    usage: ImageUsage


class IndexCard(BaseModel):
    """An index that can be searched."""

    id: str
    object: Literal["index"]
    model: str
    photos: int


class IndexesReply(BaseModel):
    """The indexes that can be searched."""

    object: Literal["list"]
    data: list[IndexCard]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """OpenAI's form of an error."""

    error: ErrorBody


class ModelCard(BaseModel):
    """A model that this service has; prices are dollars a million."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dimensions: int
    max_tokens: int | None
    modalities: list[str]
    languages: list[str]
    price_per_million_tokens: float
    price_per_million_images: float


class ModelsReply(BaseModel):
    """The models that this service has."""

    object: Literal["list"]
    data: list[ModelCard]


class UsageRow(BaseModel):
    """Sums of the ledger; what they are not parted by is missing. Dollars are exact, in decimals."""

    key: str | None = None
    day: str | None = None
    model: str | None = None
    requests: int
    tokens: int
    images: int
    bytes: int
    milliseconds: int
    cost_microdollars: int
    cost_dollars: str


class UsageReply(BaseModel):
    """What was used."""

    object: Literal["list"]
    data: list[UsageRow]
