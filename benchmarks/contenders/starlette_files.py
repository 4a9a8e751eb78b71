"""Yardsticks without a storage: Starlette's FileResponse, and a redirect that never changes."""

import os
from pathlib import Path

from fastapi import FastAPI, Response
from probe import Probe
from starlette.responses import FileResponse, RedirectResponse

directory = Path(os.environ["BENCH_DIRECTORY"])
service = FastAPI()


@service.get("/files/{name:path}")
async def read(name: str) -> Response:
    return FileResponse(directory / name)


@service.get("/redirect/{name:path}")
async def redirect(name: str) -> Response:
    # As long as a presigned URL.
    return RedirectResponse(f"http://127.0.0.1/bucket/{name}?{'x' * 300}")


app = Probe(service)
