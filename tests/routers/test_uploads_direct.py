"""Direct uploads as a front end meets them, on every backend: sent, verified, moved."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fastapi_async_storages import (
    S3Storage,
    Storage,
    UploadRules,
    create_files_router,
    public,
)
from fastapi_async_storages.exceptions import UploadRefusedError
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.rules import ImageRules
from tests.uploads.front_end import (
    assert_nothing_is_left,
    list_names,
    list_open_parts,
    make_uploads_app,
    open_front_end,
    run_uploads,
)
from tests.uploads.samples import HTML, JPEG, PDF, PNG, make_png_header, make_zip

pytestmark = pytest.mark.anyio

MIB = 1024**2


def checksum_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# What is stored


async def test_a_file_is_stored_with_all_that_is_known(storage: Storage) -> None:
    async with run_uploads(storage, prefix="photos", cache_control="no-cache") as front_end:
        answer = await front_end.upload(
            PNG, "../日本 \u202e.png", content_type="image/png", checksum=checksum_of(PNG)
        )
        assert answer.status_code == 201, answer.text
        stored = answer.json()
        [name] = await list_names(storage)
        assert re.fullmatch(r"photos/[0-9a-f-]{36}\.png", name)
        assert stored == {
            "name": name,
            "filename": "日本 .png",
            "size": len(PNG),
            "content_type": "image/png",
            "width": 32,
            "height": 16,
        }
        info = await storage.get_info(name)
        for field, value in stored.items():
            assert getattr(info, field) == value, field
        assert info.checksum == checksum_of(PNG)
        assert info.cache_control == "no-cache"
        assert info.metadata == {}
        async with storage.open(name) as reader:
            assert await reader.read() == PNG
        assert await list_open_parts(storage) == []


async def test_the_plan_says_how_the_file_is_to_be_sent(storage: Storage) -> None:
    async with run_uploads(storage, multipart_threshold=1000, expires_in=600) as front_end:
        small = await front_end.plan(b"x" * 999, content_type="text/plain")
        large = await front_end.plan(b"x" * 1000, content_type="text/plain")
        for plan in (small, large):
            until = datetime.fromisoformat(plan["expires_at"]) - datetime.now(UTC)
            assert 590 < until.total_seconds() <= 600
            assert plan["complete_url"] == "http://test/uploads/direct/complete"
            assert plan["abort_url"] == "http://test/uploads/direct/abort"
        if isinstance(storage, S3Storage):
            assert small["method"] == "POST"
            assert small["fields"]["Content-Type"] == "text/plain"
            assert large["method"] == "PUT"
            [part] = large["parts"]
            assert (part["number"], part["size"]) == (1, 1000)
            assert await list_open_parts(storage) != []
            await front_end.abort(large)
        else:
            for plan in (small, large):
                assert plan["method"] == "PUT"
                assert plan["url"].startswith("http://test/uploads/direct?token=")
                assert plan["headers"] == {"Content-Type": "text/plain"}
        await assert_nothing_is_left(storage)


async def test_a_large_file_is_put_together(storage: Storage) -> None:
    content = bytes(range(256)) * (9 * MIB // 256) + b"end"
    async with run_uploads(storage, multipart_threshold=0) as front_end:
        answer = await front_end.upload(content, "a.bin", checksum=checksum_of(content))
        assert answer.status_code == 201, answer.text
        [name] = await list_names(storage)
        assert (await storage.get_info(name)).checksum == checksum_of(content)
        async with storage.open(name) as reader:
            assert await reader.read() == content
        assert await list_open_parts(storage) == []


@pytest.mark.parametrize("threshold", [0, "1MiB"])
async def test_an_empty_file_is_a_file(storage: Storage, threshold: int | str) -> None:
    async with run_uploads(storage, multipart_threshold=threshold) as front_end:
        answer = await front_end.upload(b"", "empty.txt", content_type="text/plain")
        assert answer.status_code == 201, answer.text
        assert answer.json()["size"] == 0
        assert await storage.get_size(answer.json()["name"]) == 0


async def test_the_bytes_say_what_the_file_is(storage: Storage) -> None:
    async with run_uploads(storage) as front_end:
        answer = await front_end.upload(PNG, "table.csv", content_type="text/csv")
        assert answer.status_code == 201, answer.text
        stored = answer.json()
        assert stored["content_type"] == "image/png"
        assert stored["name"].endswith(".png")
        assert (await storage.get_info(stored["name"])).content_type == "image/png"


async def test_a_client_that_knows_no_type_says_none(storage: Storage) -> None:
    async with run_uploads(storage) as front_end:
        answer = await front_end.upload(PDF, "paper", content_type="")
        assert answer.json()["content_type"] == "application/pdf"


# What is refused


async def count_lines(
    file: IncomingFile, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    lines = 0
    async for chunk in chunks:
        lines += chunk.count(b"\n")
        yield chunk
    if lines > 3:
        raise UploadRefusedError(f"{file.label} has {lines} lines.", limit=3, received=lines)


async def refuse_drafts(file: IncomingFile) -> None:
    if b"DRAFT" in file.head:
        raise UploadRefusedError(f"{file.label} is a draft.")


IMAGES = UploadRules(types=["image/*"])
REFUSED: dict[str, tuple[UploadRules, bytes, str, int, str]] = {
    "HTML named .png": (IMAGES, HTML, "x.png", 415, "type-not-allowed"),
    "a document": (IMAGES, PDF, "x.png", 415, "type-not-allowed"),
    "a lie": (UploadRules(mismatch="refuse"), JPEG, "x.png", 415, "type-mismatch"),
    "an image that is an archive": (IMAGES, PNG + make_zip(), "x.png", 415, "polyglot"),
    "a large image that is an archive": (
        IMAGES,
        PNG + bytes(200_000) + make_zip(),
        "x.png",
        415,
        "polyglot",
    ),
    "a decompression bomb": (
        UploadRules(image=ImageRules()),
        make_png_header(50_000, 50_000),
        "x.png",
        422,
        "image-too-large",
    ),
    "no image": (UploadRules(image=ImageRules()), PNG[:20], "x.png", 422, "unreadable-image"),
    "an extension": (UploadRules(extensions=[".png"]), JPEG, "x.png", 415, "extension-not-allowed"),
    "by a validator": (
        UploadRules(validators=[refuse_drafts]),
        b"DRAFT",
        "x",
        422,
        "upload-refused",
    ),
    "by a scanner": (UploadRules(scanners=[count_lines]), b"\n" * 4, "x", 422, "upload-refused"),
    "by a scanner, late": (
        UploadRules(scanners=[count_lines]),
        bytes(3 * MIB) + b"\n" * 4,
        "x",
        422,
        "upload-refused",
    ),
}


@pytest.mark.parametrize("threshold", [0, "1GiB"])
@pytest.mark.parametrize("case", REFUSED)
async def test_what_the_rules_do_not_allow_is_deleted(
    storage: Storage, case: str, threshold: int | str
) -> None:
    rules, content, filename, status, slug = REFUSED[case]
    async with run_uploads(storage, rules, multipart_threshold=threshold) as front_end:
        claims = {"content_type": "image/png"} if filename.endswith(".png") else {}
        plan = await front_end.plan(content, filename, **claims)
        assert (await front_end.send(plan, content)).is_success
        answer = await front_end.complete(plan)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].endswith(f":{slug}")
        await assert_nothing_is_left(storage)
        assert (await front_end.complete(plan)).status_code == 404


@pytest.mark.parametrize(
    "claims, status",
    [
        ({"size": 11}, 413),
        ({"size": 4}, 422),
        ({"filename": "a.exe"}, 415),
        ({"content_type": "application/x-msdownload"}, 415),
        ({"size": -1}, 422),
        ({"size": 2**53}, 422),
        ({"checksum": "sha256:0"}, 422),
        ({"checksum": "md5:" + "0" * 64}, 422),
        ({"filename": None}, 422),
    ],
)
async def test_what_cannot_be_allowed_is_refused_before_a_byte_is_sent(
    storage: Storage, claims: dict[str, Any], status: int
) -> None:
    rules = UploadRules(
        max_size=10, min_size=5, extensions=[".png"], types=["image/*"], mismatch="refuse"
    )
    file = {"filename": "a.png", "size": 7, "content_type": "image/png", **claims}
    async with run_uploads(storage, rules, multipart_threshold=0) as front_end:
        answer = await front_end.post("/direct", file)
        assert answer.status_code == status, answer.text
        await assert_nothing_is_left(storage)


async def test_a_wrong_claim_alone_is_no_reason(storage: Storage) -> None:
    async with run_uploads(storage, IMAGES) as front_end:
        answer = await front_end.upload(PNG, "a.pdf", content_type="application/pdf")
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("threshold", [0, "1GiB"])
@pytest.mark.parametrize("sent", [PNG + b"!", PNG[:-1], b""])
async def test_no_other_size_is_taken(storage: Storage, sent: bytes, threshold: int | str) -> None:
    async with run_uploads(storage, multipart_threshold=threshold) as front_end:
        plan = await front_end.plan(PNG, content_type="image/png")
        if "fields" not in plan and "url" in plan:
            expected = 413 if len(sent) > len(PNG) else 422
        elif len(sent) > len(PNG) and "parts" in plan:
            plan["parts"][0]["size"] = len(sent)  # A part is all that it is sent.
            expected = 403
        else:
            expected = 403 if "parts" in plan else 400
        answer = await front_end.send(plan, sent)
        assert answer.status_code == expected, answer.text
        assert (await front_end.complete(plan)).status_code in (404, 422)
        await assert_nothing_is_left(storage)


async def test_no_other_type_is_taken(storage: Storage) -> None:
    async with run_uploads(storage) as front_end:
        plan = await front_end.plan(PNG, content_type="image/png")
        place = plan.get("fields") or plan["headers"]
        place["Content-Type"] = "text/html"
        answer = await front_end.send(plan, PNG)
        assert answer.status_code == (403 if "fields" in plan else 415), answer.text
        await assert_nothing_is_left(storage)


@pytest.mark.parametrize("threshold", [0, "1GiB"])
async def test_no_other_bytes_are_taken(storage: Storage, threshold: int | str) -> None:
    other = JPEG[: len(PNG)].ljust(len(PNG))
    async with run_uploads(storage, multipart_threshold=threshold) as front_end:
        plan = await front_end.plan(PNG, content_type="image/png", checksum=checksum_of(PNG))
        sent = await front_end.send(plan, other)
        if "parts" in plan:
            assert sent.is_success  # S3 knows no SHA-256 of a file in parts: we compute it.
            answer = await front_end.complete(plan)
            assert answer.json()["limit"] == checksum_of(PNG)
            assert answer.json()["received"] == checksum_of(other)
        else:
            assert sent.status_code == (400 if "fields" in plan else 422)
            answer = await front_end.complete(plan)
        assert answer.status_code in (404, 422)
        await assert_nothing_is_left(storage)


@pytest.mark.parametrize(
    "content, content_type, status",
    [
        (PNG + b"!", "image/png", 413),
        (PNG[:-1], "image/png", 422),
        (PNG, "text/html", 415),
        (PNG[:-1] + b"!", "image/png", 422),
    ],
    ids=["larger", "smaller", "type", "checksum"],
)
async def test_what_a_careless_server_took_is_refused(
    storage: Storage, content: bytes, content_type: str, status: int
) -> None:
    """Nobody checked these when they came: not every S3 server knows every part of a policy."""
    async with run_uploads(storage) as front_end:
        claims = {"content_type": "image/png", "checksum": checksum_of(PNG)}
        await front_end.send(plan := await front_end.plan(PNG, **claims), PNG)
        [name] = await list_names(storage)
        await storage.upload(content, name, content_type=content_type)
        answer = await front_end.complete(plan)
        if content == PNG and not isinstance(storage, S3Storage):
            assert answer.status_code == 201  # What the app stores has the type of its bytes.
            return
        assert answer.status_code == status, answer.text
        assert "limit" in answer.json()
        assert "received" in answer.json()
        await assert_nothing_is_left(storage)


async def test_an_incomplete_file_is_refused(storage: Storage) -> None:
    if not isinstance(storage, S3Storage):
        pytest.skip("Only S3 takes files in parts.")
    content = bytes(9 * MIB)
    async with run_uploads(storage, multipart_threshold=0) as front_end:
        plan = await front_end.plan(content)
        first, _ = plan["parts"]
        assert (await front_end.send({**plan, "parts": [first]}, content)).is_success
        answer = await front_end.complete(plan)
        assert answer.status_code == 422
        assert (answer.json()["limit"], answer.json()["received"]) == (9 * MIB, 8 * MIB)
        await assert_nothing_is_left(storage)


# Races


@pytest.mark.parametrize("threshold", [0, "1GiB"])
async def test_of_many_completions_at_once_one_wins(storage: Storage, threshold: int | str) -> None:
    async with run_uploads(storage, IMAGES, multipart_threshold=threshold) as front_end:
        plan = await front_end.plan(PNG, content_type="image/png")
        await front_end.send(plan, PNG)
        answers = await asyncio.gather(*(front_end.complete(plan) for _ in range(10)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [201, *[404] * 9]
        [name] = await list_names(storage)
        async with storage.open(name) as reader:
            assert await reader.read() == PNG


async def test_a_ticket_works_once(storage: Storage) -> None:
    async with run_uploads(storage) as front_end:
        plan = await front_end.plan(PNG, content_type="image/png")
        await front_end.send(plan, PNG)
        assert (await front_end.complete(plan)).status_code == 201
        assert (await front_end.complete(plan)).status_code == 404
        [name] = await list_names(storage)
        # The URL still works, but leads nowhere.
        assert (await front_end.send(plan, PNG)).is_success
        assert (await front_end.complete(plan)).status_code == 404
        assert await list_names(storage) == [name]


@pytest.mark.parametrize("prefix", ["", "photos"])
async def test_a_ticket_makes_no_second_file_of_another_type(storage: Storage, prefix: str) -> None:
    pdf = PDF.ljust(len(PNG))
    async with run_uploads(storage, prefix=prefix) as front_end:
        plan = await front_end.plan(pdf, "a.bin")
        await front_end.send(plan, PNG)
        first = await front_end.complete(plan)
        assert first.status_code == 201
        assert (await front_end.send(plan, pdf)).is_success
        assert (await front_end.complete(plan)).status_code == 404
        assert await list_names(storage) == [first.json()["name"]]


async def test_of_completions_of_two_types_at_once_one_wins(storage: Storage) -> None:
    """The second one comes while the first one checks what it read of the first bytes."""
    pdf = PDF.ljust(len(PNG))
    others: list[int] = []

    async def replace_and_complete(file: IncomingFile) -> None:
        if file.media_type == "image/png":
            assert (await front_end.send(plan, pdf)).is_success
            others.append((await front_end.complete(plan)).status_code)

    async with run_uploads(storage, UploadRules(validators=[replace_and_complete])) as front_end:
        plan = await front_end.plan(pdf, "a.bin")
        await front_end.send(plan, PNG)
        assert (await front_end.complete(plan)).status_code in (404, 412)
        assert others == [201]
        [name] = await list_names(storage)
        assert name.endswith(".pdf")


@pytest.mark.parametrize("types", [["image/*"], None])  # With them, the end is read after it.
async def test_what_is_replaced_while_it_is_checked_is_refused(
    storage: Storage, types: list[str] | None
) -> None:
    replaced: list[Any] = []

    async def replace_now(_: IncomingFile) -> None:
        replaced.append(await front_end.send(plan, HTML.ljust(len(PNG))))

    rules = UploadRules(types=types, validators=[replace_now])
    async with run_uploads(storage, rules) as front_end:
        plan = await front_end.plan(PNG, content_type="image/png")
        await front_end.send(plan, PNG)
        answer = await front_end.complete(plan)
        assert answer.status_code == 412, answer.text
        assert replaced[0].is_success
        await assert_nothing_is_left(storage)


async def test_what_is_replaced_while_it_is_scanned_is_refused(
    storage: Storage,
) -> None:
    async def replace_now(
        file: IncomingFile, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        assert (await front_end.send(plan, b"\1" * len(content))).is_success
        async for chunk in chunks:
            yield chunk

    content = bytes(3 * MIB)
    async with run_uploads(storage, UploadRules(scanners=[replace_now])) as front_end:
        plan = await front_end.plan(content)
        await front_end.send(plan, content)
        answer = await front_end.complete(plan)
        assert answer.status_code == 412, answer.text
        await assert_nothing_is_left(storage)


# Ending early


@pytest.mark.parametrize("threshold", [0, "1GiB"])
@pytest.mark.parametrize("sends", [True, False])
async def test_an_aborted_upload_leaves_nothing(
    storage: Storage, threshold: int | str, *, sends: bool
) -> None:
    async with run_uploads(storage, multipart_threshold=threshold) as front_end:
        plan = await front_end.plan(PNG)
        if sends:
            await front_end.send(plan, PNG)
        for _ in range(2):
            assert (await front_end.abort(plan)).status_code == 204
        await assert_nothing_is_left(storage)
        assert (await front_end.complete(plan)).status_code == 404


async def test_a_complete_file_is_not_aborted(storage: Storage) -> None:
    async with run_uploads(storage) as front_end:
        plan = await front_end.plan(PNG)
        await front_end.send(plan, PNG)
        name = (await front_end.complete(plan)).json()["name"]
        assert (await front_end.abort(plan)).status_code == 204
        assert await list_names(storage) == [name]


async def test_nothing_is_served_that_is_not_verified(storage: Storage) -> None:
    app = make_uploads_app(storage)
    app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
    async with open_front_end(app) as front_end:
        plan = await front_end.plan(HTML, "a.html", content_type="text/html")
        await front_end.send(plan, HTML)
        [pending] = await list_names(storage)
        assert (await front_end.app.get(f"/files/{pending}")).status_code == 404
        # On macOS and Windows this is the same file; here it has to be put there.
        await storage.upload(HTML, pending.upper())
        assert (await front_end.app.get(f"/files/{pending.upper()}")).status_code == 404
        await storage.delete(pending.upper())
        name = (await front_end.complete(plan)).json()["name"]
        assert (await front_end.app.get(f"/files/{name}")).status_code == 200


# Names


NAMES = {
    "../../etc/passwd": "passwd",
    "..\\..\\boot.ini": "boot.ini",
    '"quoted"; filename="evil.exe': '"quoted"; filename="evil.exe',
    "split\r\nSet-Cookie: a=b": "splitSet-Cookie: a=b",
    "nul\0.png": "nul.png",
    "\u202egpj.exe": "gpj.exe",
    "half a pair \udc80.png": "half a pair .png",
    "..": None,
    "": None,
    "日" * 4096 + ".png": "日" * 83 + ".png",
    "😀" * 1024: "😀" * 63,
}


@pytest.mark.parametrize("filename", NAMES)
async def test_a_file_name_is_data(storage: Storage, filename: str) -> None:
    async with run_uploads(storage, prefix="safe") as front_end:
        answer = await front_end.upload(PNG, filename, content_type="image/png")
        assert answer.status_code == 201, answer.text
        assert answer.json()["filename"] == NAMES[filename]
        [name] = await list_names(storage)
        assert re.fullmatch(r"safe/[0-9a-f-]{36}\.png", name)
        assert (await storage.get_info(name)).filename == NAMES[filename]
