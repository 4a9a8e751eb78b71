"""A yardstick: the shortest correct code on obstore, with one store for the whole app."""

import os
from datetime import timedelta
from uuid import uuid4

import obstore
from fastapi import FastAPI, Request, Response, UploadFile
from form_file import read_form_file
from obstore.store import S3Store
from probe import Probe
from side_by_side import run_side_by_side
from starlette.responses import RedirectResponse, StreamingResponse

PART_SIZE = 8 * 1024 * 1024
IN_FLIGHT = 4

store = S3Store(
    os.environ["BENCH_BUCKET"],
    endpoint=os.environ["BENCH_ENDPOINT"],
    access_key_id=os.environ["BENCH_ACCESS_KEY"],
    secret_access_key=os.environ["BENCH_SECRET_KEY"],
    region="us-east-1",
    virtual_hosted_style_request=False,
    client_options={"allow_http": True},
)
service = FastAPI()


@service.post("/upload")
async def upload(file: UploadFile) -> dict[str, str]:
    name = f"{uuid4()}.bin"
    await obstore.put_async(store, name, await file.read(), use_multipart=False)
    return {"name": name}


@service.post("/stream")
async def stream(request: Request) -> dict[str, str]:
    name = f"{uuid4()}.bin"
    await obstore.put_async(
        store,
        name,
        read_form_file(request),
        chunk_size=PART_SIZE,
        max_concurrency=IN_FLIGHT,
    )
    return {"name": name}


@service.get("/sign/{name:path}")
async def sign(name: str) -> Response:
    return RedirectResponse(await obstore.sign_async(store, "GET", name, timedelta(hours=1)))


@service.get("/files/{name:path}")
async def read(name: str, request: Request) -> Response:
    if "range" in request.headers:
        first, last = request.headers["range"].removeprefix("bytes=").split("-")
        found = await obstore.get_async(store, name, options={"range": (int(first), int(last) + 1)})
    else:
        found = await obstore.get_async(store, name)
    start, end = found.range
    headers = {"content-length": str(end - start)}
    if "range" in request.headers:
        headers["content-range"] = f"bytes {start}-{end - 1}/{found.meta['size']}"
    chunks = (bytes(chunk) async for chunk in found.stream(256 * 1024))
    return StreamingResponse(chunks, 206 if "range" in request.headers else 200, headers)


@service.post("/rows")
async def add_rows(count: int, size: int) -> dict[str, float]:
    # No rows: only the files, 16 at a time.
    content = os.urandom(size)

    async def upload_one(number: int) -> None:
        await obstore.put_async(store, f"rows/{uuid4()}", content, use_multipart=False)

    return {"seconds": await run_side_by_side(upload_one, count, 16)}


@service.post("/operations/{verb}")
async def operate(verb: str, count: int, size: int, in_flight: int) -> dict[str, float]:
    content = os.urandom(size)

    async def upload_one(number: int) -> None:
        await obstore.put_async(store, f"objects/{number}", content, use_multipart=False)

    async def read_one(number: int) -> None:
        await (await obstore.get_async(store, f"objects/{number}")).bytes_async()

    async def head(number: int) -> None:
        await obstore.head_async(store, f"objects/{number}")

    verbs = {"upload": upload_one, "read": read_one, "get_info": head}
    return {"seconds": await run_side_by_side(verbs[verb], count, in_flight)}


app = Probe(service)
