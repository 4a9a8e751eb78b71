"""Run the app on a real S3 server that is started for it: ``make run-s3``."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from fastapi_async_storages import S3Storage
from fastapi_async_storages.testing.seaweedfs import SeaweedFS

BUCKET = "gallery"
HOST, PORT = "127.0.0.1", 8000


def main() -> None:
    """Serve on http://127.0.0.1:8000 until Ctrl-C. Files and rows stay in ``var``."""
    with SeaweedFS(Path("var/seaweedfs"), buckets=[BUCKET]) as server:
        options = urlencode({"endpoint_url": server.endpoint_url})
        os.environ.update(
            STORAGE_URL=f"s3://{BUCKET}?{options}",
            DATABASE_URL=os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///var/example-s3.db"),
            AWS_ACCESS_KEY_ID=server.access_key,
            AWS_SECRET_ACCESS_KEY=server.secret_key,
        )
        asyncio.run(allow_uploads_of_our_pages())
        print(f"S3 server: {server.endpoint_url}, bucket {BUCKET!r}")
        uvicorn.run("example_app.main:app", host=HOST, port=PORT)


async def allow_uploads_of_our_pages() -> None:
    """Let the browser send files to the bucket, as who sets up a bucket does once."""
    # It needs the environment that is set above.
    from example_app.storages import storage  # noqa: PLC0415

    if isinstance(storage, S3Storage):
        async with storage:
            await storage.allow_browser_uploads(
                [f"http://{host}:{PORT}" for host in (HOST, "localhost")]
            )


if __name__ == "__main__":
    main()
