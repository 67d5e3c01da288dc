"""Schemas of path and query parameters. Parameters that a schema does not list are ignored."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

MAX_POSITION_MS = 10**9

Day = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="YYYY-MM-DD, UTC")]


class UsageParameters(BaseModel):
    """Parameters of GET /v1/usage."""

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
