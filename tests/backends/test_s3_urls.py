"""URLs of S3: what a browser gets from them."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from fastapi_async_storages import S3Storage
from fastapi_async_storages.exceptions import ConfigurationError
from tests.backends.conftest import MakeS3Storage
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio

AWKWARD_NAMES = [
    "a b.txt",
    "ü/日本 😀.txt",
    "50%.txt",
    "a%2Fb.txt",
    "a+b&c=d;e?f#g.txt",
    "~(x)'*.txt",
]


async def fetch(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url, headers=headers)


@pytest.mark.parametrize("name", AWKWARD_NAMES)
async def test_a_presigned_url_brings_the_file(s3_storage: S3Storage, name: str) -> None:
    await s3_storage.upload(name.encode(), name)
    response = await fetch(await s3_storage.get_path(name))
    assert response.status_code == 200
    assert response.content == name.encode()
    assert "content-disposition" not in response.headers


async def test_a_range_of_a_presigned_url(s3_storage: S3Storage) -> None:
    await s3_storage.upload(b"0123456789", "a.txt")
    response = await fetch(await s3_storage.get_path("a.txt"), Range="bytes=2-4")
    assert (response.status_code, response.content) == (206, b"234")


@pytest.mark.parametrize(
    "options, header",
    [
        ({"disposition": "inline"}, "inline"),
        ({"disposition": "attachment"}, "attachment"),
        ({"filename": "b.txt"}, 'attachment; filename="b.txt"'),
        (
            {"disposition": "inline", "filename": 'ü "1" 50%;a=b.txt'},
            "inline; filename=\"_ _1_ 50_;a=b.txt\"; filename*=UTF-8''"
            "%C3%BC%20%221%22%2050%25%3Ba%3Db.txt",
        ),
        ({"filename": "a\r\nX-Injected: 1.txt"}, 'attachment; filename="aX-Injected: 1.txt"'),
    ],
    ids=lambda value: None if isinstance(value, dict) else ascii(value),
)
async def test_the_disposition_of_an_answer(
    s3_storage: S3Storage, options: dict[str, str], header: str
) -> None:
    await s3_storage.upload(b"1", "a.txt", content_type="text/x-own")
    response = await fetch(await s3_storage.get_path("a.txt", **options))  # type: ignore[arg-type]
    assert response.status_code == 200
    assert response.headers["content-disposition"] == header
    assert response.headers["content-type"] == "text/x-own"
    assert "x-injected" not in response.headers


async def test_a_url_that_was_changed_is_refused(s3_storage: S3Storage) -> None:
    await s3_storage.upload(b"1", "a.txt")
    await s3_storage.upload(b"2", "b.txt")
    url = await s3_storage.get_path("a.txt", disposition="attachment")
    for changed in (
        url.replace("a.txt", "b.txt"),
        url.replace("attachment", "inline"),
        url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
    ):
        assert changed != url
        assert (await fetch(changed)).status_code == 403


class TestExpiry:
    @pytest.mark.parametrize(
        "expires_in, seconds",
        [(None, "3600"), (60, "60"), (timedelta(days=7), "604800")],
        ids=str,
    )
    async def test_is_signed(
        self, s3_storage: S3Storage, expires_in: int | timedelta | None, seconds: str
    ) -> None:
        url = await s3_storage.get_path("a.txt", expires_in=expires_in)
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [seconds]

    @pytest.mark.parametrize("expires_in", [0, timedelta(days=7, seconds=1)], ids=str)
    async def test_that_s3_does_not_allow(
        self, s3_storage: S3Storage, expires_in: int | timedelta
    ) -> None:
        with pytest.raises(ValueError, match="expires_in"):
            await s3_storage.get_path("a.txt", expires_in=expires_in)


async def test_a_public_endpoint_is_what_is_signed_for(
    make_s3_storage: MakeS3Storage, s3_server: S3Server
) -> None:
    public = s3_server.endpoint_url.replace("127.0.0.1", "localhost")
    async with make_s3_storage(public_endpoint_url=public) as storage:
        await storage.upload(b"1", "a.txt")
        url = await storage.get_path("a.txt")
    assert url.startswith(f"{public}/")
    assert (await fetch(url)).status_code == 200
    assert (await fetch(url.replace("localhost", "127.0.0.1"))).status_code == 403


async def test_signing_sends_nothing(make_s3_storage: MakeS3Storage) -> None:
    options = {"endpoint_url": "http://files.invalid", "public_endpoint_url": "cdn.invalid"}
    async with make_s3_storage(**options) as storage:
        assert (await storage.get_path("a.txt")).startswith("https://cdn.invalid/")


class TestWithoutSignature:
    async def test_a_public_bucket(
        self,
        make_s3_storage: MakeS3Storage,
        s3_client: "S3Client",
        s3_bucket: str,
        prefix: str,
    ) -> None:
        rule = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{s3_bucket}/{prefix}/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        await s3_client.put_bucket_policy(Bucket=s3_bucket, Policy=policy)
        try:
            async with make_s3_storage(querystring_auth=False) as storage:
                for name in AWKWARD_NAMES:
                    await storage.upload(name.encode(), name)
                    url = await storage.get_path(name)
                    assert not urlsplit(url).query
                    response = await fetch(url)
                    assert (response.status_code, response.content) == (200, name.encode())
        finally:
            await s3_client.delete_bucket_policy(Bucket=s3_bucket)

    async def test_a_public_endpoint(self, make_s3_storage: MakeS3Storage) -> None:
        options = {
            "querystring_auth": False,
            "public_endpoint_url": "https://files.example.com",
            "prefix": "p",
        }
        async with make_s3_storage("files", **options) as storage:
            assert await storage.get_path("ü.txt") == "https://files.example.com/files/p/%C3%BC.txt"

    @pytest.mark.parametrize(
        "domain, url",
        [
            ("cdn.example.com", "https://cdn.example.com/p/a%20%C3%BC%2B%3F.txt"),
            (
                "https://cdn.example.com/base/",
                "https://cdn.example.com/base/p/a%20%C3%BC%2B%3F.txt",
            ),
            ("http://cdn.example.com:81", "http://cdn.example.com:81/p/a%20%C3%BC%2B%3F.txt"),
        ],
    )
    async def test_a_cdn(self, make_s3_storage: MakeS3Storage, domain: str, url: str) -> None:
        storage = make_s3_storage(custom_domain=domain, prefix="p")
        assert await storage.get_path("a ü+?.txt") == url
        assert not storage.presigns

    @pytest.mark.parametrize(
        "options", [{"custom_domain": "cdn.example.com"}, {"querystring_auth": False}], ids=str
    )
    async def test_cannot_ask_for_headers(
        self, make_s3_storage: MakeS3Storage, options: dict[str, object]
    ) -> None:
        async with make_s3_storage(**options) as storage:
            with pytest.raises(ConfigurationError, match="not signed"):
                await storage.get_path("a.txt", disposition="attachment")
            with pytest.raises(ConfigurationError, match="not signed"):
                await storage.get_path("a.txt", filename="b.txt")


def test_presigns_says_whether_urls_are_signed(make_s3_storage: MakeS3Storage) -> None:
    assert make_s3_storage().presigns
    assert not make_s3_storage(querystring_auth=False).presigns
