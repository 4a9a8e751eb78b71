"""Requests to an app in this process, with its lifespan run as a server runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.types import Receive, Scope, Send

__all__ = ["open_client"]


@asynccontextmanager
async def open_client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """Start an app and yield a client for it. httpx itself never runs a lifespan."""
    async with app.router.lifespan_context(app) as state:

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            # Servers hand a copy of the lifespan state to each request.
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with AsyncClient(transport=ASGITransport(serve), base_url="http://test") as client:
            yield client
