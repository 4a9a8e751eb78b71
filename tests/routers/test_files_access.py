"""Who may read which file, and what everybody else hears."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from httpx import AsyncClient, Response

from fastapi_async_storages import (
    LocalStorage,
    MemoryStorage,
    Storage,
    StorageFile,
    Storages,
    create_files_router,
    public,
    signed_urls,
)
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.links import Link
from fastapi_async_storages.signing import TokenSigner
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

KEY = "a key of more than sixteen bytes"
OTHER_KEY = "another key of the same length.."


@pytest.fixture(params=["memory", "local"])
def signing(request: pytest.FixtureRequest, tmp_path: Any) -> Storage:
    """A storage that signs its links."""
    options: dict[str, Any] = {"base_url": "/files", "secret_key": KEY}
    return (
        MemoryStorage(**options) if request.param == "memory" else LocalStorage(tmp_path, **options)
    )


@asynccontextmanager
async def serve(storage: Storage | Storages, **options: Any) -> AsyncIterator[AsyncClient]:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(**{"mode": "proxy", **options}), prefix="/files")
    async with open_client(app) as client:
        yield client


def problem(answer: Response) -> str:
    """Return the last part of the problem's type."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    kind: str = answer.json()["type"]
    return kind.rpartition(":")[2]


def test_access_has_no_default() -> None:
    with pytest.raises(TypeError, match="access"):
        create_files_router()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "option",
    [
        {"mode": "proxied"},
        {"denial": "hidden"},
        {"disposition": "download"},
        {"redirect_status": 301},
        {"scriptable_types": ["html"]},
    ],
    ids=str,
)
def test_an_option_that_is_none_is_refused_at_once(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(option.values())))[2:6]):
        create_files_router(access=public, **option)


async def test_public_files_are_everybodys(storage: Storage) -> None:
    async with serve(storage, access=public) as client:
        await storage.upload(b"text", "a/b.txt")

        assert (await client.get("/files/a/b.txt")).content == b"text"
        assert problem(await client.get("/files/a/c.txt")) == "not-found"


