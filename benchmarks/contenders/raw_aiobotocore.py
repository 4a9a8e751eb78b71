"""A yardstick: the shortest correct code on aiobotocore, with one client for the whole app."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from fastapi import FastAPI, Request, Response, UploadFile
from form_file import read_form_parts
from probe import Probe
from side_by_side import run_side_by_side
from starlette.responses import RedirectResponse, StreamingResponse

BUCKET = os.environ["BENCH_BUCKET"]
PART_SIZE = 8 * 1024 * 1024
IN_FLIGHT = 4


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with get_session().create_client(
        "s3",
        endpoint_url=os.environ["BENCH_ENDPOINT"],
        aws_access_key_id=os.environ["BENCH_ACCESS_KEY"],
        aws_secret_access_key=os.environ["BENCH_SECRET_KEY"],
        region_name="us-east-1",
        config=AioConfig(
            max_pool_connections=100,
            # A checksum of the SDK beside the signature's is work that no contender does.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    ) as client:
        app.state.client = client
        yield


service = FastAPI(lifespan=lifespan)


@service.post("/upload")
async def upload(file: UploadFile) -> dict[str, str]:
    name = f"{uuid4()}.bin"
    await service.state.client.put_object(Bucket=BUCKET, Key=name, Body=await file.read())
    return {"name": name}


@service.post("/stream")
async def stream(request: Request) -> dict[str, str]:
    client, name = service.state.client, f"{uuid4()}.bin"
    target = {"Bucket": BUCKET, "Key": name}
    target["UploadId"] = (await client.create_multipart_upload(**target))["UploadId"]
    etags: dict[int, str] = {}
    free = asyncio.Semaphore(IN_FLIGHT)

    async def send(number: int, part: bytes) -> None:
        answer = await client.upload_part(**target, PartNumber=number, Body=part)
        etags[number] = answer["ETag"]
        free.release()

    async with asyncio.TaskGroup() as tasks:
        number = 0
        async for part in read_form_parts(request, PART_SIZE):
            number += 1
            await free.acquire()
            tasks.create_task(send(number, part))
    parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
    await client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    return {"name": name}


@service.get("/sign/{name:path}")
async def sign(name: str) -> Response:
    request = {"Bucket": BUCKET, "Key": name}
    return RedirectResponse(
        await service.state.client.generate_presigned_url("get_object", Params=request)
    )


@service.get("/files/{name:path}")
async def read(name: str, request: Request) -> Response:
    target = {"Bucket": BUCKET, "Key": name}
    if "range" in request.headers:
        target["Range"] = request.headers["range"]
    answer = await service.state.client.get_object(**target)
    headers = {"content-length": str(answer["ContentLength"])}
    if "ContentRange" in answer:
        headers["content-range"] = answer["ContentRange"]
    chunks = answer["Body"].iter_chunks(256 * 1024)
    return StreamingResponse(chunks, 206 if "ContentRange" in answer else 200, headers)


@service.post("/rows")
async def add_rows(count: int, size: int) -> dict[str, float]:
    # No rows: only the files, 16 at a time.
    content = os.urandom(size)

    async def upload_one(number: int) -> None:
        await service.state.client.put_object(Bucket=BUCKET, Key=f"rows/{uuid4()}", Body=content)

    return {"seconds": await run_side_by_side(upload_one, count, 16)}


@service.post("/operations/{verb}")
async def operate(verb: str, count: int, size: int, in_flight: int) -> dict[str, float]:
    client, content = service.state.client, os.urandom(size)

    async def upload_one(number: int) -> None:
        await client.put_object(Bucket=BUCKET, Key=f"objects/{number}", Body=content)

    async def read_one(number: int) -> None:
        answer = await client.get_object(Bucket=BUCKET, Key=f"objects/{number}")
        async with answer["Body"] as body:
            await body.read()

    async def head(number: int) -> None:
        await client.head_object(Bucket=BUCKET, Key=f"objects/{number}")

    verbs = {"upload": upload_one, "read": read_one, "get_info": head}
    return {"seconds": await run_side_by_side(verbs[verb], count, in_flight)}


app = Probe(service)
