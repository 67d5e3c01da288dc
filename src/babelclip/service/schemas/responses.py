"""Response schemas. Routes send plain dictionaries; the schemas document them."""

from typing import Any, Literal

from pydantic import BaseModel

JsonObject = dict[str, Any]


class EmbeddingRow(BaseModel):
    """A vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class TokenUsage(BaseModel):
    """Tokens that the model read, including special tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """Vectors of unit length, in the order of ``input``."""

    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: TokenUsage


class InferenceStatus(BaseModel):
    """Time, tokens and cost of a request; cost is in dollars."""

    status: Literal["succeeded"]
    runtime_ms: int
    cost: float
    tokens_generated: int
    tokens_input: int


class LabelScore(BaseModel):
    """A label and its probability, and its path in a tree of labels."""

    label: str
    score: float
    path: list[str] | None = None


class InferenceResponse(BaseModel):
    """DeepInfra's form of a response: ``embeddings`` with ``input_tokens``, or ``results`` if labels were given."""

    embeddings: list[list[float]] | None = None
    input_tokens: int | None = None
    results: list[LabelScore] | None = None
    request_id: str
    inference_status: InferenceStatus


class ImageUsage(TokenUsage):
    """Tokens and images that the model read."""

    images: int


class ClassifiedRow(BaseModel):
    """Classification of an image: ``label`` is null for none of these, whose probability is ``none``."""

    index: int
    label: str | None
    holding: list[LabelScore]
    ranked: list[LabelScore]
    none: float | None = None


class ClassifyResponse(BaseModel):
    """Classifications of the images in their order, and the language of the labels."""

    object: Literal["list"]
    data: list[ClassifiedRow]
    model: str
    language: str | None
    usage: ImageUsage


class AlikeRow(BaseModel):
    """A near-duplicate of a hit."""

    path: str
    photo: str | None = None


class HitRow(BaseModel):
    """A hit: ``score`` is its cosine with the query; ``photo`` is its content, for /v1/indexes/.../photos/...."""

    rank: int
    path: str
    photo: str | None = None
    score: float
    confidence: float | None = None
    match: Literal["strong", "likely", "weak", "none"] | None = None
    at_ms: int | None = None
    alike: list[AlikeRow] | None = None
    thumbnail: str | None = None


class SearchResponse(BaseModel):
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


class IndexesResponse(BaseModel):
    """The mounted indexes."""

    object: Literal["list"]
    data: list[IndexCard]


class ErrorBody(BaseModel):
    """An error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """OpenAI's form of an error."""

    error: ErrorBody


class ModelCard(BaseModel):
    """A model of this service; prices are dollars per million."""

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


class ModelsResponse(BaseModel):
    """The models of this service."""

    object: Literal["list"]
    data: list[ModelCard]


class UsageRow(BaseModel):
    """Sums of the ledger; fields that are not grouped by are absent. Dollars are exact decimals."""

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


class UsageResponse(BaseModel):
    """Usage."""

    object: Literal["list"]
    data: list[UsageRow]