class TestSignedUrls:
    """``signed_urls``: whoever holds a link that the storage signed, until it expires."""

    async def test_a_link_opens_its_file(self, signing: Storage) -> None:
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "ordner/ü ?#%2F+.txt")
            link = await signing.get_path("ordner/ü ?#%2F+.txt")

            answer = await client.get(link)

            assert answer.content == b"text"
            assert (await client.head(link)).headers == answer.headers
            assert (await client.get(link, headers={"Range": "bytes=1-2"})).content == b"ex"

    async def test_a_link_says_how_the_file_is_shown(self, signing: Storage) -> None:
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "file.txt")
            link = await signing.get_path(
                "file.txt", filename="Bericht.exe", disposition="attachment"
            )
            shown = await signing.get_path("file.txt", disposition="inline")

            assert (await client.get(link)).headers["content-disposition"] == (
                'attachment; filename="Bericht.exe"'
            )
            # What is signed comes before what is added behind it.
            added = await client.get(f"{shown}&download=1")
            assert added.headers["content-disposition"] == 'inline; filename="file.txt"'

    @pytest.mark.parametrize("token", ["", "?token=", "?token=x", "?token=a.b.c", "?token=%00"])
    async def test_no_link_opens_nothing(self, signing: Storage, token: str) -> None:
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "file.txt")

            answer = await client.get(f"/files/file.txt{token}")

            assert answer.status_code == 403
            assert problem(answer) == "invalid-signature"

    async def test_every_changed_character_is_noticed(self, signing: Storage) -> None:
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "file.txt")
            link = await signing.get_path("file.txt")
            start = link.index("token=") + len("token=")
            for position in range(start, len(link) - 1):
                changed = "A" if link[position] != "A" else "B"
                forged = link[:position] + changed + link[position + 1 :]
                assert (await client.get(forged)).status_code == 403, forged

    async def test_a_link_opens_no_other_file(self, signing: Storage) -> None:
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "mine.txt")
            await signing.upload(b"secret", "yours.txt")
            link = await signing.get_path("mine.txt")

            assert (await client.get(link.replace("mine", "yours"))).status_code == 403

    async def test_an_expired_link_is_gone(
        self, signing: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "file.txt")
            link = await signing.get_path("file.txt", expires_in=100)
            monkeypatch.setattr("time.time", lambda: now + 99)
            assert (await client.get(link)).status_code == 200
            monkeypatch.setattr("time.time", lambda: now + 111)

            answer = await client.get(link)

        assert answer.status_code == 410
        assert problem(answer) == "link-expired"

    async def test_keys_rotate(self) -> None:
        files = {"base_url": "/files"}
        before = MemoryStorage(secret_key=KEY, **files)
        during = MemoryStorage(secret_key=[OTHER_KEY, KEY], **files)
        after = MemoryStorage(secret_key=OTHER_KEY, **files)
        old, new = await before.get_path("file"), await during.get_path("file")

        async def statuses(storage: Storage) -> list[int]:
            await storage.upload(b"text", "file")
            async with serve(storage, access=signed_urls) as client:
                return [(await client.get(link)).status_code for link in (old, new)]

        assert await statuses(before) == [200, 403]
        assert await statuses(during) == [200, 200]
        assert await statuses(after) == [403, 200]

    async def test_a_token_for_another_purpose_opens_nothing(self, signing: Storage) -> None:
        token = TokenSigner(KEY, purpose="upload").sign({}, expires_at=4_000_000_000)
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "file")

            assert (await client.get(f"/files/file?token={token}")).status_code == 403

    async def test_a_link_of_another_storage_with_the_same_key_opens_nothing(self) -> None:
        mine = MemoryStorage(base_url="/files", secret_key=KEY)
        yours = MemoryStorage(base_url="/others", secret_key=KEY)
        await mine.upload(b"text", "file")
        link = await yours.get_path("file")
        async with serve(mine, access=signed_urls) as client:
            answer = await client.get(link.replace("/others", "/files"))

        assert answer.status_code == 403

    async def test_without_a_key_the_server_says_what_is_missing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = MemoryStorage(base_url="/files")
        async with serve(storage, access=signed_urls) as client:
            answer = await client.get("/files/file?token=x")

        assert answer.status_code == 500
        assert "secret_key" in caplog.text
        assert "secret_key" not in answer.text

    async def test_links_are_kept_by_their_holder_only(self, signing: Storage) -> None:
        async with serve(signing, access=signed_urls) as client:
            await signing.upload(b"text", "file", cache_control="public, max-age=60")
            answer = await client.get(await signing.get_path("file"))

        assert answer.headers["cache-control"] == "private, max-age=60"


