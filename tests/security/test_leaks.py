"""Every test of the suite fails when a secret is logged or raised in it; here is that it would."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from fastapi_async_storages import (
    MemoryStorage,
    S3Storage,
    UploadRules,
    create_files_router,
    public,
    signed_urls,
)
from fastapi_async_storages.exceptions import (
    PermissionDeniedError,
    StorageError,
    UploadRefusedError,
)
from tests.leaks import LeakWatch
from tests.servers.s3 import S3Server
from tests.uploads.front_end import make_uploads_app, open_front_end, run_uploads
from tests.uploads.samples import PNG

pytestmark = pytest.mark.anyio

LOGGER = logging.getLogger("fastapi_async_storages")
SECRET_KEY = "the key that signs links"


@pytest.fixture
async def s3(s3_server: S3Server) -> AsyncIterator[S3Storage]:
    async with make_s3(s3_server) as storage:
        yield storage


def make_s3(server: S3Server, secret_key: str | None = None) -> S3Storage:
    return S3Storage(
        server.bucket,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=secret_key or server.secret_key,
    )


class TestWhatWouldBeFound:
    """In the log, in the message of an error and in its values."""

    def check(self, watch: LeakWatch, secret: str) -> None:
        LOGGER.debug("It is at %s.", secret)
        assert len(watch.take()) == 1
        try:
            raise OSError(secret)
        except OSError:
            LOGGER.exception("It failed.")
        assert len(watch.take()) == 1
        StorageError(f"Cannot read {secret}.")
        assert len(watch.take()) == 1
        UploadRefusedError("It is refused.", limit=1, received=secret)
        assert len(watch.take()) == 1

    async def test_a_presigned_url(self, leak_watch: LeakWatch, s3: S3Storage) -> None:
        self.check(leak_watch, await s3.get_path("a.txt"))

    async def test_a_signed_link(self, leak_watch: LeakWatch) -> None:
        storage = MemoryStorage(base_url="/files", secret_key=SECRET_KEY)
        self.check(leak_watch, await storage.get_path("a.txt"))

    async def test_the_url_of_an_upload(self, leak_watch: LeakWatch) -> None:
        async with run_uploads(MemoryStorage()) as front_end:
            self.check(leak_watch, (await front_end.plan(PNG))["url"])

    async def test_a_secret_access_key(self, leak_watch: LeakWatch, s3_server: S3Server) -> None:
        self.check(leak_watch, s3_server.secret_key)


async def test_a_refused_signature_does_not_show_it(
    s3_server: S3Server, leak_watch: LeakWatch
) -> None:
    wrong = "a secret access key that is wrong"
    leak_watch.secrets.add(wrong)
    async with make_s3(s3_server, wrong) as storage:
        with pytest.raises(PermissionDeniedError):
            await storage.get_info("a.txt")
        app = make_uploads_app(storage, UploadRules())
        app.include_router(create_files_router(access=public), prefix="/files")
        async with open_front_end(app) as front_end:
            answer = await front_end.app.get("/files/a.txt")
    assert answer.status_code == 502
    for secret in (wrong, s3_server.access_key, s3_server.endpoint_url, "Signature"):
        assert secret not in answer.text


async def test_a_token_that_is_refused_is_not_repeated(leak_watch: LeakWatch) -> None:
    storage = MemoryStorage(base_url="/files", secret_key=SECRET_KEY)
    await storage.upload(b"1", "a.txt")
    token = httpx.URL(await storage.get_path("a.txt")).params["token"]
    leak_watch.secrets.add(token)
    app = make_uploads_app(storage)
    app.include_router(create_files_router(access=signed_urls), prefix="/files")
    async with open_front_end(app) as front_end:
        assert (await front_end.app.get("/files/a.txt", params={"token": token})).is_success
        answers = [
            await front_end.app.get("/files/b.txt", params={"token": token}),
            await front_end.app.put("/uploads/direct", params={"token": token}, content=b""),
            await front_end.post("/direct/complete", {"ticket": token}),
        ]
    for answer in answers:
        assert answer.status_code == 403
        assert token not in answer.text
