"""What a file that passes through the app costs: one request to the storage, whatever is asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from fastapi_async_storages import FileInfo, S3Storage, create_files_router, public
from fastapi_async_storages.http.conditional import format_http_date
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.s3 import S3Server
from tests.servers.s3_proxy import S3Proxy, run_s3_proxy

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 4096


@dataclass(frozen=True)
class Site:
    """An app whose S3 server is behind a proxy that keeps a record, and its one file."""

    client: AsyncClient
    proxy: S3Proxy
    info: FileInfo

    def validators(self) -> dict[str, str]:
        """Return what a request can say of the file's version, by name."""
        changed = self.info.last_modified
        assert self.info.etag
        assert changed
        return {
            "etag": self.info.etag,
            "changed": format_http_date(changed),
            "before": format_http_date(changed - timedelta(days=1)),
        }

    async def ask(self, method: str, headers: dict[str, str]) -> Response:
        """Send a request; the proxy's record then has what came of it, and nothing else."""
        self.proxy.requests.clear()
        self.proxy.statuses.clear()
        values = {name: value.format_map(self.validators()) for name, value in headers.items()}
        return await self.client.request(method, "/files/file.bin", headers=values)


@pytest.fixture
async def site(s3_server: S3Server) -> AsyncIterator[Site]:
    async with run_s3_proxy(s3_server.endpoint_url) as proxy:
        storage = S3Storage(
            s3_server.bucket,
            endpoint_url=proxy.endpoint_url,
            aws_access_key_id=s3_server.access_key,
            aws_secret_access_key=s3_server.secret_key,
            prefix=uuid4().hex,
        )
        app = FastAPI(lifespan=storage_lifespan(storage))
        app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
        async with open_client(app) as client:
            await storage.upload(CONTENT, "file.bin")
            yield Site(client, proxy, await storage.get_info("file.bin"))


@pytest.mark.parametrize(
    "headers,status",
    [
        ({}, 200),
        ({"Range": "bytes=5-9"}, 206),
        ({"Range": "bytes=500000-"}, 206),
        ({"Range": "bytes=-7"}, 206),
        ({"Range": "bytes=1048576-"}, 416),
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": "{changed}"}, 304),
        ({"If-Modified-Since": "{before}"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "{etag}"}, 200),
        ({"If-Unmodified-Since": "{before}"}, 412),
        ({"If-Match": "{etag}", "Range": "bytes=0-0"}, 206),
        ({"If-None-Match": "{etag}", "Range": "bytes=0-0"}, 304),
    ],
    ids=str,
)
async def test_a_read_is_one_request_whose_answer_is_the_storages(
    site: Site, headers: dict[str, str], status: int
) -> None:
    answer = await site.ask("GET", headers)

    assert answer.status_code == status
    (request,) = site.proxy.requests
    assert request.method == "GET"
    assert site.proxy.statuses == [status]
    for name, value in headers.items():
        assert request.headers[name.lower()] == value.format_map(site.validators())


async def test_a_range_of_this_version_is_one_request(site: Site) -> None:
    # S3 knows no If-Range: the record that comes with the bytes tells whether it holds.
    answer = await site.ask("GET", {"If-Range": "{etag}", "Range": "bytes=5-9"})

    assert (answer.status_code, answer.content) == (206, CONTENT[5:10])
    assert site.proxy.statuses == [206]


async def test_a_range_of_another_version_is_a_second_request(site: Site) -> None:
    answer = await site.ask("GET", {"If-Range": '"other"', "Range": "bytes=5-9"})

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert site.proxy.statuses == [206, 200]


@pytest.mark.parametrize(
    "headers,status",
    [({}, 200), ({"If-None-Match": "{etag}"}, 304), ({"If-Match": '"other"'}, 412)],
    ids=str,
)
async def test_a_head_is_one_request_for_no_bytes(
    site: Site, headers: dict[str, str], status: int
) -> None:
    answer = await site.ask("HEAD", headers)

    assert answer.status_code == status
    assert [request.method for request in site.proxy.requests] == ["HEAD"]


async def test_a_missing_file_is_one_request(site: Site) -> None:
    site.proxy.requests.clear()
    answer = await site.client.get("/files/nothing.bin")

    assert answer.status_code == 404
    assert [request.method for request in site.proxy.requests] == ["GET"]
