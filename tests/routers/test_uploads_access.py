"""Who may upload and delete, what the app does with a file, and what it takes back."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from fastapi_async_storages import (
    MemoryStorage,
    Storage,
    StorageFile,
    Storages,
    UploadRules,
    public,
    signed_urls,
)
from fastapi_async_storages.exceptions import ConfigurationError, InvalidNameError
from fastapi_async_storages.http.problems import add_problem_handlers
from fastapi_async_storages.routers.uploads import create_uploads_router
from tests.uploads.front_end import (
    SECRET_KEY,
    FrontEnd,
    assert_nothing_is_left,
    list_names,
    make_uploads_app,
    open_front_end,
    run_uploads,
)
from tests.uploads.samples import HTML, PNG

pytestmark = pytest.mark.anyio

IMAGES = UploadRules(types=["image/*"])


def deny(request: Request) -> bool:
    return request.headers.get("x-user") == "ann"


async def upload_directly(front_end: FrontEnd) -> tuple[int, dict[str, Any]]:
    answer = await front_end.upload(PNG, "a.png", content_type="image/png")
    return answer.status_code, answer.json()


async def upload_as_form(front_end: FrontEnd) -> tuple[int, dict[str, Any]]:
    answer = await front_end.app.post("/uploads/", files={"file": ("a.png", PNG, "image/png")})
    return answer.status_code, answer.json()


Upload = Callable[[FrontEnd], Any]
WAYS = pytest.mark.parametrize("upload", [upload_directly, upload_as_form])


# After the file is stored


@WAYS
async def test_the_app_is_called_with_each_file(storage: Storage, upload: Upload) -> None:
    rows: list[tuple[str, str, int | None]] = []

    async def get_session(request: Request) -> AsyncIterator[list[Any]]:
        yield rows

    async def make_row(
        file: StorageFile, session: Annotated[list[Any], Depends(get_session)]
    ) -> None:
        assert file.info
        session.append((file.name, file.info.content_type, file.info.width))

    async with run_uploads(storage, form=True, prefix="photos", on_stored=make_row) as front_end:
        status, stored = await upload(front_end)
        assert status == 201
        assert rows == [(stored["name"], "image/png", 32)]
        assert stored["name"].startswith("photos/")


@WAYS
async def test_a_file_that_the_app_does_not_want_is_deleted(
    storage: Storage, upload: Upload
) -> None:
    def refuse(file: Any) -> None:
        raise HTTPException(402, f"Pay for {file.info.filename} first.")

    async with run_uploads(storage, form=True, on_stored=refuse) as front_end:
        status, problem = await upload(front_end)
        assert status == 402
        assert problem == {"detail": "Pay for a.png first."}
        await assert_nothing_is_left(storage)


@WAYS
async def test_a_file_that_a_transaction_keeps_is_not_deleted(
    storage: Storage, upload: Upload
) -> None:
    async def keep_and_fail(file: StorageFile) -> None:
        file._fresh = False  # What a tracked flush does when it takes a file over.
        raise HTTPException(500)

    async with run_uploads(storage, form=True, on_stored=keep_and_fail) as front_end:
        status, _ = await upload(front_end)
        assert status == 500
        assert len(await list_names(storage)) == 1


async def test_a_refused_file_does_not_reach_the_app(storage: Storage) -> None:
    async def fail(file: StorageFile) -> None:
        raise AssertionError

    async with run_uploads(storage, IMAGES, form=True, on_stored=fail) as front_end:
        assert (await front_end.upload(HTML)).status_code == 415
        answer = await front_end.app.post("/uploads/", files={"file": ("a.png", HTML)})
        assert answer.status_code == 415
        await assert_nothing_is_left(storage)


# A form


async def test_a_form_is_taken_only_where_that_is_wanted() -> None:
    async with run_uploads(MemoryStorage()) as front_end:
        assert (await upload_as_form(front_end))[0] in (404, 405)


async def test_the_file_may_be_the_body(storage: Storage) -> None:
    async with run_uploads(storage, form=True) as front_end:
        answer = await front_end.app.post(
            "/uploads/",
            content=PNG,
            headers={
                "content-type": "image/png",
                "content-disposition": 'attachment; filename="a.png"',
            },
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["filename"] == "a.png"


async def test_who_may_not_upload_sends_no_body(storage: Storage) -> None:
    sent: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        sent.append(PNG)
        yield PNG

    async with run_uploads(storage, access=deny, form=True) as front_end:
        headers = {"content-type": "image/png"}
        answer = await front_end.app.post("/uploads/", content=body(), headers=headers)
        assert answer.status_code == 403
        assert answer.json()["detail"] == "You are not allowed to do this."
        assert sent == []
        front_end.app.headers["x-user"] = "ann"
        assert (await upload_as_form(front_end))[0] == 201


# Deleting


async def owns(file: StorageFile, x_user: Annotated[str, Header()] = "") -> bool:
    return file.name.startswith(f"photos/{x_user}")


async def run_with_files(
    storage: Storage, delete: Any = owns, **options: Any
) -> tuple[FastAPI, list[str]]:
    names = ["photos/ann-1.png", "photos/bob-1.png", "letters/ann.txt"]
    for name in names:
        await storage.upload(PNG, name)
    return make_uploads_app(storage, prefix="photos", delete=delete, **options), names


async def test_files_are_deleted_only_where_that_is_wanted(storage: Storage) -> None:
    app, names = await run_with_files(storage, None)
    async with open_front_end(app) as front_end:
        assert (await front_end.app.delete(f"/uploads/{names[0]}")).status_code in (404, 405)
        assert sorted(await list_names(storage)) == sorted(names)


async def test_who_may_delete_which_file_is_a_rule(storage: Storage) -> None:
    app, [anns, bobs, _] = await run_with_files(storage)
    async with open_front_end(app) as front_end:
        front_end.app.headers["x-user"] = "ann"
        assert (await front_end.app.delete(f"/uploads/{bobs}")).status_code == 403
        for _ in range(2):  # To delete a file that is gone is no error.
            assert (await front_end.app.delete(f"/uploads/{anns}")).status_code == 204
        assert await storage.exists(bobs)
        assert not await storage.exists(anns)


async def test_who_may_not_upload_may_not_delete_either(storage: Storage) -> None:
    app, [anns, *_] = await run_with_files(storage, public, access=deny)
    async with open_front_end(app) as front_end:
        assert (await front_end.app.delete(f"/uploads/{anns}")).status_code == 403
        front_end.app.headers["x-user"] = "ann"
        assert (await front_end.app.delete(f"/uploads/{anns}")).status_code == 204


async def test_only_files_of_the_router_are_deleted(storage: Storage) -> None:
    def everything(file: Any) -> bool:
        return bool(file.name)

    app, names = await run_with_files(storage, everything)
    async with open_front_end(app) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        [pending] = [name for name in await list_names(storage) if name not in names]
        for name in ("letters/ann.txt", pending, "photos", "photosx/1"):
            assert (await front_end.app.delete(f"/uploads/{name}")).status_code == 404, name
        for name in ("photos/%2e%2e/letters/ann.txt", "photos/%00"):
            assert (await front_end.app.delete(f"/uploads/{name}")).status_code == 422, name
        assert (await front_end.app.delete(f"/uploads/{names[0]}")).status_code == 204
        assert sorted(await list_names(storage)) == sorted([*names[1:], pending])


# What cannot work


def ask_for_file(file: StorageFile) -> bool:
    return bool(file)


def yield_sync(file: StorageFile) -> Iterator[None]:
    yield


async def yield_async(file: StorageFile) -> AsyncIterator[None]:
    yield


class YieldingObject:
    async def __call__(self, file: StorageFile) -> AsyncIterator[None]:
        yield


@pytest.mark.parametrize(
    "options, message",
    [
        ({"access": ask_for_file}, "asks for a file"),
        ({"access": signed_urls}, "asks for a file"),
        ({"on_stored": yield_sync}, "yield_sync.* is a generator.* Depends"),
        ({"on_stored": yield_async}, "yield_async.* is a generator.* Depends"),
        ({"on_stored": partial(yield_async)}, "yield_async.* is a generator.* Depends"),
        ({"on_stored": YieldingObject()}, "YieldingObject.* is a generator.* Depends"),
        ({"delete": yield_async}, "yield_async.* is a generator.* Depends"),
        ({"access": public, "delete": public}, "everybody delete every file"),
        ({"access": deny, "delete": signed_urls}, "must not delete it"),
        ({"secret_key": "short"}, "at least 16 bytes"),
        ({"expires_in": 0}, "1 to 604800 seconds"),
        ({"expires_in": 604801}, "1 to 604800 seconds"),
        ({"multipart_threshold": "6GiB"}, "more than the 5368709120 bytes"),
        ({"multipart_threshold": "lots"}, "is no size"),
        ({"prefix": "pending"}, "not verified yet"),
        ({"prefix": "pending/mine"}, "not verified yet"),
        ({"prefix": "Pending"}, "not verified yet"),
    ],
)
def test_what_cannot_work_is_told_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_uploads_router(rules=UploadRules(), **{"access": public, **options})


def test_a_prefix_that_is_no_name_is_told_at_once() -> None:
    with pytest.raises(InvalidNameError):
        create_uploads_router(rules=UploadRules(), access=public, prefix="../up")


async def test_a_rule_that_says_nothing_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    async with run_uploads(MemoryStorage(), access=lambda: None) as front_end:
        assert (await front_end.announce(PNG)).status_code == 500
        assert "must return True or False" in caplog.text


# Several storages, several routers


async def test_a_router_uploads_to_the_storage_that_it_names() -> None:
    default, avatars = MemoryStorage(), MemoryStorage()
    app = make_uploads_app(Storages(default, avatars=avatars), storage="avatars", form=True)
    async with open_front_end(app) as front_end:
        assert (await upload_directly(front_end))[0] == 201
        assert (await upload_as_form(front_end))[0] == 201
        assert len(await list_names(avatars)) == 2
        assert await list_names(default) == []


async def test_the_handlers_of_the_app_answer_too(storage: Storage) -> None:
    app = make_uploads_app(storage, IMAGES)
    add_problem_handlers(app)
    async with open_front_end(app) as front_end:
        answer = await front_end.upload(HTML)
        assert answer.status_code == 415
        assert answer.headers["content-type"] == "application/problem+json"
        await assert_nothing_is_left(storage)


def test_the_secret_of_these_tests_is_long_enough() -> None:
    create_uploads_router(rules=UploadRules(), access=public, secret_key=[SECRET_KEY, SECRET_KEY])
