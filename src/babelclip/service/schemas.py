"""The forms of requests and replies. A field that is not in a form is refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictStr, WithJsonSchema

MAX_ITEMS = 2048
"""Of a request, as OpenAI has it."""
MAX_TOKENS_SENT = 8192
"""Of one text that is sent as tokens."""
MAX_MODEL_NAME = 200


class Form(BaseModel):
    """A request: names that are not known are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ImageItem(Form):
    """A picture: base64, a data URI, or, where the operator lets the service fetch, an http(s) URL."""

    image: StrictStr = Field(min_length=1)


class TextItem(Form):
    """A text."""

    text: StrictStr = Field(min_length=1)


def check_input(value: Any) -> Any:
    """Refuse what is none of the forms of ``input``.

    :param value: what JSON held
    :return: the same
    :raises ValueError: naming the item that is wrong
    """
    if isinstance(value, str | dict):
        _check_item(value, "it")
        return value
    if not isinstance(value, list):
        raise ValueError("must be a text, a list of texts, tokens, a list of tokens, or pictures")
    if not value:
        raise ValueError("is an empty list")
    if _is_tokens(value):
        return value
    if len(value) > MAX_ITEMS:
        raise ValueError(f"has {len(value)} items, over the limit of {MAX_ITEMS}; send them in parts")
    if all(isinstance(item, list) for item in value):
        for place, item in enumerate(value):
            if not item or not _is_tokens(item):
                raise ValueError(f"item {place} is not a list of tokens")
        return value
    for place, item in enumerate(value):
        _check_item(item, f"item {place}")
    return value


def _is_tokens(value: list[Any]) -> bool:
    if not isinstance(value[0], int):
        return False
    if len(value) > MAX_TOKENS_SENT:
        raise ValueError(f"has {len(value)} tokens, over the limit of {MAX_TOKENS_SENT}")
    return all(type(token) is int for token in value)


def _check_item(item: Any, name: str) -> None:
    """A text, {"text": ...} or {"image": ...}, and not empty."""
    content = item
    if isinstance(item, dict):
        if set(item) not in ({"text"}, {"image"}):
            raise ValueError(f'{name} must be a text, {{"text": ...}} or {{"image": ...}}')
        (content,) = item.values()
    if not isinstance(content, str):
        raise ValueError(f"{name} is not a text")
    if not content:
        raise ValueError(f"{name} is empty")


_INPUT_SCHEMA = {
    "description": "A text, a list of texts, tokens, a list of tokens, or pictures and texts mixed.",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": MAX_TOKENS_SENT},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ITEMS,
            "items": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        },
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ITEMS,
            "items": {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"$ref": "#/components/schemas/TextItem"},
                    {"$ref": "#/components/schemas/ImageItem"},
                ]
            },
        },
        {"$ref": "#/components/schemas/TextItem"},
        {"$ref": "#/components/schemas/ImageItem"},
    ],
}


class EmbeddingsRequest(Form):
    """OpenAI's form. ``input`` is a text, a list of texts, tokens, a list of tokens, or, beyond OpenAI, pictures."""

    model: StrictStr = Field(max_length=MAX_MODEL_NAME)
    input: Annotated[Any, PlainValidator(check_input), WithJsonSchema(_INPUT_SCHEMA)]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Keep so many of the numbers and scale to unit length. The model was not trained for it."
    )
    user: StrictStr | None = Field(None, max_length=1000)
    truncate: bool = Field(False, description="Cut a text of over 512 tokens instead of refusing it.")
    service_tier: StrictStr | None = None


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


Reply = dict[str, Any]
