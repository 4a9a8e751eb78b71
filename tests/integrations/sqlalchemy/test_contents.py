"""What may be assigned, how a flush stores it, and what is left when that fails."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeAlias, cast

import pytest
from PIL import Image
from sqlalchemy import create_engine, event, select, update
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session
from starlette.datastructures import Headers, UploadFile

from fastapi_async_storages import StorageFile, StorageImage, save_upload
from fastapi_async_storages.exceptions import (
    BackendUnavailableError,
    FileTooLargeError,
    NotFoundError,
    NotStoredError,
    TypeNotAllowedError,
    UploadRefusedError,
)
from fastapi_async_storages.integrations.sqlalchemy import track_files
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.testing.faults import Fail, LoseAnswer, Pause
from tests.integrations.sqlalchemy.databases import open_sqlite
from tests.integrations.sqlalchemy.models import Attachment, Base, Document, storage
from tests.integrations.sqlalchemy.state import read_contents, read_files, until

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """What a flush stores is not up to the database: one is enough."""
    async with open_sqlite(tmp_path) as engine:
        yield engine


def make_png(width: int = 3, height: int = 2) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


async def chunks() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"bc"


def make_upload() -> UploadFile:
    headers = Headers({"content-type": "text/plain"})
    return UploadFile(BytesIO(b"abc"), filename="my notes.txt", headers=headers)


_opened: list[BinaryIO] = []


@pytest.fixture(autouse=True)
def _close_files() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def make_file() -> BinaryIO:
    file = cast("BinaryIO", TemporaryFile())  # noqa: SIM115
    _opened.append(file)
    file.write(b"-abc")
    file.seek(1)
    return file


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make_upload, id="UploadFile"),
        pytest.param(lambda: b"abc", id="bytes"),
        pytest.param(lambda: bytearray(b"abc"), id="bytearray"),
        pytest.param(lambda: BytesIO(b"abc"), id="BytesIO"),
        pytest.param(chunks, id="iterator"),
        pytest.param(make_file, id="file"),
    ],
)
@pytest.mark.parametrize("is_marked", [True, False])
async def test_content(
    session: AsyncSession, engine: AsyncEngine, make: Any, is_marked: bool
) -> None:
    content = make()
    document = Document(file=StorageFile.pending(content) if is_marked else content)
    session.add(document)
    await session.commit()
    await session.refresh(document)

    assert document.file is not None
    assert await document.file.read() == b"abc"
    assert await read_contents(engine) == [b"abc"]


async def test_an_upload_keeps_its_name_and_type(session: AsyncSession) -> None:
    document = Document(file=make_upload())
    session.add(document)
    await session.flush()

    assert document.file is not None
    assert document.file.name.startswith("docs/")
    assert document.file.name.endswith(".txt")
    info = await storage.get_info(document.file.name)
    assert (info.filename, info.content_type) == ("my notes.txt", "text/plain")


async def test_an_upload_that_was_read_before_is_stored_whole(session: AsyncSession) -> None:
    upload = make_upload()
    await upload.read()
    document = Document(file=upload)
    session.add(document)
    await session.flush()

    assert document.file is not None
    assert await document.file.read() == b"abc"


async def test_a_path(session: AsyncSession, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7\n")
    document = Document(file=StorageFile.pending(path))
    session.add(document)
    await session.flush()

    assert document.file is not None
    assert document.file.info is not None
    assert document.file.info.filename == "report.pdf"
    assert document.file.name.endswith(".pdf")
    assert path.exists()


async def test_a_missing_path(session: AsyncSession, engine: AsyncEngine, tmp_path: Path) -> None:
    session.add(Document(file=StorageFile.pending(tmp_path / "missing.txt")))
    with pytest.raises(FileNotFoundError):
        await session.flush()
    await session.rollback()

    assert await read_contents(engine) == []


async def test_another_file_name(session: AsyncSession) -> None:
    document = Document(file=StorageFile.pending(make_upload(), filename="other.md"))
    session.add(document)
    await session.flush()

    assert document.file is not None
    assert document.file.info is not None
    assert document.file.info.filename == "other.md"


async def test_an_image(session: AsyncSession) -> None:
    pending: object = StorageImage.pending(make_png(), filename="photo.png")
    assert isinstance(pending, PendingFile)
    attachment = Attachment(image=pending)
    session.add(attachment)
    assert attachment.__dict__["image"] is pending
    await session.flush()

    assert type(attachment.image) is StorageImage
    assert await attachment.image.get_dimensions() == (3, 2)
    assert attachment.image.info is not None
    assert attachment.image.info.width == 3


@pytest.mark.parametrize("error", [TypeNotAllowedError, FileTooLargeError])
async def test_rules_of_a_column(
    session: AsyncSession, engine: AsyncEngine, error: type[Exception]
) -> None:
    refused = (
        Attachment(image=StorageImage.pending(b"no image"))
        if error is TypeNotAllowedError
        else Document(preview=StorageFile.pending(bytes(101)))
    )
    session.add_all([refused, Document(file=StorageFile.pending(b"fine"))])
    with pytest.raises(error) as caught:
        await session.flush()
    await session.rollback()

    assert caught.value.__notes__[0].startswith("It was to be stored for ")
    assert await read_contents(engine) == []


async def test_one_failure_leaves_nothing_of_the_flush(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    documents = [Document(file=StorageFile.pending(b"%d" % i)) for i in range(40)]
    storage.plan.extend([Pause("upload", times=30), Fail("upload", times=1)])
    pause: Any = storage.plan[0]
    pause.resume()
    session.add_all(documents)
    with pytest.raises(BackendUnavailableError):
        await session.flush()

    assert storage.plan[1].happened == 1
    assert await read_files() == {}
    assert all(isinstance(document.file, PendingFile) for document in documents)
    # The session is as it was: the next flush does it.
    await session.commit()
    assert len(await read_contents(engine)) == 40


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_fresh_file_beside_one_that_fails(
    session: AsyncSession, engine: AsyncEngine, is_nested: bool, comes_back: bool
) -> None:
    """The transaction has it from the first attempt on, whichever attempt is the last."""
    savepoint = await session.begin_nested() if is_nested else None
    fresh = await save_upload(b"fresh", storage)
    storage.plan.append(Fail("upload"))
    session.add_all([Document(file=StorageFile.pending(b"abc")), Document(file=fresh)])
    with pytest.raises(BackendUnavailableError):
        await session.flush()

    assert await read_files() == {fresh.name: b"fresh"}
    if comes_back:
        if savepoint is not None:
            await savepoint.commit()
        await session.commit()
    await session.close()
    assert await read_contents(engine) == ([b"abc", b"fresh"] if comes_back else [])


async def test_a_fresh_file_beside_one_that_is_refused(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    gone = Document(file=StorageFile.pending(b"gone"))
    session.add(gone)
    await session.flush()
    await session.rollback()
    session.add_all([Document(file=gone.file), Document(file=await save_upload(b"abc", storage))])
    with pytest.raises(NotFoundError, match="was deleted"):
        await session.commit()
    await session.rollback()

    assert await read_contents(engine) == []


@pytest.mark.parametrize("passes", range(6))
async def test_a_refusal_does_not_swallow_a_cancellation(
    make_session: MakeSession, engine: AsyncEngine, passes: int
) -> None:
    """Both come within a few passes of the loop, and the app handles the refusal."""
    reading, refusing = asyncio.Event(), asyncio.Event()

    async def refuse() -> AsyncIterator[bytes]:
        reading.set()
        await refusing.wait()
        if refusing.is_set():
            raise UploadRefusedError("No.")
        yield b""

    async def work() -> None:
        async with make_session() as session:
            session.add(Document(file=StorageFile.pending(refuse())))
            with suppress(UploadRefusedError):
                await session.flush()
            await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await asyncio.wait_for(reading.wait(), 10)
    refusing.set()
    for _ in range(passes):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await read_contents(engine) == []


async def test_a_lost_answer_leaves_nothing(session: AsyncSession, engine: AsyncEngine) -> None:
    storage.plan.append(LoseAnswer("upload"))
    session.add(Document(file=StorageFile.pending(b"abc")))
    with pytest.raises(BackendUnavailableError):
        await session.commit()
    await session.rollback()

    assert await read_contents(engine) == []


@pytest.mark.parametrize("contents", [[b"%d" % i for i in range(50)], [b"same"] * 50])
async def test_uploads_run_side_by_side_within_bounds(
    session: AsyncSession, contents: list[bytes]
) -> None:
    pause = Pause("upload", times=None)
    storage.plan.append(pause)
    session.add_all([Document(file=StorageFile.pending(content)) for content in contents])
    async with asyncio.TaskGroup() as tasks:
        flush = tasks.create_task(session.flush())
        await until(lambda: pause.happened == 16)
        for _ in range(100):
            await asyncio.sleep(0)
        assert pause.happened == 16
        assert not flush.done()
        pause.resume()

    assert len(await read_files()) == 50


@pytest.mark.parametrize("done", [0, 5])
async def test_a_flush_that_is_cancelled_while_it_stores(
    make_session: MakeSession, engine: AsyncEngine, done: int
) -> None:
    quick, pause = Pause("upload", times=done), Pause("upload", times=None)
    quick.resume()
    storage.plan.extend([quick, pause])

    async def work() -> None:
        async with make_session() as session:
            session.add_all([Document(file=StorageFile.pending(b"%d" % i)) for i in range(20)])
            await session.commit()

    task = asyncio.create_task(work())
    await pause.reached()
    await until(lambda: quick.happened == done)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await read_contents(engine) == []


async def test_a_file_object_is_read_from_where_it_stood_each_time(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    buffer = BytesIO(b"-" + bytes(1000) + b"end")
    buffer.seek(1)
    document = Document(file=StorageFile.pending(buffer))
    storage.plan.append(Fail("upload", at=500))
    session.add(document)
    with pytest.raises(BackendUnavailableError):
        await session.flush()
    assert buffer.tell() > 1
    await session.commit()

    assert await read_contents(engine) == [bytes(1000) + b"end"]


@pytest.mark.parametrize("make", [make_upload, lambda: BytesIO(b"abc"), make_file])
async def test_one_content_for_two_attributes(
    session: AsyncSession, engine: AsyncEngine, make: Any
) -> None:
    content = make()
    session.add(Document(file=content, preview=content))
    await session.commit()

    assert await read_contents(engine) == [b"abc", b"abc"]


async def test_what_can_be_read_once_is_not_stored_twice(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    pending = StorageFile.pending(chunks())
    session.add(Document(file=pending, preview=pending))
    with pytest.raises(ValueError, match=r"Document\.\w+ cannot be stored: .*read twice"):
        await session.flush()
    await session.rollback()

    assert await read_contents(engine) == []


async def test_validators_see_the_content_only(session: AsyncSession) -> None:
    seen: list[object] = []
    event.listen(Document.file, "set", lambda target, value, old, initiator: seen.append(value))
    content = StorageFile.pending(b"abc")
    session.add(Document(file=content))
    await session.flush()

    assert seen == [content]


class TestOtherSessions:
    async def test_an_async_session_that_is_not_tracked(self, engine: AsyncEngine) -> None:
        async with async_sessionmaker(engine)() as session:
            session.add(Document(file=StorageFile.pending(b"abc")))
            with pytest.raises(StatementError, match=r"track_files\(\)") as caught:
                await session.commit()

        assert isinstance(caught.value.orig, NotStoredError)
        assert await read_files() == {}

    async def test_a_sync_session_reads_and_says_what_it_cannot(self) -> None:
        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        name = await storage.upload(b"abc", "a.txt")
        with Session(engine) as session:
            document = Document(file=name)
            session.add(document)
            session.commit()
            assert document.file == StorageFile(storage, "a.txt")
            document.file = StorageFile.pending(b"new")
            with pytest.raises(StatementError, match=r"sync Session.*await save_upload"):
                session.commit()
            session.rollback()
            session.delete(document)
            session.commit()
        engine.dispose()

        assert len(await read_files()) == 1  # Nobody tracks it.

    async def test_only_the_sessions_of_the_factory_are_listened_to(
        self, engine: AsyncEngine
    ) -> None:
        class OwnSession(Session):
            pass

        factory = async_sessionmaker(engine, sync_session_class=OwnSession)
        assert track_files(factory) is factory
        tracked = factory.kw["sync_session_class"]
        assert issubclass(tracked, OwnSession)
        assert track_files(factory).kw["sync_session_class"] is tracked
        for untouched in (Session(), OwnSession()):
            assert not list(untouched.dispatch.before_flush)
            assert not list(untouched.dispatch.after_transaction_end)

    async def test_a_session_class_with_a_sync_class_of_its_own(self, engine: AsyncEngine) -> None:
        class OwnSession(Session):
            pass

        class OwnAsyncSession(AsyncSession):
            sync_session_class: type[Session] = OwnSession

        make_session = track_files(async_sessionmaker(engine, class_=OwnAsyncSession))
        async with make_session.begin() as session:
            assert isinstance(session.sync_session, OwnSession)
            session.add(Document(file=StorageFile.pending(b"abc")))

        assert await read_contents(engine) == [b"abc"]

    async def test_a_fresh_file_that_an_untracked_session_writes(self, engine: AsyncEngine) -> None:
        """Whoever uploaded it must not delete it any more: a row may name it."""
        file = await save_upload(b"abc", storage)
        async with async_sessionmaker(engine).begin() as session:
            session.add(Document(file=file))

        assert not file._fresh
        assert await read_contents(engine) == [b"abc"]

    async def test_run_sync(self, session: AsyncSession, engine: AsyncEngine) -> None:
        def work(sync_session: Session) -> None:
            sync_session.add(Document(file=StorageFile.pending(b"abc")))
            sync_session.flush()
            sync_session.rollback()
            sync_session.add(Document(file=StorageFile.pending(b"def")))
            sync_session.commit()

        await session.run_sync(work)

        assert await read_contents(engine) == [b"def"]


async def test_content_in_statements_is_refused(session: AsyncSession) -> None:
    session.add(Document(id=1))
    await session.flush()
    for values in ({"file": b"abc"}, {"file": StorageFile.pending(b"abc")}):
        with pytest.raises(StatementError, match="bulk or a Core statement"):
            await session.execute(update(Document).values(**values))
    assert (await session.scalars(select(Document.file))).all() == [None]
