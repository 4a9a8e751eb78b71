"""One large upload through ``StreamedUpload``: how much memory and disk the server needs for it.

    python -m benchmarks.streamed_upload --size 1GiB

It starts SeaweedFS and uvicorn (one process), uploads a form with one file, and prints the server's
memory (``VmHWM``, the peak that the kernel counted) over its idle memory. The server may not write
to any file: ``RLIMIT_FSIZE`` is 0, so that a temporary one would end the upload.
"""

import argparse
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
from fastapi import FastAPI

from fastapi_async_storages import S3Storage, StorageFile
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.streamed_forms import StreamedUpload
from fastapi_async_storages.testing.seaweedfs import SeaweedFS
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.sizes import parse_size
from tests.servers.http_server import serve_in_process

MIB = 1024 * 1024


def make_app() -> FastAPI:
    """Make the app that uvicorn serves, with the bucket that the environment names."""
    storage = S3Storage(
        "bench",
        endpoint_url=os.environ["BENCH_ENDPOINT"],
        aws_access_key_id=os.environ["BENCH_ACCESS_KEY"],
        aws_secret_access_key=os.environ["BENCH_SECRET_KEY"],
    )
    app = FastAPI(lifespan=storage_lifespan(storage))
    rules = UploadRules(max_size="5GiB")

    @app.post("/videos")
    async def create(video: Annotated[StorageFile, StreamedUpload("video", rules=rules)]) -> int:
        return await video.get_size()

    return app


def read_memory(pid: int, what: str) -> int:
    """Return a number of bytes from ``/proc/PID/status``."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(what)


def read_cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_form(size: int) -> Iterator[bytes]:
    yield b'--fence\r\nContent-Disposition: form-data; name="video"; filename="a.bin"\r\n\r\n'
    block = os.urandom(MIB)
    for sent in range(0, size, MIB):
        yield block[: size - sent]
    yield b"\r\n--fence--\r\n"


@contextmanager
def serve(directory: str) -> Iterator[tuple[str, int]]:
    with SeaweedFS(directory, buckets=["bench"]) as server:
        environment = {
            "BENCH_ENDPOINT": server.endpoint_url,
            "BENCH_ACCESS_KEY": server.access_key,
            "BENCH_SECRET_KEY": server.secret_key,
        }
        arguments = ["--factory", "--log-level=critical"]
        with serve_in_process(
            "benchmarks.streamed_upload:make_app", environment=environment, arguments=arguments
        ) as (url, pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
            yield url, pid


def upload(url: str, pid: int, size: int) -> None:
    headers = {"content-type": "multipart/form-data; boundary=fence"}
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # Start the peak anew.
    idle, started, cpu = read_memory(pid, "VmRSS"), time.perf_counter(), read_cpu(pid)
    response = httpx.post(f"{url}/videos", content=make_form(size), headers=headers, timeout=600)
    seconds, cpu = time.perf_counter() - started, read_cpu(pid) - cpu
    peak, after = read_memory(pid, "VmHWM"), read_memory(pid, "VmRSS")
    if response.text != str(size):
        raise RuntimeError(response.text)
    print(
        f"{size / MIB:6.0f} MiB: {seconds:5.2f} s, {size / MIB / seconds:4.0f} MiB/s,"
        f" CPU {cpu:5.2f} s; idle {idle / MIB:3.0f} MiB, peak {peak / MIB:3.0f} MiB"
        f" (+{(peak - idle) / MIB:.0f}), after {after / MIB:3.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    size = parse_size(arguments.size)
    with (
        TemporaryDirectory(prefix="bench-", dir="/dev/shm") as directory,
        serve(directory) as (
            url,
            pid,
        ),
    ):
        httpx.post(f"{url}/videos", files={"video": b"warm up"}).raise_for_status()
        for _ in range(arguments.times):
            upload(url, pid, size)


if __name__ == "__main__":
    main()