async def get_user(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return x_user


async def owners_only(
    request: Request, file: StorageFile, user: Annotated[str, Depends(get_user)]
) -> bool:
    assert request.url.path.startswith("/files/")
    return file.name.startswith(f"{user}/")


class OwnersOnly:
    """A rule that is an object."""

    async def __call__(self, file: StorageFile, user: Annotated[str, Depends(get_user)]) -> bool:
        return file.name.startswith(f"{user}/")


def sync_owners_only(file: StorageFile, user: Annotated[str, Depends(get_user)]) -> bool:
    return file.name.startswith(f"{user}/")


async def bare_owners_only(request, file):  # type: ignore[no-untyped-def]
    return file.name.startswith(f"{request.headers['x-user']}/")


async def owners_only_by_name(name: str, user: Annotated[str, Depends(get_user)]) -> bool:
    return name.startswith(f"{user}/")


class TestRules:
    """A rule of the app: any callable, with whatever it asks FastAPI for."""

    @pytest.mark.parametrize(
        "rule",
        [
            owners_only,
            OwnersOnly(),
            sync_owners_only,
            bare_owners_only,
            owners_only_by_name,
            lambda file, request: sync_owners_only(file, request.headers["x-user"]),
            lambda file, request: owners_only(request, file, request.headers["x-user"]),
        ],
        ids=["async", "object", "sync", "bare", "by name", "lambda", "lambda of async"],
    )
    async def test_a_rule_decides_for_each_file(self, rule: Any) -> None:
        storage = MemoryStorage()
        await storage.upload(b"text", "ann/file.txt")
        async with serve(storage, access=rule) as client:
            mine = await client.get("/files/ann/file.txt", headers={"X-User": "ann"})
            head = await client.head("/files/ann/file.txt", headers={"X-User": "bob"})
            yours = await client.get("/files/ann/file.txt", headers={"X-User": "bob"})

        assert mine.content == b"text"
        assert head.status_code == 403
        assert head.content == b""
        assert yours.status_code == 403
        assert problem(yours) == "access-denied"

    async def test_a_rule_sees_the_name_as_the_storage_has_it(self) -> None:
        seen = []

        async def remember(file: StorageFile) -> bool:
            seen.append(file.name)
            return True

        async with serve(MemoryStorage(), access=remember) as client:
            await client.get("/files/ann/.//x//e%CC%81.txt")

        assert seen == ["ann/x/é.txt"]

    async def test_a_rule_may_answer_itself(self) -> None:
        async with serve(MemoryStorage(), access=owners_only) as client:
            answer = await client.get("/files/ann/file.txt")

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"

    async def test_a_rule_may_say_how_the_file_is_shown(self) -> None:
        async def name_it() -> Link:
            return Link(filename="Vertrag.txt", disposition="attachment")

        storage = MemoryStorage()
        await storage.upload(b"text", "0197f1d0.txt")
        async with serve(storage, access=name_it) as client:
            answer = await client.get("/files/0197f1d0.txt")

        assert answer.headers["content-disposition"] == 'attachment; filename="Vertrag.txt"'

    async def test_the_users_dependencies_can_be_overridden(self) -> None:
        storage = MemoryStorage()
        await storage.upload(b"text", "ann/file.txt")
        app = FastAPI(lifespan=storage_lifespan(storage))
        app.include_router(create_files_router(access=owners_only), prefix="/files")
        app.dependency_overrides[get_user] = lambda: "ann"
        async with open_client(app) as client:
            assert (await client.get("/files/ann/file.txt")).status_code == 200

    @pytest.mark.parametrize("granted", [None, 1, "yes", [True]])
    async def test_only_true_opens_a_file(
        self, granted: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def careless() -> Any:
            return granted

        storage = MemoryStorage()
        await storage.upload(b"text", "file.txt")
        async with serve(storage, access=careless) as client:
            answer = await client.get("/files/file.txt")

        assert answer.status_code == 500
        assert b"text" not in answer.content
        assert "careless" in caplog.text

    async def test_a_generator_is_refused_at_once(self) -> None:
        def careless() -> Iterator[bool]:
            yield True

        with pytest.raises(ConfigurationError, match=r"careless.* is a generator"):
            create_files_router(access=careless)  # type: ignore[arg-type]

    async def test_a_generator_that_a_rule_returns_opens_nothing(self) -> None:
        storage = MemoryStorage()
        await storage.upload(b"text", "file.txt")
        rule: Any = lambda: (True for _ in "a")  # noqa: E731
        async with serve(storage, access=rule) as client:
            assert (await client.get("/files/file.txt")).status_code == 500


class TestDenials:
    """Denied as a file that is not there, when the developer says so."""

    async def test_a_denied_file_and_a_missing_one_look_the_same(self) -> None:
        async def no_secrets(file: StorageFile) -> bool:
            return not file.name.startswith("secret")

        storage = MemoryStorage()
        await storage.upload(b"text", "secret.txt")
        async with serve(storage, access=no_secrets, denial="missing") as client:
            for method in ("GET", "HEAD"):
                denied = await client.request(method, "/files/secret.txt")
                missing = await client.request(method, "/files/nothing.txt")
                invalid = await client.request(method, "/files/a%5Cb")

                assert denied.status_code == 404
                assert denied.content == missing.content == invalid.content
                assert denied.headers == missing.headers == invalid.headers

    async def test_a_bad_link_and_a_missing_file_look_the_same(self, signing: Storage) -> None:
        async with serve(signing, access=signed_urls, denial="missing") as client:
            await signing.upload(b"text", "file.txt")
            denied = await client.get("/files/file.txt?token=x")
            missing = await client.get(await signing.get_path("nothing.txt"))

            assert denied.status_code == 404
            assert denied.content == missing.content
            assert denied.headers == missing.headers
            assert (await client.get(await signing.get_path("file.txt"))).status_code == 200
