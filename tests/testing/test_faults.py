"""Each fault happens where, to what, and as often as its plan says, and to nothing else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fastapi_async_storages import ByteRange, LocalStorage, MemoryStorage, save_upload
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    BackendTimeoutError,
    BackendUnavailableError,
    IncompleteReadError,
    PermissionDeniedError,
    StorageError,
)
from fastapi_async_storages.testing.contract import StorageContract
from fastapi_async_storages.testing.faults import (
    Corrupt,
    Fail,
    Fault,
    FaultyStorage,
    LoseAnswer,
    Pause,
    Truncate,
)

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 10


class TestWithoutAPlan(StorageContract):
    @pytest.fixture
    def storage(self) -> FaultyStorage:
        return FaultyStorage(MemoryStorage())


async def read(storage: FaultyStorage, name: str = "a", **options: Any) -> bytes:
    async with storage.open(name, **options) as reader:
        return await reader.read()


async def list_names(storage: FaultyStorage) -> list[str]:
    return [info.name async for info in storage.list()]


async def delete_many(storage: FaultyStorage) -> None:
    for error in (await storage.delete_many(["a"])).values():
        raise error


CALLS: dict[Any, Callable[[FaultyStorage], Awaitable[object]]] = {
    "check": lambda storage: storage.check(),
    "copy": lambda storage: storage.copy("a", "b"),
    "delete": lambda storage: storage.delete("a"),
    "delete_many": delete_many,
    "get_info": lambda storage: storage.exists("a"),
    "get_path": lambda storage: storage.get_path("a"),
    "list": list_names,
    "move": lambda storage: storage.move("a", "b"),
    "open": read,
    "upload": lambda storage: storage.upload(b"new", "a"),
}


@pytest.fixture
async def faulty() -> FaultyStorage:
    storage = FaultyStorage(MemoryStorage(base_url="/files"))
    await storage.upload(CONTENT, "a")
    return storage


@pytest.mark.parametrize("verb", CALLS)
async def test_each_verb_can_fail_before_anything_is_done(faulty: FaultyStorage, verb: Any) -> None:
    fault = Fail(verb, BackendTimeoutError)
    faulty.plan.append(fault)
    with pytest.raises(BackendTimeoutError, match="was planned") as caught:
        await CALLS[verb](faulty)
    assert caught.value.storage == repr(faulty)
    assert fault.happened == 1
    assert await list_names(faulty) == ["a"]
    assert await read(faulty) == CONTENT
    await CALLS[verb](faulty)  # The fault is used up.
    assert fault.happened == 1


@pytest.mark.parametrize(
    "verb, names, content",
    [
        ("copy", ["a", "b"], CONTENT),
        ("delete", [], None),
        ("delete_many", [], None),
        ("move", ["b"], None),
        ("upload", ["a"], b"new"),
    ],
)
async def test_what_is_done_stays_done_when_the_answer_is_lost(
    faulty: FaultyStorage, verb: Any, names: list[str], content: bytes | None
) -> None:
    faulty.plan.append(LoseAnswer(verb))
    with pytest.raises(BackendUnavailableError):
        await CALLS[verb](faulty)
    assert await list_names(faulty) == names
    if content is not None:
        assert await read(faulty) == content


async def test_a_call_that_fails_by_itself_has_no_answer_to_lose(faulty: FaultyStorage) -> None:
    faulty.plan.append(LoseAnswer("upload"))
    with pytest.raises(AlreadyExistsError):
        await faulty.upload(b"new", "a", overwrite=False)


async def test_a_fault_is_for_one_file_and_so_many_calls(faulty: FaultyStorage) -> None:
    faulty.plan += [Fail("get_info", name="a", times=2), Fail("get_info", name="never")]
    assert not await faulty.exists("b")
    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            await faulty.exists("a")
    assert await faulty.exists("a")
    assert [fault.happened for fault in faulty.plan] == [2, 0]


async def test_faults_of_one_verb_happen_in_their_order(faulty: FaultyStorage) -> None:
    faulty.plan += [Fail("open", PermissionDeniedError), Fail("open", times=None)]
    errors: list[type[StorageError]] = [PermissionDeniedError, *[BackendUnavailableError] * 3]
    for error in errors:
        with pytest.raises(error):
            await read(faulty)


async def test_delete_many_fails_for_single_files(faulty: FaultyStorage) -> None:
    await faulty.upload(b"", "b")
    faulty.plan.append(Fail("delete_many", name="b"))
    failed = await faulty.delete_many(["a", "b"])
    assert {name: type(error) for name, error in failed.items()} == {"b": BackendUnavailableError}
    assert await list_names(faulty) == ["b"]


@pytest.mark.parametrize("at", [0, 1, 300, len(CONTENT), len(CONTENT) + 1])
async def test_an_upload_that_fails_in_the_middle_changes_nothing(
    faulty: FaultyStorage, at: int
) -> None:
    faulty.plan.append(Fail("upload", at=at))
    passed = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal passed
        while passed < len(CONTENT):
            chunk = CONTENT[passed : passed + 100]
            passed += len(chunk)
            yield chunk

    with pytest.raises(BackendUnavailableError):
        await faulty.upload(chunks(), "a")
    assert min(at, len(CONTENT)) <= passed <= at + 100
    assert await read(faulty) == CONTENT


@pytest.mark.parametrize("at", [0, 1, 300, len(CONTENT)])
async def test_a_download_that_fails_in_the_middle(faulty: FaultyStorage, at: int) -> None:
    faulty.plan.append(Fail("open", at=at))
    received = b""

    async def iterate() -> None:
        nonlocal received
        async with faulty.open("a") as reader:
            assert reader.info.size == len(CONTENT)
            async for chunk in reader:
                received += chunk

    with pytest.raises(BackendUnavailableError):
        await iterate()
    assert received == CONTENT[:at]


async def test_a_body_that_is_cut_never_passes_for_complete(faulty: FaultyStorage) -> None:
    faulty.plan.append(Truncate("open", at=300, times=2))
    with pytest.raises(IncompleteReadError, match="300 of 2560"):
        await read(faulty)
    with pytest.raises(IncompleteReadError, match="300 of 400"):
        await read(faulty, byte_range=ByteRange(10, 409))


async def test_less_and_other_bytes_can_be_stored_than_were_sent(faulty: FaultyStorage) -> None:
    faulty.plan += [Truncate("upload", at=300), Corrupt("upload", at=2)]
    await faulty.upload(CONTENT, "a")
    assert await read(faulty) == CONTENT[:300]
    await faulty.upload(b"\x00\x01\x02\x03", "a")
    assert await read(faulty) == b"\x00\x01\x03\x03"


async def test_a_bit_can_flip_on_its_way(faulty: FaultyStorage) -> None:
    faulty.plan.append(Corrupt("open", at=len(CONTENT) - 1))
    assert await read(faulty) == CONTENT[:-1] + b"\xfe"
    assert await read(faulty) == CONTENT


@pytest.mark.parametrize("fault", [Truncate("open", at=2560), Corrupt("open", at=2560)])
async def test_a_fault_behind_the_body_is_a_mistake_of_the_test(
    faulty: FaultyStorage, fault: Fault
) -> None:
    faulty.plan.append(fault)
    with pytest.raises(ValueError, match="no more bytes"):
        await read(faulty)


@pytest.mark.parametrize("at", [None, 0, 300])
async def test_a_pause_ends_when_it_is_told_to(faulty: FaultyStorage, at: int | None) -> None:
    pause = Pause("upload", at=at)
    faulty.plan.append(pause)
    task = asyncio.create_task(faulty.upload(b"new" * 200, "b"))
    await asyncio.wait_for(pause.reached(), 10)
    assert not await faulty.exists("b")
    assert not task.done()
    pause.resume()
    await task
    assert await read(faulty, "b") == b"new" * 200
    await faulty.upload(b"newer", "b")


async def test_a_paused_call_can_be_cancelled(faulty: FaultyStorage) -> None:
    pause = Pause("upload", at=1)
    faulty.plan.append(pause)
    task = asyncio.create_task(faulty.upload(b"new", "a"))
    await pause.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pause.resume()
    assert await read(faulty) == CONTENT


async def test_the_test_may_be_in_another_thread_than_the_pause(faulty: FaultyStorage) -> None:
    pause = Pause("open")
    faulty.plan.append(pause)
    contents: list[bytes] = []
    thread = threading.Thread(target=lambda: contents.append(asyncio.run(read(faulty))))
    thread.start()
    await asyncio.wait_for(pause.reached(), 10)
    assert contents == []
    pause.resume()
    await asyncio.to_thread(thread.join, 10)
    assert contents == [CONTENT]


@pytest.mark.parametrize(
    "kind, verb, options",
    [
        (Fail, "get_size", {}),
        (Pause, "delete", {"at": 1}),
        (Truncate, "delete", {"at": 1}),
        (LoseAnswer, "open", {}),
    ],
)
def test_a_fault_that_cannot_happen_is_refused(
    kind: type[Fault], verb: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"can happen to.* not to '{verb}'"):
        kind(verb, **options)


async def test_what_is_not_by_plan_is_the_inner_storages(tmp_path: Any) -> None:
    inner = LocalStorage(tmp_path, base_url="/files", secret_key="x" * 32)
    storage = FaultyStorage(inner)
    async with storage:
        file = await save_upload(b"1", storage)
        assert await inner.exists(file.name)
        assert storage.links is inner.links
        assert storage.presigns is inner.presigns
        assert (await storage.get_path(file.name)).startswith(f"/files/{file.name}?token=")
        with pytest.raises(ValueError, match="belongs to the storage"):
            storage.get_name(".fastapi-async-storages/x")
