"""What only S3Storage does: keys, headers, conditions, batches, and what is on the wire."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from fastapi_async_storages import ByteRange, Preconditions, S3Storage
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    ConfigurationError,
    InvalidNameError,
    NotFoundError,
    NotModifiedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
)
from tests.backends.conftest import ENGINES, MakeS3Storage
from tests.servers.s3 import S3Server
from tests.servers.s3_proxy import Fault, S3Proxy, S3Request

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


AWKWARD_METADATA = {
    "filename": " räksmörgås 100 % 日本 😀.txt ",
    "note": "a+b=c;d&e%20f",
}


async def test_headers_and_metadata_are_stored_as_s3_has_them(
    s3_storage: S3Storage, s3_client: "S3Client", s3_bucket: str, prefix: str
) -> None:
    await s3_storage.upload(
        b"text",
        "a.txt",
        content_type="text/plain; charset=utf-8",
        metadata=AWKWARD_METADATA,
        cache_control="max-age=60",
    )
    stored = await s3_client.head_object(Bucket=s3_bucket, Key=f"{prefix}/a.txt")
    assert stored["ContentType"] == "text/plain; charset=utf-8"
    assert stored["CacheControl"] == "max-age=60"
    assert all(value.isascii() and " " not in value for value in stored["Metadata"].values())
    info = await s3_storage.get_info("a.txt")
    assert info.filename == AWKWARD_METADATA["filename"]
    assert info.metadata == {"note": AWKWARD_METADATA["note"]}


async def test_a_storage_sees_only_what_is_under_its_prefix(
    make_s3_storage: MakeS3Storage, s3_client: "S3Client", s3_bucket: str, prefix: str
) -> None:
    async with make_s3_storage(prefix=f"{prefix}/in") as inside, make_s3_storage() as outside:
        await inside.upload(b"1", "a.txt")
        await outside.upload(b"2", "a.txt")
        await outside.upload(b"3", "inner/a.txt")
        assert [info.name async for info in inside.list()] == ["a.txt"]
        assert [info.name async for info in outside.list("in")] == ["in/a.txt"]
        assert await inside.get_size("a.txt") == 1
        await s3_client.head_object(Bucket=s3_bucket, Key=f"{prefix}/in/a.txt")


async def test_a_name_that_the_prefix_makes_too_long_is_refused(
    make_s3_storage: MakeS3Storage,
) -> None:
    name = "/".join(["n" * 200] * 5)
    async with make_s3_storage(prefix="/".join(["p" * 100] * 2).strip("/")) as storage:
        with pytest.raises(InvalidNameError, match="prefix"):
            await storage.upload(b"", name)


async def test_keys_that_no_safe_name_leads_to_are_not_listed(
    s3_storage: S3Storage, s3_client: "S3Client", s3_bucket: str, prefix: str
) -> None:
    for key in ("folder/", "decomposed-a\u0308", "plain"):
        await s3_client.put_object(Bucket=s3_bucket, Key=f"{prefix}/{key}", Body=b"")
    assert [info.name async for info in s3_storage.list()] == ["plain"]


async def test_encoded_bodies_arrive_as_they_are_stored(
    s3_storage: S3Storage, s3_client: "S3Client", s3_bucket: str, prefix: str
) -> None:
    content = gzip.compress(b"x" * 1000)
    await s3_client.put_object(
        Bucket=s3_bucket, Key=f"{prefix}/a.gz", Body=content, ContentEncoding="gzip"
    )
    async with s3_storage.open("a.gz") as reader:
        assert reader.info.size == len(content)
        assert await reader.read() == content


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 * 1024**2])
@pytest.mark.parametrize("checksum_mode", [None, "when_required", "when_supported"])
async def test_bodies_of_all_sizes_and_checksum_modes(
    make_s3_storage: MakeS3Storage, size: int, checksum_mode: str | None
) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    async with make_s3_storage(checksum_mode=checksum_mode) as storage:
        await storage.upload(content, "a.bin")
        async with storage.open("a.bin") as reader:
            assert await reader.read() == content


async def test_the_signature_covers_the_bytes_of_a_large_body(
    make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
) -> None:
    content = bytes(200_000)
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        await storage.upload(content, "a.bin")
    (request,) = s3_proxy.requests
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(content).hexdigest()
    assert "expect" not in request.headers
    assert "x-amz-trailer" not in request.headers


class TestPreconditions:
    """One entity tag is for the server to check, everything else for us."""

    @pytest.fixture
    async def etag(self, s3_storage: S3Storage) -> str:
        await s3_storage.upload(b"content", "a.txt")
        etag = (await s3_storage.get_info("a.txt")).etag
        assert etag is not None
        return etag

    async def check(self, storage: S3Storage, preconditions: Preconditions) -> None:
        async with storage.open("a.txt", preconditions=preconditions) as reader:
            assert await reader.read() == b"content"

    @pytest.mark.parametrize(
        "tags", [("{0}",), ("*",), ('"other"', "{0}"), ("{0}", '"other"', '"third"')]
    )
    async def test_matching(self, s3_storage: S3Storage, etag: str, tags: tuple[str, ...]) -> None:
        wanted = tuple(tag.format(etag) for tag in tags)
        await self.check(s3_storage, Preconditions(if_match=wanted))
        with pytest.raises(NotModifiedError) as caught:
            await self.check(s3_storage, Preconditions(if_none_match=wanted))
        assert caught.value.etag == etag

    @pytest.mark.parametrize("tags", [('"other"',), ('"other"', '"third"')])
    async def test_not_matching(
        self, s3_storage: S3Storage, etag: str, tags: tuple[str, ...]
    ) -> None:
        await self.check(s3_storage, Preconditions(if_none_match=tags))
        with pytest.raises(PreconditionFailedError):
            await self.check(s3_storage, Preconditions(if_match=tags))

    async def test_a_weak_tag_matches_only_weakly(self, s3_storage: S3Storage, etag: str) -> None:
        with pytest.raises(NotModifiedError):
            await self.check(s3_storage, Preconditions(if_none_match=(f"W/{etag}",)))
        with pytest.raises(PreconditionFailedError):
            await self.check(s3_storage, Preconditions(if_match=(f"W/{etag}",)))

    async def test_dates(self, s3_storage: S3Storage, etag: str) -> None:
        now, before = datetime.now(UTC), datetime.now(UTC) - timedelta(days=1)
        await self.check(s3_storage, Preconditions(if_modified_since=before))
        await self.check(s3_storage, Preconditions(if_unmodified_since=now + timedelta(hours=1)))
        with pytest.raises(NotModifiedError):
            await self.check(s3_storage, Preconditions(if_modified_since=now))
        with pytest.raises(PreconditionFailedError):
            await self.check(s3_storage, Preconditions(if_unmodified_since=before))

    async def test_a_tag_goes_before_a_date(self, s3_storage: S3Storage, etag: str) -> None:
        before, now = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC)
        await self.check(s3_storage, Preconditions(if_match=(etag,), if_unmodified_since=before))
        await self.check(
            s3_storage, Preconditions(if_none_match=('"other"',), if_modified_since=now)
        )


@pytest.mark.parametrize("byte_range", [ByteRange(4), ByteRange(suffix=0), ByteRange(9, 10)])
async def test_a_range_without_bytes_tells_the_size(
    s3_storage: S3Storage, byte_range: ByteRange
) -> None:
    await s3_storage.upload(b"1234", "a.txt")
    with pytest.raises(RangeNotSatisfiableError) as caught:
        async with s3_storage.open("a.txt", byte_range=byte_range):
            pass
    assert caught.value.size == 4


async def test_delete_many_takes_1000_names_a_request(
    make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
) -> None:
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        await storage.upload(b"1", "kept")
        await storage.upload(b"1", "1999")
        s3_proxy.requests.clear()
        assert await storage.delete_many(map(str, [*range(2500), *range(2500)])) == {}
        assert [request.method for request in s3_proxy.requests] == ["POST"] * 3
        # Many servers refuse the request without it.
        assert all("content-md5" in request.headers for request in s3_proxy.requests)
        assert [info.name async for info in storage.list()] == ["kept"]


async def test_delete_many_says_which_files_stayed(
    make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
) -> None:
    s3_proxy.plan = lambda _: (403, "") if len(s3_proxy.requests) == 1 else None
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        errors = await storage.delete_many(map(str, range(1500)))
    assert len(errors) in (1000, 500)  # Of the two requests, which go out side by side.
    assert all(isinstance(error, PermissionError) for error in errors.values())


class TestCopy:
    async def test_everything_beside_the_bytes_is_copied(self, s3_storage: S3Storage) -> None:
        await s3_storage.upload(
            b"text",
            "a.txt",
            content_type="text/x-own",
            metadata=AWKWARD_METADATA,
            cache_control="no-store",
        )
        await s3_storage.copy("a.txt", "ä b%20/c?.txt")
        source, copy = [await s3_storage.get_info(name) for name in ("a.txt", "ä b%20/c?.txt")]
        assert copy.content_type == "text/x-own"
        assert copy.cache_control == "no-store"
        assert (copy.filename, copy.metadata) == (source.filename, source.metadata)

    async def test_onto_itself(self, s3_storage: S3Storage) -> None:
        await s3_storage.upload(b"text", "a.txt", metadata={"k": "v"})
        await s3_storage.copy("a.txt", "a.txt")
        assert (await s3_storage.get_info("a.txt")).metadata == {"k": "v"}
        with pytest.raises(AlreadyExistsError):
            await s3_storage.copy("a.txt", "a.txt", overwrite=False)
        with pytest.raises(PreconditionFailedError):
            await s3_storage.copy("a.txt", "a.txt", if_match='"other"')
        with pytest.raises(NotFoundError):
            await s3_storage.copy("b.txt", "b.txt")

    async def test_only_if_the_target_is_free(self, s3_storage: S3Storage) -> None:
        await s3_storage.upload(b"1", "a.txt")
        await s3_storage.upload(b"2", "b.txt")
        with pytest.raises(AlreadyExistsError):
            await s3_storage.copy("a.txt", "b.txt", overwrite=False)
        await s3_storage.copy("a.txt", "c.txt", overwrite=False)
        assert await s3_storage.get_size("c.txt") == 1

    @pytest.mark.parametrize("overwrite", [True, False])
    async def test_other_headers_are_copied_too(
        self,
        s3_storage: S3Storage,
        s3_client: "S3Client",
        s3_bucket: str,
        prefix: str,
        overwrite: bool,
    ) -> None:
        headers: dict[str, Any] = {
            "ContentDisposition": 'attachment; filename="b.txt"',
            "ContentEncoding": "identity",
            "ContentLanguage": "de",
        }
        await s3_client.put_object(
            Bucket=s3_bucket, Key=f"{prefix}/a.txt", Body=b"1", Metadata={"k": "v"}, **headers
        )
        await s3_storage.copy("a.txt", "b.txt", overwrite=overwrite)
        answer = await s3_client.head_object(Bucket=s3_bucket, Key=f"{prefix}/b.txt")
        assert headers.items() <= dict(answer).items()
        assert (await s3_storage.get_info("b.txt")).metadata == {"k": "v"}

    async def test_of_many_to_one_name_one_succeeds(self, s3_storage: S3Storage) -> None:
        await s3_storage.upload(b"1", "a.txt")
        copies = (s3_storage.copy("a.txt", "b.txt", overwrite=False) for _ in range(20))
        results = await asyncio.gather(*copies, return_exceptions=True)
        assert results.count("b.txt") == 1
        assert sum(isinstance(result, AlreadyExistsError) for result in results) == 19

    async def test_a_repeated_request_meets_its_own_copy(
        self, make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
    ) -> None:
        lost: list[S3Request] = []

        def lose_first(request: S3Request) -> Fault | None:
            if "x-amz-copy-source" not in request.headers or lost:
                return None
            lost.append(request)
            return Fault.LOSE_ANSWER

        async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
            await storage.upload(b"1", "a.txt", metadata={"k": "v"})
            s3_proxy.plan = lose_first
            await storage.copy("a.txt", "b.txt", overwrite=False)
            assert lost
            assert (await storage.get_info("b.txt")).metadata == {"k": "v"}

    async def test_a_source_that_is_replaced_on_the_way(
        self, make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy, s3_storage: S3Storage
    ) -> None:
        async def replace(request: S3Request) -> None:
            if request.method == "HEAD" and "b.txt" in request.target:
                await s3_storage.upload(b"2", "a.txt")

        async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
            await storage.upload(b"1", "a.txt")
            s3_proxy.before_answer = replace
            with pytest.raises(PreconditionFailedError, match="replaced"):
                await storage.copy("a.txt", "b.txt", overwrite=False)
            assert not await storage.exists("b.txt")

    async def test_only_if_the_source_is_the_same(self, s3_storage: S3Storage) -> None:
        await s3_storage.upload(b"1", "a.txt")
        etag = (await s3_storage.get_info("a.txt")).etag
        await s3_storage.upload(b"2", "a.txt")
        with pytest.raises(PreconditionFailedError):
            await s3_storage.copy("a.txt", "b.txt", if_match=etag)
        assert not await s3_storage.exists("b.txt")


@pytest.mark.parametrize("engine", ["aiobotocore"])
async def test_an_acl_is_sent_with_what_is_stored(
    make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
) -> None:
    storage = make_s3_storage(endpoint_url=s3_proxy.endpoint_url, default_acl="public-read")
    async with storage:
        await storage.upload(b"1", "a.txt")
        await storage.copy("a.txt", "b.txt")
    writes = [request for request in s3_proxy.requests if request.method == "PUT"]
    assert [request.headers["x-amz-acl"] for request in writes] == ["public-read"] * 2


class TestConfiguration:
    @pytest.mark.parametrize(
        "options",
        [
            {"bucket_name": ""},
            {"endpoint_url": "ftp://files.example.com"},
            {"endpoint_url": "https://user:secret@files.example.com"},
            {"endpoint_url": "https://files.example.com?x=1"},
            {"endpoint_url": "localhost:port"},
            {"endpoint_url": "http://[::1"},
            {"custom_domain": "https://"},
            {"checksum_mode": "always"},
            {"addressing_style": "dns"},
            {"part_size": 5 * 1024**2 - 1},
            {"part_size": 5 * 1024**3 + 1},
            {"max_concurrency": 0},
            {"client_config": {"read_timeuot": 1}},
            {"client_config": {"retries": {"total_max_attempts": 0}}},
            {"aws_access_key_id": "key"},
            {"aws_secret_access_key": "secret"},
            {"aws_session_token": "token"},
        ],
        ids=str,
    )
    def test_what_cannot_work_is_refused_at_once(self, options: dict[str, object]) -> None:
        arguments: dict[str, object] = {"bucket_name": "files", **options}
        with pytest.raises(ConfigurationError) as caught:
            S3Storage(**arguments)  # type: ignore[arg-type]
        assert "secret@" not in str(caught.value)

    def test_a_bad_prefix_is_refused(self) -> None:
        with pytest.raises(InvalidNameError):
            S3Storage("files", prefix="../other")

    def test_repr_names_the_bucket_and_nothing_secret(self) -> None:
        storage = S3Storage(
            "files", prefix="a/b", aws_access_key_id="AKIA", aws_secret_access_key="hidden"
        )
        assert repr(storage) == "S3Storage('files', prefix='a/b/')"
        assert "hidden" not in repr(vars(storage))

    async def test_an_endpoint_that_the_sdk_refuses(self) -> None:
        storage = S3Storage(
            "files",
            endpoint_url="host_with_underscore:9000",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        with pytest.raises(ConfigurationError, match="endpoint"):
            await storage.exists("a")
        await storage.aclose()

    @pytest.mark.parametrize("with_scheme", [True, False])
    async def test_an_endpoint_with_and_without_a_scheme(
        self, make_s3_storage: MakeS3Storage, s3_server: S3Server, with_scheme: bool
    ) -> None:
        endpoint = s3_server.endpoint_url
        endpoint = endpoint if with_scheme else endpoint.partition("://")[2]
        async with make_s3_storage(endpoint_url=f"{endpoint}/", use_ssl=False) as storage:
            await storage.check()

    async def test_the_endpoint_of_the_environment(
        self, make_s3_storage: MakeS3Storage, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint_url)
        async with make_s3_storage(endpoint_url=None) as storage:
            await storage.check()
            assert "us-east-1" in await storage.get_path("a")

    @pytest.mark.parametrize(
        "config, environment, expected",
        [
            ({}, "", r"fastapi-async-storages/\S+ botocore/\S+"),
            ({}, "shop 1", r"fastapi-async-storages/\S+ app/shop-1 botocore/\S+"),
            ({"user_agent_appid": "own"}, "shop", r"fastapi-async-storages/\S+ app/own .*"),
            ({"user_agent": "own/1", "user_agent_extra": "x/2"}, "shop", r"own/1 botocore/\S+ x/2"),
        ],
    )
    async def test_requests_say_who_sends_them(
        self,
        make_s3_storage: MakeS3Storage,
        s3_proxy: S3Proxy,
        monkeypatch: pytest.MonkeyPatch,
        config: dict[str, str],
        environment: str,
        expected: str,
    ) -> None:
        monkeypatch.setenv("AWS_SDK_UA_APP_ID", environment)
        options = {"endpoint_url": s3_proxy.endpoint_url, "client_config": config}
        async with make_s3_storage(**options) as storage:
            await storage.upload(b"1", "a.bin")
        (request,) = s3_proxy.requests
        assert re.fullmatch(expected, request.headers["user-agent"])

    @pytest.mark.parametrize("wrap", [dict, lambda options: AioConfig(**options)])
    async def test_the_options_of_the_sdk_are_the_users(
        self, make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy, wrap: Callable[[Any], Any]
    ) -> None:
        config = wrap({"user_agent_extra": "own/1", "s3": {"payload_signing_enabled": False}})
        options = {"endpoint_url": s3_proxy.endpoint_url, "client_config": config}
        async with make_s3_storage(**options) as storage:
            await storage.upload(bytes(200_000), "a.bin")
        (request,) = s3_proxy.requests
        assert request.headers["user-agent"].endswith("own/1")
        assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
