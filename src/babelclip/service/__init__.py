"""The service: embeddings, classification and search over HTTP, with keys, limits and a ledger (extra ``serve``)."""

from babelclip.extras import require

NEEDED = (
    *("starlette", "pydantic", "uvicorn", "httptools", "orjson", "sqlalchemy", "limits"),
    *("prometheus_client", "python_multipart", "httpx2"),
)
"""Modules of the extra that this package imports."""

require("serve", *NEEDED)
