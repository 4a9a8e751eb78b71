"""The example app in a process of its own, on each backend."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from tests.servers.http_server import serve_in_process
from tests.servers.s3 import S3Server

__all__ = ["serve_watched_app"]

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def serve_watched_app(
    backend: str, directory: Path, get_s3_server: Callable[[], S3Server]
) -> Iterator[str]:
    """Serve the example app with a window into its process.

    Args:
        backend: ``"memory"``, ``"local"`` or ``"s3"``.
        directory: Where the app keeps its files and its database.
        get_s3_server: Returns the S3 server; called only when it is needed.

    Yields:
        The base URL.
    """
    environment = {
        "PYTHONPATH": str(PROJECT),
        "SECRET_KEY": "a key that only the soak knows of",
        # SQLite lets one write at a time; on a busy machine 5 seconds are too few for the others.
        "DATABASE_URL": "sqlite+aiosqlite:///var/soak.db?timeout=60",
    }
    if backend == "memory":
        environment["STORAGE_URL"] = "memory://?base_url=/files"
    elif backend == "s3":
        server = get_s3_server()
        options = urlencode({"endpoint_url": server.endpoint_url})
        environment |= {
            "STORAGE_URL": f"s3://{server.bucket}/{uuid4().hex}?{options}",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
    with serve_in_process(
        "tests.soak.watched_app:app",
        environment=environment,
        arguments=["--log-level=error"],
        cwd=directory,
    ) as (url, _):
        yield url
