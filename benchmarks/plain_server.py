"""Baseline of the service: FastAPI and sentence-transformers, combined in the plainest way.

Run as ``python -m benchmarks.plain_server FOLDER``; it prints its address on stderr.
"""

import sys
from socket import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Body(BaseModel):
    """OpenAI's form, as far as the measurement uses it."""

    model: str
    input: str | list[str]


def plain_app(folder: str) -> FastAPI:
    """The application.

    :param folder: a text model that sentence-transformers opens
    :return: an application with one route
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(body: Body) -> dict[str, Any]:
        texts = [body.input] if isinstance(body.input, str) else body.input
        vectors = model.encode(texts, normalize_embeddings=True)
        data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
        return {"object": "list", "data": data, "model": body.model}

    return app


class _Server(uvicorn.Server):
    """A server that says its address once it listens there."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stderr.write(f"at http://127.0.0.1:{port}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    app = plain_app(sys.argv[1])
    _Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)).run()
