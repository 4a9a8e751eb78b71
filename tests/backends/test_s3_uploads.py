"""Uploads that a client sends to the bucket itself: what the signatures allow, and what is left."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from fastapi_async_storages import S3Storage
from fastapi_async_storages.backends import _s3_copies
from fastapi_async_storages.backends._s3_presigning import UrlSigner
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    ConfigurationError,
    FileTooLargeError,
    FileTooSmallError,
    NotFoundError,
    PreconditionFailedError,
)
from fastapi_async_storages.presigned import (
    PresignedForm,
    PresignedParts,
    PresignedUploads,
    PresignsUploads,
)
from tests.backends.conftest import MakeS3Storage
from tests.servers.s3 import S3Server
from tests.servers.s3_proxy import Fault, S3Proxy, S3Request

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio

MIB = 1024**2
TEXT = b"Hello, bucket."
TEXT_CHECKSUM = f"sha256:{hashlib.sha256(TEXT).hexdigest()}"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """What a browser is to the bucket: somebody without credentials."""
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
async def uploads(s3_storage: S3Storage) -> PresignedUploads:
    assert isinstance(s3_storage, PresignsUploads)
    return await s3_storage.presigned_uploads()


async def sign_form(
    uploads: PresignedUploads, name: str = "pending/a", *, checksum: str | None = None
) -> PresignedForm:
    return await uploads.sign_form(
        name, size=len(TEXT), content_type="text/plain", checksum=checksum, expires_in=60
    )


async def post(
    http: httpx.AsyncClient,
    form: PresignedForm,
    content: bytes = TEXT,
    changes: Mapping[str, str] | None = None,
) -> httpx.Response:
    fields = {**form.fields, **(changes or {})}
    return await http.post(form.url, data=fields, files={"file": ("x", content, "text/plain")})


async def sign_parts(uploads: PresignedUploads, size: int = 11 * MIB) -> PresignedParts:
    return await uploads.sign_parts("pending/a", size=size, content_type="video/mp4", expires_in=60)


async def put_parts(http: httpx.AsyncClient, plan: PresignedParts) -> bytes:
    contents = [bytes([part.number]) * part.size for part in plan.parts]
    for part, content in zip(plan.parts, contents, strict=True):
        assert (await http.put(part.url, content=content)).status_code == 200
    return b"".join(contents)


async def publish(uploads: PresignedUploads, etag: str, target: str = "b") -> None:
    await uploads.publish(
        "pending/a",
        target,
        etag=etag,
        content_type="text/x-python",
        metadata={"filename": "日本.py"},
        cache_control="no-cache",
    )


async def list_open_uploads(s3_client: "S3Client", bucket: str, prefix: str) -> list[Any]:
    answer = await s3_client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    return list(answer.get("Uploads", ()))


# A form


async def test_a_form_uploads_the_file_that_was_agreed_on(
    uploads: PresignedUploads, http: httpx.AsyncClient
) -> None:
    form = await sign_form(uploads)
    assert (await post(http, form)).status_code == 204
    info = await uploads.get_info("pending/a")
    assert (info.size, info.content_type, info.checksum) == (len(TEXT), "text/plain", None)


@pytest.mark.parametrize("content", [TEXT + b"!", TEXT[:-1], b""])
async def test_a_form_takes_no_other_size(
    uploads: PresignedUploads, http: httpx.AsyncClient, content: bytes
) -> None:
    answer = await post(http, await sign_form(uploads), content)
    assert answer.status_code == 400
    assert "EntityToo" in answer.text
    with pytest.raises(NotFoundError):
        await uploads.get_info("pending/a")


async def test_a_form_takes_no_other_type_name_or_field(
    uploads: PresignedUploads, http: httpx.AsyncClient, s3_storage: S3Storage
) -> None:
    form = await sign_form(uploads)
    others = [
        {"Content-Type": "text/html"},
        {"key": form.fields["key"] + "b"},
        {"x-amz-meta-filename": "x"},
        {"x-amz-checksum-sha256": "x"},
    ]
    for changes in others:
        assert (await post(http, form, changes=changes)).status_code in (400, 403), changes
    assert [info.name async for info in s3_storage.list()] == []


async def test_a_form_with_a_checksum_takes_no_other_bytes(
    uploads: PresignedUploads, http: httpx.AsyncClient
) -> None:
    form = await sign_form(uploads, checksum=TEXT_CHECKSUM)
    assert (await post(http, form, TEXT.upper())).status_code == 400
    with pytest.raises(NotFoundError):
        await uploads.get_info("pending/a")
    assert (await post(http, form)).status_code == 204
    assert (await uploads.get_info("pending/a")).checksum == TEXT_CHECKSUM


async def test_the_checksum_of_another_program_is_no_proof(
    uploads: PresignedUploads, s3_storage: S3Storage
) -> None:
    await s3_storage.upload(TEXT, "pending/a", metadata={"checksum": TEXT_CHECKSUM})
    assert (await uploads.get_info("pending/a")).checksum is None


# Parts


async def test_parts_make_one_file(
    uploads: PresignedUploads, http: httpx.AsyncClient, s3_storage: S3Storage
) -> None:
    plan = await sign_parts(uploads)
    assert [(part.number, part.size) for part in plan.parts] == [(1, 8 * MIB), (2, 3 * MIB)]
    content = await put_parts(http, plan)
    with pytest.raises(NotFoundError):
        await uploads.get_info("pending/a")
    for _ in range(2):  # Who has not got the answer asks again.
        await uploads.join_parts("pending/a", plan.upload_id, size=11 * MIB)
    async with s3_storage.open("pending/a") as reader:
        assert await reader.read() == content
        assert reader.info.content_type == "video/mp4"
    assert (await http.put(plan.parts[0].url, content=bytes(8 * MIB))).status_code == 404


async def test_a_part_has_the_size_that_was_signed(
    uploads: PresignedUploads, http: httpx.AsyncClient
) -> None:
    plan = await sign_parts(uploads, 5)
    for content in (b"123456", b"1234"):
        assert (await http.put(plan.parts[0].url, content=content)).status_code == 403


async def test_parts_are_signed_by_the_sdk_where_only_that_knows_how(
    s3_storage: S3Storage, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UrlSigner, "from_sample", lambda _: None)  # As for directory buckets.
    uploads = await s3_storage.presigned_uploads()
    plan = await sign_parts(uploads)
    content = await put_parts(http, plan)
    assert (await http.put(plan.parts[1].url, content=b"12345")).status_code == 403
    await uploads.join_parts("pending/a", plan.upload_id, size=len(content))
    assert await s3_storage.get_size("pending/a") == len(content)


async def test_a_part_may_be_sent_again(
    uploads: PresignedUploads, http: httpx.AsyncClient, s3_storage: S3Storage
) -> None:
    plan = await sign_parts(uploads, 5)
    for _ in range(2):  # As a browser does that has not got the answer.
        assert (await http.put(plan.parts[0].url, content=b"again")).status_code == 200
    await uploads.join_parts("pending/a", plan.upload_id, size=5)
    async with s3_storage.open("pending/a") as reader:
        assert await reader.read() == b"again"


async def test_an_empty_file_is_one_empty_part(
    uploads: PresignedUploads, http: httpx.AsyncClient
) -> None:
    plan = await sign_parts(uploads, 0)
    with pytest.raises(FileTooSmallError):
        await uploads.join_parts("pending/a", plan.upload_id, size=0)
    assert (await http.put(plan.parts[0].url, content=b"")).status_code == 200
    await uploads.join_parts("pending/a", plan.upload_id, size=0)
    assert (await uploads.get_info("pending/a")).size == 0


async def test_a_missing_part_is_told(uploads: PresignedUploads, http: httpx.AsyncClient) -> None:
    plan = await sign_parts(uploads)
    await http.put(plan.parts[1].url, content=bytes(3 * MIB))
    with pytest.raises(FileTooSmallError, match="11534336 bytes that were announced, 3145728"):
        await uploads.join_parts("pending/a", plan.upload_id, size=11 * MIB)


@pytest.mark.parametrize("size", [0, 5])
async def test_parts_that_vanish_while_somebody_else_joins_them_are_no_missing_ones(
    uploads: PresignedUploads,
    s3_storage: S3Storage,
    s3_client: "S3Client",
    s3_bucket: str,
    prefix: str,
    size: int,
) -> None:
    """SeaweedFS has the file by then, and still lists the upload."""
    plan = await sign_parts(uploads, size)
    await s3_client.put_object(Bucket=s3_bucket, Key=f"{prefix}/pending/a", Body=b"x" * size)
    await uploads.join_parts("pending/a", plan.upload_id, size=size)
    assert await s3_storage.get_size("pending/a") == size
    await uploads.abort_parts("pending/a", plan.upload_id)


async def test_parts_that_are_aborted_are_gone(
    uploads: PresignedUploads,
    http: httpx.AsyncClient,
    s3_client: "S3Client",
    s3_bucket: str,
    prefix: str,
) -> None:
    plan = await sign_parts(uploads)
    await put_parts(http, plan)
    assert len(await list_open_uploads(s3_client, s3_bucket, prefix)) == 1
    for _ in range(2):
        await uploads.abort_parts("pending/a", plan.upload_id)
    assert await list_open_uploads(s3_client, s3_bucket, prefix) == []
    await uploads.join_parts("pending/a", plan.upload_id, size=11 * MIB)
    with pytest.raises(NotFoundError):
        await uploads.get_info("pending/a")


async def test_a_file_of_any_size_has_about_a_thousand_parts(uploads: PresignedUploads) -> None:
    size = 100 * 1024**3 + 1
    plan = await sign_parts(uploads, size)
    assert len(plan.parts) <= 1000
    assert sum(part.size for part in plan.parts) == size
    assert len({part.size for part in plan.parts[:-1]}) == 1
    assert len({part.url for part in plan.parts}) == len(plan.parts)
    await uploads.abort_parts("pending/a", plan.upload_id)
    with pytest.raises(FileTooLargeError):
        await sign_parts(uploads, 49 * 1024**4)


async def test_a_cancelled_plan_leaves_no_open_upload(
    s3_proxy: S3Proxy,
    make_s3_storage: MakeS3Storage,
    s3_client: "S3Client",
    s3_bucket: str,
    prefix: str,
) -> None:
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        task = asyncio.ensure_future(sign_parts(await storage.presigned_uploads()))

        async def cancel(request: S3Request) -> None:
            if request.method == "POST":  # The upload is open, and nobody has its id yet.
                assert len(await list_open_uploads(s3_client, s3_bucket, prefix)) == 1
                task.cancel()

        s3_proxy.before_answer = cancel
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await list_open_uploads(s3_client, s3_bucket, prefix) == []


async def test_stale_uploads_are_thrown_away_and_no_others(
    uploads: PresignedUploads,
    s3_storage: S3Storage,
    s3_client: "S3Client",
    make_s3_storage: MakeS3Storage,
    s3_bucket: str,
    prefix: str,
) -> None:
    await sign_parts(uploads)
    other = await make_s3_storage(prefix=f"{prefix}-other").presigned_uploads()
    await sign_parts(other)
    assert await s3_storage.abort_stale_uploads(older_than=timedelta(hours=1)) == 0
    assert await s3_storage.abort_stale_uploads("elsewhere", older_than=timedelta(-1)) == 0
    assert await s3_storage.abort_stale_uploads("pending", older_than=timedelta(-1)) == 1
    assert await s3_storage.abort_stale_uploads(older_than=timedelta(-1)) == 0
    [left] = await list_open_uploads(s3_client, s3_bucket, prefix)
    assert left["Key"].startswith(f"{prefix}-other/")


# Publishing


async def test_what_is_published_has_what_was_found_out(
    uploads: PresignedUploads, s3_storage: S3Storage
) -> None:
    await s3_storage.upload(TEXT, "pending/a", metadata={"own": "x"})
    await publish(uploads, str((await uploads.get_info("pending/a")).etag))
    info = await s3_storage.get_info("b")
    assert (info.content_type, info.cache_control) == ("text/x-python", "no-cache")
    assert (info.filename, info.metadata) == ("日本.py", {})
    async with s3_storage.open("b") as reader:
        assert await reader.read() == TEXT


async def test_only_the_checked_version_is_published(
    uploads: PresignedUploads, s3_storage: S3Storage
) -> None:
    await s3_storage.upload(TEXT, "pending/a")
    etag = str((await uploads.get_info("pending/a")).etag)
    await s3_storage.upload(b"<script>", "pending/a")
    with pytest.raises(PreconditionFailedError):
        await publish(uploads, etag)
    assert not await s3_storage.exists("b")


async def test_a_replacement_just_before_the_copy_is_not_published(
    s3_proxy: S3Proxy, make_s3_storage: MakeS3Storage, s3_storage: S3Storage
) -> None:
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        uploads = await storage.presigned_uploads()
        await storage.upload(TEXT, "pending/a")
        etag = str((await uploads.get_info("pending/a")).etag)

        async def replace_source(_: object) -> None:
            await s3_storage.upload(b"<script>", "pending/a")

        s3_proxy.before_answer = replace_source  # After the HEAD, before the PUT of the copy.
        with pytest.raises(PreconditionFailedError):
            await publish(uploads, etag)
    assert not await s3_storage.exists("b")


async def test_of_many_that_publish_at_once_one_wins(
    uploads: PresignedUploads, s3_storage: S3Storage
) -> None:
    await s3_storage.upload(TEXT, "pending/a")
    etag = str((await uploads.get_info("pending/a")).etag)
    results = await asyncio.gather(
        *(publish(uploads, etag) for _ in range(20)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert {type(result) for result in results} == {type(None), AlreadyExistsError}


async def test_a_lost_answer_is_no_other_winner(
    s3_proxy: S3Proxy, make_s3_storage: MakeS3Storage
) -> None:
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        uploads = await storage.presigned_uploads()
        await storage.upload(TEXT, "pending/a")
        etag = str((await uploads.get_info("pending/a")).etag)
        lost: list[str] = []

        def lose_first_copy(request: S3Request) -> Fault | None:
            if "x-amz-copy-source" in request.headers and not lost:
                lost.append(request.target)
                return Fault.LOSE_ANSWER
            return None

        s3_proxy.plan = lose_first_copy
        await publish(uploads, etag)
        assert lost
        assert await storage.exists("b")


async def test_what_is_too_large_for_one_copy_is_published_in_parts(
    uploads: PresignedUploads, s3_storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_s3_copies, "MAX_PART_SIZE", 6 * MIB)
    monkeypatch.setattr(_s3_copies, "COPY_PART_SIZE", 6 * MIB)
    content = bytes(range(256)) * (7 * MIB // 256)
    await s3_storage.upload(content, "pending/a", metadata={"own": "x"})
    etag = str((await uploads.get_info("pending/a")).etag)
    await publish(uploads, etag)
    info = await s3_storage.get_info("b")
    assert (info.content_type, info.filename, info.metadata) == ("text/x-python", "日本.py", {})
    assert info.size == len(content)
    with pytest.raises(AlreadyExistsError):
        await publish(uploads, etag)


# Where browsers are


async def test_forms_and_parts_are_signed_for_the_public_endpoint(
    make_s3_storage: MakeS3Storage, s3_server: S3Server, http: httpx.AsyncClient
) -> None:
    port = urlsplit(s3_server.endpoint_url).port
    public = f"http://localhost:{port}"  # Another name of the same server.
    for options in ({}, {"querystring_auth": False}, {"custom_domain": "cdn.example.com"}):
        async with make_s3_storage(public_endpoint_url=public, **options) as storage:
            uploads = await storage.presigned_uploads()
            form = await sign_form(uploads)
            assert form.url.startswith(f"{public}/")
            assert (await post(http, form)).status_code == 204
            plan = await sign_parts(uploads, 5)
            assert plan.parts[0].url.startswith(f"{public}/")
            assert (await http.put(plan.parts[0].url, content=b"12345")).status_code == 200
            await uploads.abort_parts("pending/a", plan.upload_id)


async def test_only_pages_of_allowed_origins_may_upload(
    s3_storage: S3Storage, http: httpx.AsyncClient, s3_client: "S3Client", s3_bucket: str
) -> None:
    form = await sign_form(await s3_storage.presigned_uploads())
    url = f"{form.url}/{form.fields['key']}"

    async def is_allowed(origin: str, method: str) -> bool:
        """Ask as a browser does before it sends an upload, and judge as it does."""
        headers = {"origin": origin, "access-control-request-method": method}
        answer = (await http.options(url, headers=headers)).headers
        return answer.get("access-control-allow-origin") in (origin, "*") and method in answer.get(
            "access-control-allow-methods", ""
        ).split(", ")

    await s3_client.put_bucket_cors(
        Bucket=s3_bucket,
        CORSConfiguration={
            "CORSRules": [
                {"ID": "own", "AllowedMethods": ["GET"], "AllowedOrigins": ["https://cdn.test"]}
            ]
        },
    )
    try:
        assert not await is_allowed("https://www.test", "POST")
        await s3_storage.allow_browser_uploads(["https://old.test"])
        await s3_storage.allow_browser_uploads(["https://www.test", "http://localhost:8000"])
        for origin in ("https://www.test", "http://localhost:8000"):
            assert await is_allowed(origin, "POST")
            assert await is_allowed(origin, "PUT")
            assert not await is_allowed(origin, "DELETE")
        assert not await is_allowed("https://old.test", "POST")
        assert await is_allowed("https://cdn.test", "GET")
    finally:
        await s3_client.delete_bucket_cors(Bucket=s3_bucket)
    await s3_storage.allow_browser_uploads("*")  # In a bucket that has no rule yet.
    assert await is_allowed("https://any.test", "POST")
    await s3_client.delete_bucket_cors(Bucket=s3_bucket)


@pytest.mark.parametrize(
    "origin", ["https://www.test/", "https://www.test/app", "www.test", "https://WWW.test/", ""]
)
async def test_what_is_no_origin_is_refused(s3_storage: S3Storage, origin: str) -> None:
    with pytest.raises(ConfigurationError, match="is no origin"):
        await s3_storage.allow_browser_uploads([origin])


async def test_no_origin_at_all_is_refused(s3_storage: S3Storage) -> None:
    with pytest.raises(ConfigurationError, match="at least one origin"):
        await s3_storage.allow_browser_uploads([])
