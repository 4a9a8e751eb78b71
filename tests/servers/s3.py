"""The S3 server of the suite: SeaweedFS, or the one that the environment names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

from fastapi_async_storages.testing.seaweedfs import SeaweedFS


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str


@contextmanager
def run_s3_server() -> Iterator[S3Server]:
    """Start SeaweedFS with one bucket, or use the server at TEST_S3_ENDPOINT.

    That server's keys and an existing bucket come from TEST_S3_ACCESS_KEY, TEST_S3_SECRET_KEY and
    TEST_S3_BUCKET.
    """
    if "TEST_S3_ENDPOINT" in os.environ:
        yield S3Server(
            os.environ["TEST_S3_ENDPOINT"],
            os.environ["TEST_S3_ACCESS_KEY"],
            os.environ["TEST_S3_SECRET_KEY"],
            os.environ["TEST_S3_BUCKET"],
        )
        return
    with (
        TemporaryDirectory(prefix="seaweedfs-") as directory,
        SeaweedFS(directory, buckets=["tests"]) as server,
    ):
        yield S3Server(server.endpoint_url, server.access_key, server.secret_key, "tests")
