"""Tickets over HTTP: forged, old, foreign or misused ones open nothing and change nothing."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException

from fastapi_async_storages import (
    LocalStorage,
    MemoryStorage,
    Storage,
    Storages,
    UploadRules,
    create_files_router,
    public,
    signed_urls,
)
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.routers.uploads import create_uploads_router
from fastapi_async_storages.uploads.tickets import TicketOffice
from tests.servers.http_server import serve
from tests.uploads.front_end import (
    SECRET_KEY,
    FrontEnd,
    assert_nothing_is_left,
    list_names,
    make_uploads_app,
    open_front_end,
    run_uploads,
)
from tests.uploads.samples import PNG

pytestmark = pytest.mark.anyio


async def get_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    """Tell who makes the request. A real app asks its session or its token."""
    return x_user


@pytest.fixture
async def front_end(storage: Storage) -> AsyncIterator[FrontEnd]:
    async with run_uploads(storage, user=get_user) as front_end:
        front_end.app.headers["x-user"] = "ann"
        yield front_end


async def send_one(front_end: FrontEnd) -> dict[str, Any]:
    plan = await front_end.plan(PNG, "a.png", content_type="image/png")
    assert (await front_end.send(plan, PNG)).is_success
    return plan


async def assert_refused(
    front_end: FrontEnd, storage: Storage, plan: dict[str, Any], status: int = 403
) -> None:
    """Check that a ticket neither completes nor aborts the upload that waits."""
    before = await list_names(storage)
    assert len(before) == 1
    for ask in (front_end.complete, front_end.abort):
        answer = await ask(plan)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert await list_names(storage) == before


def make_office(user: str = "ann", path: str = "/uploads/direct") -> TicketOffice:
    return TicketOffice(SECRET_KEY, place=f"default\n{path}", user=user)


async def test_the_office_of_these_tests_is_that_of_the_router(front_end: FrontEnd) -> None:
    plan = await send_one(front_end)
    ticket = make_office().verify(plan["ticket"])
    answer = await front_end.complete({**plan, "ticket": make_office().sign(ticket)})
    assert answer.status_code == 201


@pytest.mark.parametrize("forged", ["", "x", "x.y", "\0", "日本", "\udc80", "." * 60_000])
async def test_a_forged_ticket(front_end: FrontEnd, storage: Storage, forged: str) -> None:
    await send_one(front_end)
    for path in ("/direct/complete", "/direct/abort"):
        assert (await front_end.post(path, {"ticket": forged})).status_code == 403
    assert len(await list_names(storage)) == 1


@pytest.mark.parametrize("position", [0, 20, -30, -1])
async def test_a_ticket_that_was_tampered_with(
    front_end: FrontEnd, storage: Storage, position: int
) -> None:
    plan = await send_one(front_end)
    letters = list(plan["ticket"])
    letters[position] = "A" if letters[position] != "A" else "Q"
    await assert_refused(front_end, storage, {**plan, "ticket": "".join(letters)})


async def test_a_ticket_that_promises_more(front_end: FrontEnd, storage: Storage) -> None:
    plan = await send_one(front_end)
    payload, _, signature = plan["ticket"].rpartition(".")
    larger = replace(make_office().verify(plan["ticket"]), size=10**12)
    other_payload = make_office().sign(larger).rpartition(".")[0]
    assert other_payload != payload
    await assert_refused(front_end, storage, {**plan, "ticket": f"{other_payload}.{signature}"})


async def test_a_ticket_that_has_expired(front_end: FrontEnd, storage: Storage) -> None:
    plan = await send_one(front_end)
    ticket = make_office().verify(plan["ticket"])
    old = make_office().sign(replace(ticket, expires_at=int(time.time()) - 1))
    await assert_refused(front_end, storage, {**plan, "ticket": old}, status=410)


async def test_a_ticket_of_somebody_else(front_end: FrontEnd, storage: Storage) -> None:
    plan = await send_one(front_end)
    for other in ("bob", "Ann", "ann ", ""):
        front_end.app.headers["x-user"] = other
        await assert_refused(front_end, storage, plan)
    del front_end.app.headers["x-user"]
    await assert_refused(front_end, storage, plan)
    front_end.app.headers["x-user"] = "ann"
    assert (await front_end.complete(plan)).status_code == 201


async def test_a_ticket_of_another_app(front_end: FrontEnd, storage: Storage) -> None:
    plan = await send_one(front_end)
    ticket = make_office().verify(plan["ticket"])
    other = TicketOffice("the key of another app", place="default\n/uploads/direct", user="ann")
    await assert_refused(front_end, storage, {**plan, "ticket": other.sign(ticket)})


async def test_a_ticket_of_another_router(storage: Storage) -> None:
    """The rules of the router that made it must not be replaced by more lenient ones."""
    app = make_uploads_app(storage, UploadRules(types=["image/*"]))
    lenient = create_uploads_router(rules=UploadRules(), access=public, secret_key=SECRET_KEY)
    app.include_router(lenient, prefix="/lenient")
    async with open_front_end(app) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        for path in ("complete", "abort"):
            plan[f"{path}_url"] = f"/lenient/direct/{path}"
        await assert_refused(front_end, storage, plan)


async def test_a_ticket_of_another_storage() -> None:
    storages = Storages(MemoryStorage(), other=MemoryStorage())
    app = make_uploads_app(storages)
    ticket = make_office("").verify((await plan_one(app))["ticket"])
    other = TicketOffice(SECRET_KEY, place="other\n/uploads/direct").sign(ticket)
    async with open_front_end(app) as front_end:
        assert (await front_end.post("/direct/complete", {"ticket": other})).status_code == 403


async def plan_one(app: FastAPI) -> dict[str, Any]:
    async with open_front_end(app) as front_end:
        return await front_end.plan(PNG, "a.png", content_type="image/png")


# Purposes


async def test_the_url_for_the_bytes_does_not_complete_them() -> None:
    async with run_uploads(MemoryStorage()) as front_end:
        plan = await send_one(front_end)
        token = plan["url"].partition("token=")[2]
        for path in ("/direct/complete", "/direct/abort"):
            assert (await front_end.post(path, {"ticket": token})).status_code == 403


async def test_a_ticket_is_no_url_for_bytes(storage: Storage) -> None:
    async with run_uploads(storage) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        answer = await front_end.app.put(
            "/uploads/direct",
            params={"token": plan["ticket"]},
            content=PNG,
            headers={"content-type": "image/png"},
        )
        assert answer.status_code == 403
        await assert_nothing_is_left(storage)


@pytest.mark.parametrize("token", ["", "x", "\0", "日本"])
async def test_a_forged_url_takes_no_bytes(storage: Storage, token: str) -> None:
    async with run_uploads(storage) as front_end:
        answer = await front_end.app.put("/uploads/direct", params={"token": token}, content=PNG)
        assert answer.status_code == 403
        assert (await front_end.app.put("/uploads/direct", content=PNG)).status_code == 422
        await assert_nothing_is_left(storage)


async def test_a_url_for_bytes_expires() -> None:
    storage = MemoryStorage()
    async with run_uploads(storage) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        office = make_office("")
        old = replace(office.verify(plan["ticket"]), expires_at=int(time.time()) - 1)
        plan["url"] = f"/uploads/direct?token={office.sign_url(old)}"
        assert (await front_end.send(plan, PNG)).status_code == 410
        await assert_nothing_is_left(storage)


async def test_links_and_tickets_are_not_each_other(tmp_path: Any) -> None:
    """Both may be signed with the key of the storage."""
    storage = LocalStorage(tmp_path, base_url="/files", secret_key=SECRET_KEY)
    app = make_uploads_app(storage, secret_key=None)
    app.include_router(create_files_router(access=signed_urls), prefix="/files")
    async with open_front_end(app) as front_end:
        plan = await send_one(front_end)
        stored = (await front_end.complete(plan)).json()
        link = await storage.get_path(stored["name"])
        assert (await front_end.app.get(link)).content == PNG
        token = link.partition("token=")[2]
        assert (await front_end.post("/direct/complete", {"ticket": token})).status_code == 403
        for wrong in (plan["ticket"], plan["url"].partition("token=")[2]):
            answer = await front_end.app.get(f"/files/{stored['name']}", params={"token": wrong})
            assert answer.status_code == 403


# Keys


async def test_a_storage_without_a_key_needs_one_for_the_router(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_uploads(storage, secret_key=None) as front_end:
        answer = await front_end.announce(PNG)
        assert answer.status_code == 500
        assert "secret_key" not in answer.text
        assert "pass secret_key to create_uploads_router()" in caplog.text
        await assert_nothing_is_left(storage)


async def test_a_ticket_survives_the_rotation_of_the_key(storage: Storage) -> None:
    async with run_uploads(storage, secret_key="the old key of some length") as front_end:
        plan = await send_one(front_end)
    keys = [SECRET_KEY, "the old key of some length"]
    async with run_uploads(storage, secret_key=keys) as front_end:
        assert (await front_end.complete(plan)).status_code == 201


# Who may


async def test_who_may_not_upload_gets_no_ticket_and_keeps_none(storage: Storage) -> None:
    async def is_ann(user: Annotated[str | None, Header(alias="x-user")] = None) -> bool:
        if user is None:
            raise HTTPException(401, "Log in first.")
        return user == "ann"

    async with run_uploads(storage, access=is_ann) as front_end:
        assert (await front_end.announce(PNG)).status_code == 401
        front_end.app.headers["x-user"] = "bob"
        assert (await front_end.announce(PNG)).status_code == 403
        front_end.app.headers["x-user"] = "ann"
        plan = await send_one(front_end)
        front_end.app.headers["x-user"] = "bob"
        await assert_refused(front_end, storage, plan)
        front_end.app.headers["x-user"] = "ann"
        assert (await front_end.complete(plan)).status_code == 201


async def test_behind_a_proxy_the_urls_have_the_public_path() -> None:
    """The proxy strips "/api/v1", and the server puts it back for the app to know."""
    storage = MemoryStorage()
    with serve(make_uploads_app(storage), root_path="/api/v1") as url:
        async with httpx.AsyncClient(base_url=url) as client:
            front_end = FrontEnd(client, client)
            plan = await front_end.plan(PNG, "a.png", content_type="image/png")
            for key in ("url", "complete_url", "abort_url"):
                assert plan[key].startswith(f"{url}/api/v1/uploads/direct"), key
                plan[key] = plan[key].replace("/api/v1", "")  # What the proxy does.
            assert (await front_end.send(plan, PNG)).status_code == 204
            assert (await front_end.complete(plan)).status_code == 201


async def test_a_router_of_a_mounted_app_has_its_whole_path(storage: Storage) -> None:
    inner = make_uploads_app(storage)
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.mount("/inner", inner)
    async with open_front_end(app, "/inner/uploads") as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        assert plan["complete_url"] == "http://test/inner/uploads/direct/complete"
        await front_end.send(plan, PNG)
        assert (await front_end.complete(plan)).status_code == 201
