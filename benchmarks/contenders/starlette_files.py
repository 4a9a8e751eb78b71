"""Yardsticks without a storage: Starlette's FileResponse, and a redirect that never changes.

``BENCH_CHUNK_SIZE`` is how many bytes it reads at a time, if not its own 64 KiB.
"""

import os
from pathlib import Path

from fastapi import FastAPI, Response
from probe import Probe
from starlette.responses import FileResponse, RedirectResponse

directory = Path(os.environ["BENCH_DIRECTORY"])
service = FastAPI()


class SizedFileResponse(FileResponse):
    chunk_size = int(os.environ.get("BENCH_CHUNK_SIZE", FileResponse.chunk_size))


@service.get("/files/{name:path}")
async def read(name: str) -> Response:
    return SizedFileResponse(directory / name)


@service.get("/redirect/{name:path}")
async def redirect(name: str) -> Response:
    # As long as a presigned URL.
    return RedirectResponse(f"http://127.0.0.1/bucket/{name}?{'x' * 300}")


app = Probe(service)
