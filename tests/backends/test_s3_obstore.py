"""What S3Storage does with engine="obstore": what goes through it, and what it must not do."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore import exceptions as obstore_errors

from fastapi_async_storages import ByteRange, Preconditions, S3Storage
from fastapi_async_storages.backends._s3_obstore import MAX_BODY_SIZE
from fastapi_async_storages.backends._s3_obstore_errors import translate_obstore_errors
from fastapi_async_storages.exceptions import (
    BackendError,
    BackendTimeoutError,
    ConfigurationError,
    IncompleteReadError,
    NotModifiedError,
    PermissionDeniedError,
    StorageError,
)
from fastapi_async_storages.testing.contract._cancellation import cancel_at
from tests.backends.conftest import MakeS3Storage
from tests.servers.s3_proxy import Fault, S3Proxy, S3Request

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio

MIB = 1024**2


@pytest.fixture
def engine() -> str:
    return "obstore"


@pytest.fixture
def make_proxied(make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy) -> Callable[..., S3Storage]:
    return lambda **options: make_s3_storage(endpoint_url=s3_proxy.endpoint_url, **options)


def list_requests(proxy: S3Proxy) -> list[tuple[str, bool]]:
    """Return the methods of the requests, each with whether it came from obstore."""
    return [(r.method, "amz-sdk-request" not in r.headers) for r in proxy.requests]


class TestShares:
    """What is served by which engine."""

    async def test_small_calls_go_through_obstore(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        async with make_proxied() as storage:
            await storage.upload(bytes(MAX_BODY_SIZE), "a.bin")
            await storage.get_info("a.bin")
            async with storage.open("a.bin") as reader:
                assert len(await reader.read()) == MAX_BODY_SIZE
            await storage.delete("a.bin")
        assert list_requests(s3_proxy) == [
            ("PUT", True),
            ("HEAD", True),
            ("GET", True),
            ("DELETE", True),
        ]

    async def test_what_obstore_does_less_well_goes_through_the_sdk(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        async with make_proxied(part_size=5 * MIB) as storage:
            await storage.upload(bytes(MAX_BODY_SIZE + 1), "a.bin")
            await storage.upload(bytes(6 * MIB), "b.bin")
            await storage.copy("a.bin", "c.bin")
            assert [info.name async for info in storage.list()] == ["a.bin", "b.bin", "c.bin"]
            assert await storage.delete_many(["a.bin", "b.bin"]) == {}
            await storage.check()
        assert not any(is_from_obstore for _, is_from_obstore in list_requests(s3_proxy))

    async def test_metadata_that_obstore_would_take_for_headers(
        self, make_s3_storage: MakeS3Storage, s3_client: "S3Client", s3_bucket: str, prefix: str
    ) -> None:
        metadata = {"content-type": "own", "cache-control": "x", "storage-class": "y", "k": "v"}
        async with make_s3_storage() as storage:
            await storage.upload(b"1", "a.txt", content_type="text/plain", metadata=metadata)
            info = await storage.get_info("a.txt")
        assert (info.content_type, info.cache_control) == ("text/plain", None)
        assert info.metadata == metadata
        stored = await s3_client.head_object(Bucket=s3_bucket, Key=f"{prefix}/a.txt")
        assert stored["ContentType"] == "text/plain"

    async def test_an_answer_that_obstore_cannot_read_is_asked_for_by_the_sdk(
        self, make_s3_storage: MakeS3Storage, s3_client: "S3Client", s3_bucket: str, prefix: str
    ) -> None:
        await s3_client.put_object(
            Bucket=s3_bucket,
            Key=f"{prefix}/a.txt",
            Body=b"content",
            ContentType="text/plain",
            ContentDisposition='attachment; filename="\u00dcbersicht.pdf"',
        )
        async with make_s3_storage() as storage:
            info = await storage.get_info("a.txt")
            assert (info.size, info.content_type) == (7, "text/plain")
            async with storage.open("a.txt", byte_range=ByteRange(1, 3)) as reader:
                assert await reader.read() == b"ont"
                assert reader.info.etag == info.etag
            with pytest.raises(NotModifiedError):
                async with storage.open(
                    "a.txt", preconditions=Preconditions(if_none_match=(info.etag or "",))
                ):
                    pass

    async def test_a_checksum_is_sent_where_the_sdk_would_send_one(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        for mode in ("when_supported", "when_required"):
            async with make_proxied(checksum_mode=mode) as storage:
                await storage.upload(b"1", "a.txt")
        assert ["x-amz-checksum-sha256" in r.headers for r in s3_proxy.requests] == [True, False]

    async def test_connections_are_bounded(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        async with make_proxied(client_config={"max_pool_connections": 5}) as storage:
            await asyncio.gather(*(storage.upload(b"1", f"{number}") for number in range(40)))
        assert s3_proxy.peak <= 5


class TestConfiguration:
    @pytest.mark.parametrize(
        "options, match",
        [
            ({"default_acl": "public-read"}, "ACL"),
            ({"client_config": {"proxies_config": {"proxy_ca_bundle": "x"}}}, "proxies_config"),
            ({"client_config": {"client_cert": "x"}}, "client_cert"),
            ({"client_config": {"tcp_keepalive": True}}, "tcp_keepalive"),
            ({"client_config": {"retries": {"mode": "adaptive"}}}, "adaptive"),
            ({"engine": "boto3"}, "engine must be one of"),
        ],
    )
    def test_what_obstore_would_ignore_is_refused_at_once(
        self, options: dict[str, Any], match: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=match):
            S3Storage("files", **{"engine": "obstore", **options})

    @pytest.mark.parametrize("content", [None, b"no certificate"])
    async def test_a_wrong_ca_bundle_is_no_missing_file(
        self,
        make_s3_storage: MakeS3Storage,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        content: bytes | None,
    ) -> None:
        bundle = tmp_path / "ca.pem"
        if content is not None:
            bundle.write_bytes(content)
        # The SDK's own client is content with it: it looks at it at its first TLS connection.
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        storage = make_s3_storage()
        with pytest.raises(ConfigurationError, match="AWS_CA_BUNDLE"):
            await storage.exists("a.txt")

    async def test_a_directory_bucket_is_refused(self, make_s3_storage: MakeS3Storage) -> None:
        options = {"endpoint_url": None, "region_name": "us-east-1"}
        storage = make_s3_storage("files--use1-az4--x-s3", **options)
        with pytest.raises(StorageError):
            await asyncio.wait_for(storage.get_info("a"), 20)
        await storage.aclose()

    async def test_options_are_the_users(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        s3_proxy.plan = lambda _: (500, "InternalError")
        config = {"user_agent_extra": "own/1", "retries": {"total_max_attempts": 2}}
        async with make_proxied(client_config=config) as storage:
            with pytest.raises(BackendError):
                await storage.get_info("a")
        assert [r.headers["user-agent"].endswith(" own/1") for r in s3_proxy.requests] == [True] * 2

    async def test_the_environment_that_obstore_reads_changes_nothing(
        self,
        make_proxied: Callable[..., S3Storage],
        s3_proxy: S3Proxy,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1/elsewhere",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1/elsewhere",
            "AWS_REGION": "xx-other-1",
            "AWS_BUCKET": "other",
            "AWS_ACCESS_KEY_ID": "other",
            "AWS_SECRET_ACCESS_KEY": "other",
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
            "AWS_CONDITIONAL_PUT": "disabled",
            "AWS_S3_EXPRESS": "true",
            "AWS_REQUEST_PAYER": "true",
            "AWS_TIMEOUT": "1ms",
            "AWS_PROXY_URL": "http://127.0.0.1:1",
        }.items():
            monkeypatch.setenv(name, value)
        async with make_proxied(region_name="us-east-1") as storage:
            await storage.upload(b"1", "a.txt", overwrite=False)
            assert await storage.get_size("a.txt") == 1
        assert list_requests(s3_proxy) == [("PUT", True), ("HEAD", True)]
        assert "x-amz-request-payer" not in s3_proxy.requests[0].headers

    async def test_the_missing_extra_is_named(self) -> None:
        program = """
            import sys
            sys.modules["obstore"] = None
            from fastapi_async_storages import S3Storage
            S3Storage("files")
            try:
                S3Storage("files", engine="obstore")
            except ImportError as error:
                print(type(error).__name__, error)
        """
        done = await anyio.run_process([sys.executable, "-c", dedent(program)])
        output = done.stdout.decode()
        assert output.startswith("MissingDependencyError ")
        assert "pip install 'fastapi-async-storages[fast]'" in output


class TestReads:
    async def test_what_follows_a_lost_connection_is_of_the_same_version(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        async with make_proxied() as storage:
            await storage.upload(b"A" * MIB, "a.bin")
            cut: list[S3Request] = []

            def cut_first(request: S3Request) -> Fault | None:
                if request.method != "GET" or cut:
                    return None
                cut.append(request)
                return Fault.CUT_ANSWER

            s3_proxy.plan = cut_first
            async with storage.open("a.bin") as reader:
                assert await reader.read() == b"A" * MIB
            cut.clear()
            async with storage.open("a.bin") as reader:
                await storage.upload(b"B" * MIB, "a.bin")
                with pytest.raises(IncompleteReadError):
                    await reader.read()

    async def test_a_reader_that_has_the_file_is_told_its_version(
        self, make_proxied: Callable[..., S3Storage], s3_proxy: S3Proxy
    ) -> None:
        async with make_proxied() as storage:
            await storage.upload(b"1", "a.txt")
            etag = (await storage.get_info("a.txt")).etag
            assert etag is not None
            s3_proxy.requests.clear()
            now = datetime.now(UTC) + timedelta(minutes=1)
            for conditions, requests in (
                (Preconditions(if_none_match=(etag,)), ["GET"]),
                (Preconditions(if_modified_since=now), ["GET", "HEAD"]),
            ):
                with pytest.raises(NotModifiedError) as caught:
                    async with storage.open("a.txt", preconditions=conditions):
                        pass
                assert caught.value.etag == etag
                assert [request.method for request in s3_proxy.requests] == requests
                s3_proxy.requests.clear()

    async def test_readers_hold_connections(self, make_s3_storage: MakeS3Storage) -> None:
        config = {"max_pool_connections": 1, "connect_timeout": 0.2, "read_timeout": 0.2}
        async with make_s3_storage(client_config=config) as storage:
            await storage.upload(bytes(MIB), "a.bin")
            async with storage.open("a.bin"):
                with pytest.raises(BackendTimeoutError, match="max_pool_connections"):
                    await storage.get_info("a.bin")
            assert await storage.get_size("a.bin") == MIB


class TestCancellation:
    async def test_an_upload_is_there_whole_or_not_at_all(
        self, make_s3_storage: MakeS3Storage
    ) -> None:
        async with make_s3_storage(client_config={"max_pool_connections": 2}) as storage:
            for overwrite in (True, False):
                for step in range(100):
                    name = f"{overwrite}/{step}"
                    done = await cancel_at(
                        step, storage.upload(bytes(MAX_BODY_SIZE), name, overwrite=overwrite)
                    )
                    assert await storage.exists(name) in ((True,) if done else (True, False))
                    if await storage.exists(name):
                        assert await storage.get_size(name) == MAX_BODY_SIZE
                    if done:
                        break
                else:
                    pytest.fail("it never came to its end")
            # No connection got lost on the way.
            await asyncio.gather(*(storage.exists("a") for _ in range(4)))

    @pytest.mark.parametrize("size", [100, 3 * MIB])
    async def test_a_read_gives_its_connection_back(
        self, make_s3_storage: MakeS3Storage, size: int
    ) -> None:
        config = {"max_pool_connections": 1, "connect_timeout": 1, "read_timeout": 5}
        async with make_s3_storage(client_config=config) as storage:
            await storage.upload(bytes(size), "a.bin")

            async def read() -> None:
                async with storage.open("a.bin") as reader:
                    await reader.read()

            step = 0
            while not await cancel_at(step, read()):
                step += 1
            assert step > 1
            assert await storage.get_size("a.bin") == size


def to_text(path: str, status: int, body: str) -> str:
    """Return the text of an error of obstore about an answer of the server."""
    quoted = path.replace('"', '\\"')
    return (
        f"Object at location {path} not found: Error performing GET http://host/b/k in 1ms - Server"
        f" returned non-2xx status code: {status} : {body}\n\nDebug source:\nNotFound {{\n"
        f'    path: "{quoted}",\n    source: RetryError(\n        RetryErrorImpl {{\n'
        f"            inner: Status {{\n                status: {status},\n"
        f'                body: Some(\n                    "{body}",\n                ),\n'
        "            },\n        },\n    ),\n}"
    )


class TestErrors:
    @settings(max_examples=50)
    @given(
        name=st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(
            lambda text: text + "status: 404, <Code>NoSuchBucket</Code> kind: Timeout, BareRedirect"
        )
    )
    def test_a_name_cannot_imitate_an_answer(self, name: str) -> None:
        error = obstore_errors.PermissionDeniedError(
            to_text(name, 403, "<Code>AccessDenied</Code>")
        )
        with pytest.raises(PermissionDeniedError), translate_obstore_errors("S", name):
            raise error

    async def test_a_name_that_looks_like_an_answer(self, make_s3_storage: MakeS3Storage) -> None:
        name = "status: 403,<Code>NoSuchBucket<Code>kind: Timeout,"
        async with make_s3_storage(aws_secret_access_key="wrong") as storage:
            with pytest.raises(PermissionDeniedError):
                await storage.get_info(name)
        async with make_s3_storage() as storage:
            assert not await storage.exists(name)

    @pytest.mark.parametrize(
        "error, kind",
        [
            (FileNotFoundError("gone"), FileNotFoundError),
            (obstore_errors.PermissionDeniedError("no"), PermissionDeniedError),
            (obstore_errors.GenericError("what?"), BackendError),
        ],
    )
    def test_texts_of_another_form(self, error: Exception, kind: type[Exception]) -> None:
        with pytest.raises(StorageError) as caught, translate_obstore_errors("S", "a"):
            raise error
        assert isinstance(caught.value, kind)
