"""A front end in Python: it announces a file, sends it as it was told, and completes it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from fastapi_async_storages import S3Storage, Storage, Storages, UploadRules, public
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.routers.uploads import create_uploads_router
from tests.asgi import open_client

__all__ = [
    "SECRET_KEY",
    "FrontEnd",
    "assert_nothing_is_left",
    "list_names",
    "list_open_parts",
    "make_uploads_app",
    "open_front_end",
    "run_uploads",
]

SECRET_KEY = "a key that only these tests know"


class FrontEnd:
    """Uploads to one router.

    Args:
        app: A client of the app.
        network: A client of everything else: the S3 server.
        path: Where the router is.
    """

    def __init__(
        self, app: httpx.AsyncClient, network: httpx.AsyncClient, path: str = "/uploads"
    ) -> None:
        self.app = app
        self._network = network
        self._path = path

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Post JSON to the router; also what httpx cannot write, half a surrogate pair."""
        headers = {"content-type": "application/json"}
        url = f"{self._path}{path}"
        return await self.app.post(url, content=json.dumps(body), headers=headers)

    async def announce(
        self, content: bytes, filename: str = "a.bin", **claims: Any
    ) -> httpx.Response:
        """Announce a file, and return the answer."""
        file = {"filename": filename, "size": len(content), **claims}
        return await self.post("/direct", file)

    async def plan(self, content: bytes, filename: str = "a.bin", **claims: Any) -> dict[str, Any]:
        """Announce a file that is not refused, and return the plan."""
        answer = await self.announce(content, filename, **claims)
        assert answer.status_code == 200, answer.text
        plan: dict[str, Any] = answer.json()
        return plan

    async def send(self, plan: dict[str, Any], content: bytes) -> httpx.Response:
        """Send the bytes as the plan says, and return the last answer."""
        if "parts" in plan:
            answers = []
            start = 0
            for part in plan["parts"]:
                chunk = content[start : start + part["size"]]
                answers.append(await self._network.put(part["url"], content=chunk))
                start += part["size"]
            return next((one for one in answers if one.is_error), answers[-1])
        if "fields" in plan:
            files = {"file": ("file", content, "application/octet-stream")}
            return await self._network.post(plan["url"], data=plan["fields"], files=files)
        return await self.app.put(plan["url"], content=content, headers=plan["headers"])

    async def complete(self, plan: dict[str, Any]) -> httpx.Response:
        return await self.app.post(plan["complete_url"], json={"ticket": plan["ticket"]})

    async def abort(self, plan: dict[str, Any]) -> httpx.Response:
        return await self.app.post(plan["abort_url"], json={"ticket": plan["ticket"]})

    async def upload(
        self, content: bytes, filename: str = "a.bin", **claims: Any
    ) -> httpx.Response:
        """Do all of it, and return the answer to the completion."""
        plan = await self.plan(content, filename, **claims)
        sent = await self.send(plan, content)
        assert sent.is_success, sent.text
        return await self.complete(plan)


@asynccontextmanager
async def open_front_end(app: FastAPI, path: str = "/uploads") -> AsyncIterator[FrontEnd]:
    """Start an app, and yield a front end for it."""
    async with open_client(app) as client, httpx.AsyncClient() as network:
        yield FrontEnd(client, network, path)


def make_uploads_app(
    storages: Storage | Storages, rules: UploadRules | None = None, **options: Any
) -> FastAPI:
    """Make an app with a router at ``/uploads``."""
    app = FastAPI(lifespan=storage_lifespan(storages))
    options = {"access": public, "secret_key": SECRET_KEY, **options}
    router = create_uploads_router(rules=rules or UploadRules(), **options)
    app.include_router(router, prefix="/uploads")
    return app


@asynccontextmanager
async def run_uploads(
    storage: Storage, rules: UploadRules | None = None, **options: Any
) -> AsyncIterator[FrontEnd]:
    """Run such an app, and yield a front end for it."""
    async with open_front_end(make_uploads_app(storage, rules, **options)) as front_end:
        yield front_end


async def assert_nothing_is_left(storage: Storage) -> None:
    assert await list_names(storage) == []
    assert await list_open_parts(storage) == []


async def list_names(storage: Storage) -> list[str]:
    """List what is in a storage."""
    return [info.name async for info in storage.list()]


async def list_open_parts(storage: Storage) -> list[str]:
    """List the unfinished uploads in parts of a storage, by their keys."""
    if not isinstance(storage, S3Storage):
        return []
    bucket = (await storage._connect()).uploads._bucket
    answer = await bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=bucket.prefix)
    return [upload["Key"] for upload in answer.get("Uploads", ())]
