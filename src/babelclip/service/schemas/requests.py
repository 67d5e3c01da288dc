"""Schemas of request bodies and parameters, and their parsing; an error names the first invalid field."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictStr, ValidationError, WithJsonSchema

from babelclip.service.errors import ApiError
from babelclip.stores import DEEPEST
from babelclip.text.normalize import is_blank

MAX_ITEMS = 2048
"""Inputs per request, as OpenAI has it."""
MAX_TOKENS_SENT = 8192
"""Tokens of one text that is sent as tokens."""
MAX_MODEL_NAME = 200
MAX_LABELS = 1000
MAX_IMAGES = 64
MAX_TEMPLATES = 100
MAX_HITS = 200
MAX_TERMS = 16
"""Terms of a query expression."""
MAX_WEIGHT = 100
MAX_QUERIES_LIKE = 1000
MAX_POSITION_MS = 10**9

SchemaT = TypeVar("SchemaT", bound=BaseModel)

Text = Annotated[StrictStr, Field(min_length=1)]


class RequestSchema(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ImageItem(RequestSchema):
    """An image: base64, a data URI, or, if the operator enables it, an http(s) URL."""

    image: StrictStr = Field(min_length=1)


class TextItem(RequestSchema):
    """A text."""

    text: StrictStr = Field(min_length=1)


def check_input(value: Any) -> Any:
    """Validate ``input``.

    :param value: the parsed JSON
    :return: the same value
    :raises ValueError: naming the invalid item
    """
    if isinstance(value, str | dict):
        _check_item(value, "it")
        return value
    if not isinstance(value, list):
        raise ValueError("must be a text, a list of texts, tokens, a list of tokens, or images")
    if not value:
        raise ValueError("is an empty list")
    if _is_tokens(value):
        return value
    if len(value) > MAX_ITEMS:
        raise ValueError(f"has {len(value)} items, over the limit of {MAX_ITEMS}; split the request")
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
    """Validate a text, {"text": ...} or {"image": ...} that is not empty."""
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
    "description": "A text, a list of texts, tokens, a list of tokens, or images and texts mixed.",
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


def check_query(value: Any) -> Any:
    """Validate ``query``: a text, an image or a list of terms.

    :param value: the parsed JSON
    :return: the same value
    :raises ValueError: naming the invalid term
    """
    if isinstance(value, list):
        if not 0 < len(value) <= MAX_TERMS:
            raise ValueError(f"has {len(value)} parts; 1 to {MAX_TERMS} are allowed")
        for place, term in enumerate(value):
            _check_term(term, f"part {place}")
        return value
    if not isinstance(value, str | dict):
        raise ValueError('must be a text, {"image": ...}, or a list of them')
    _check_item(value, "it")
    if isinstance(value, str) and is_blank(value):
        raise ValueError("is blank")
    return value


def _check_term(term: Any, name: str) -> None:
    """Validate a text or an image with an optional weight."""
    if isinstance(term, dict):
        weight = term.get("weight", 1)
        if type(weight) not in (int, float) or not 0 < abs(weight) <= MAX_WEIGHT:
            raise ValueError(
                f"{name} has an invalid weight; it must be a number from -{MAX_WEIGHT} to {MAX_WEIGHT}, and not 0"
            )
        term = {key: value for key, value in term.items() if key != "weight"}
    _check_item(term, name)
    text = term.get("text") if isinstance(term, dict) else term
    if isinstance(text, str) and is_blank(text):
        raise ValueError(f"{name} is blank")


def _term_schema(name: str) -> dict[str, Any]:
    properties = {name: {"type": "string", "minLength": 1}, "weight": {"type": "number"}}
    return {"type": "object", "properties": properties, "required": [name], "additionalProperties": False}


_QUERY_SCHEMA = {
    "description": "A text, an image, or a list of both, which are added by their weights (default 1).",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"$ref": "#/components/schemas/TextItem"},
        {"$ref": "#/components/schemas/ImageItem"},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_TERMS,
            "items": {"anyOf": [{"type": "string", "minLength": 1}, _term_schema("text"), _term_schema("image")]},
        },
    ],
}


class EmbeddingsRequest(RequestSchema):
    """OpenAI's form. ``input`` is a text, a list of texts, tokens, a list of tokens, or, beyond OpenAI, images."""

    model: StrictStr = Field(max_length=MAX_MODEL_NAME)
    input: Annotated[Any, PlainValidator(check_input), WithJsonSchema(_INPUT_SCHEMA)]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Keep the first components and normalize again. The model was not trained for it."
    )
    user: StrictStr | None = Field(None, max_length=1000)
    truncate: bool = Field(False, description="Truncate a text of over 512 tokens instead of refusing it.")
    service_tier: StrictStr | None = None


class InferenceRequest(RequestSchema):
    """DeepInfra's form: ``inputs`` and ``image`` are embedded; with ``candidate_labels`` the image is classified."""

    inputs: list[Text] | None = Field(None, max_length=MAX_ITEMS)
    image: Text | None = Field(None, description="A data URI, base64, or a URL if the operator enables them.")
    candidate_labels: list[Text] | None = Field(None, max_length=MAX_LABELS)
    normalize: bool = Field(False, description="Normalize the vectors; otherwise they are as the towers compute them.")
    truncate: bool = Field(False, description="Truncate a text of over 512 tokens instead of refusing it.")


class ClassifyRequest(RequestSchema):
    """Images and labels."""

    model: StrictStr = Field(max_length=MAX_MODEL_NAME)
    images: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_IMAGES)]
    labels: list[Text] | dict[str, Any] = Field(
        description="Labels; or label -> other texts for it; or label -> labels below it."
    )
    templates: list[Text] | None = Field(None, max_length=MAX_TEMPLATES, description="Texts with one {} for the label.")
    language: StrictStr | None = Field(None, max_length=20, description="Language of the labels. Default: identified.")
    top: int = Field(10, ge=1, le=MAX_LABELS)
    multi: bool = Field(False, description="Judge every label by itself: several may apply.")
    abstain: float | None = Field(None, gt=0, lt=1, description='Answer "none of these" above this probability of it.')
    temperature: float | None = Field(None, gt=0, le=1000)
    label_smoothing: float | None = Field(
        None, ge=0, le=0.5, description="Share of probability that is spread evenly over all labels."
    )


class SearchRequest(RequestSchema):
    """A text, an image, or a weighted sum of both."""

    query: Annotated[Any, PlainValidator(check_query), WithJsonSchema(_QUERY_SCHEMA)]
    index: StrictStr | None = Field(None, max_length=200, description="Required if several indexes are mounted.")
    k: int = Field(10, ge=1, le=MAX_HITS)
    page: int = Field(1, ge=1, le=DEEPEST, description="2 gives the k after the first k; no photo is repeated.")
    where: StrictStr | None = Field(None, max_length=4000, description="A filter: folder:holiday AND date>=2024.")
    grouped: bool = Field(False, description="Show near-duplicates as one hit.")
    diversity: float = Field(0.0, ge=0, le=1, description="Weight of dissimilarity between hits.")
    language: StrictStr | None = Field(None, max_length=20, description="Language of the query. Default: identified.")
    queries_like: list[Text] | None = Field(
        None, max_length=MAX_QUERIES_LIKE, description="Query bank: photos near to many of its queries count less."
    )
    thumbnails: bool = Field(False, description="Small JPEGs of the photos, as data URIs.")


Day = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="YYYY-MM-DD, UTC")]


class UsageParameters(BaseModel):
    """Parameters of GET /v1/usage. Unknown parameters are ignored."""

    by: str = Field("day,model", max_length=20, description="Any of key, day and model, separated by commas.")
    since: Day = ""
    until: Day = ""
    key: str = Field("", pattern=r"^[0-9a-f]{0,8}$", description="Only this key; admins may select any key.")
    format: Literal["json", "csv"] = "json"


class PhotoParameters(BaseModel):
    """Parameters of GET /v1/indexes/{index}/photos/{photo}."""

    index: str
    photo: str = Field(pattern="^[0-9a-f]{64}$", description="sha256 of the content, as returned by a search.")
    size: Literal["small", "large"] = Field("small", description="At most 320 or 1280 pixels.")
    at_ms: int = Field(0, ge=0, le=MAX_POSITION_MS, description="Time of the frame in a video.")


def parse_json(body: bytes, schema: type[SchemaT]) -> SchemaT:
    """Parse a JSON body.

    :param body: the JSON text
    :param schema: its schema
    :return: the parsed body
    :raises ApiError: 400, if it does not match the schema
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None


def parse_parameters(parameters: Mapping[str, Any], schema: type[SchemaT]) -> SchemaT:
    """Parse the parameters of a path and query.

    :param parameters: name -> text
    :param schema: their schema
    :return: the parsed parameters
    :raises ApiError: 400, if they do not match the schema
    """
    try:
        return schema.model_validate(parameters)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> ApiError:
    """The error of the first invalid field."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    code = "invalid_json" if first["type"] == "json_invalid" else "invalid_value"
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{field}: {message}" if field else message, code=code, param=field)
