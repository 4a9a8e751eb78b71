"""What users do with the example app, many of them at once and for long."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Any

import httpx
from PIL import Image

from tests.soak.watched_app import State

__all__ = ["Soak", "find_growth"]

USERS = 8
"""How many users there are at the same time."""

MAX_OWN = 5
"""How many rows a user keeps."""

TIMEOUT_SECONDS = 60

MEMORY_NOISE = 12 * 1024**2
"""Bytes: an allocator keeps what it may need again. Three leaks of a file's content are more."""

OBJECTS_NOISE = 600
"""How many objects come and go. Three leaks of an object in each request are more."""

MAX_THREADS = 60
"""The most of anyio (40) and of asyncio (6 on two processors), and those of the database."""

MAX_CONNECTIONS = 4 * USERS


def make_photo() -> bytes:
    photo = BytesIO()
    Image.new("RGB", (640, 480), (30, 120, 90)).save(photo, "JPEG")
    return photo.getvalue()


PHOTO = make_photo()
CONTENT = os.urandom(400_000)


class ClientLeftError(Exception):
    """What a user's own connection ends with."""


@dataclass
class User:
    """One user with a connection of his own.

    Attributes:
        client: Its client.
        chance: What it does next.
        rows: What it has uploaded: the path of each row in the API, and what the app said of it.
        requests: How many requests it has made.
    """

    client: httpx.AsyncClient
    chance: random.Random
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requests: int = 0

    async def ask(self, method: str, url: str, status: int, **options: Any) -> httpx.Response:
        self.requests += 1
        response = await self.client.request(method, url, **options)
        assert response.status_code == status, (method, url, response.status_code, response.text)
        return response

    async def act(self) -> None:
        actions: list[Callable[[], Awaitable[object]]] = [
            self.upload_document,
            self.upload_document,
            self.upload_photo,
            self.look,
            self.ask_for_nothing,
            self.send_what_is_refused,
            self.leave_while_sending,
        ]
        if self.rows:
            actions += [self.read, self.read_a_part, self.leave_while_reading]
        if len(self.rows) >= MAX_OWN:
            actions = [self.delete]
        await self.chance.choice(actions)()

    async def upload_document(self) -> None:
        size = self.chance.choice([0, 1, 50_000, len(CONTENT)])
        await self.upload("/api/documents", "a.bin", CONTENT[:size])

    async def upload_photo(self) -> None:
        await self.upload("/api/photos", "a.jpg", PHOTO)

    async def upload(self, path: str, filename: str, content: bytes) -> None:
        created = await self.ask("POST", path, 201, files={"file": (filename, content)})
        row = created.json()
        assert row["size"] == len(content)
        self.rows.append((f"{path}/{row['id']}", row))

    async def look(self) -> None:
        await self.ask("GET", self.chance.choice(["/", "/api/documents", "/api/photos"]), 200)

    async def read(self) -> None:
        row = self.choose_row()
        response = await self.ask("GET", self.chance.choice([row["url"], row["download_url"]]), 200)
        assert len(response.content) == row["size"]
        headers = {"if-none-match": response.headers["etag"]}
        await self.ask("GET", row["url"], 304, headers=headers)

    async def read_a_part(self) -> None:
        row = self.choose_row()
        status = 206 if row["size"] else 416
        await self.ask("GET", row["url"], status, headers={"range": "bytes=0-99"})

    async def leave_while_reading(self) -> None:
        self.requests += 1
        async with self.client.stream("GET", self.choose_row()["url"]) as response:
            async for _ in response.aiter_raw(1000):
                return

    async def leave_while_sending(self) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield CONTENT
            raise ClientLeftError

        self.requests += 1
        headers = {"content-type": "multipart/form-data; boundary=x"}
        with suppress(ClientLeftError):
            await self.client.post("/api/documents", content=body(), headers=headers)

    async def send_what_is_refused(self) -> None:
        await self.ask("POST", "/api/photos", 415, files={"file": ("a.jpg", b"no photo")})

    async def ask_for_nothing(self) -> None:
        await self.ask("GET", "/files/documents/missing.txt", 403)
        await self.ask("DELETE", "/api/documents/999999999", 404)

    async def delete(self) -> None:
        path, _ = self.rows.pop(self.chance.randrange(len(self.rows)))
        await self.ask("DELETE", path, 204)

    def choose_row(self) -> dict[str, Any]:
        return self.chance.choice(self.rows)[1]


class Soak:
    """Puts a load on a running example app, and looks at it between the rounds.

    Args:
        base_url: Where the app is; it is ``tests.soak.watched_app``.
        seed: Chooses what the users do.
    """

    def __init__(self, base_url: str, *, seed: int = 0) -> None:
        self.requests = 0
        self._base_url = base_url
        self._chance = random.Random(seed)

    async def run_round(self, requests: int) -> State:
        """Make so many requests or a few more, delete what was uploaded, and return the state."""
        await asyncio.gather(*(self._use(requests / USERS) for _ in range(USERS)))
        # Every connection of a user is closed now.
        async with self._open_client() as client:
            return State(**(await client.get("/soak/state")).raise_for_status().json())

    async def _use(self, requests: float) -> None:
        async with self._open_client() as client:
            user = User(client, random.Random(self._chance.random()))
            while user.requests < requests:
                await user.act()
            while user.rows:
                await user.delete()
            self.requests += user.requests

    def _open_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._base_url, timeout=TIMEOUT_SECONDS)


def find_growth(states: Sequence[State]) -> list[str]:
    """Say what has grown from the first third of the rounds, which fill pools and caches, on.

    Args:
        states: The state after each round.
    """
    early, last = states[len(states) // 3], states[-1]
    limits = {
        "memory": early.memory + MEMORY_NOISE,
        "objects": early.objects + OBJECTS_NOISE,
        "descriptors": early.descriptors - early.connections + last.connections,
        "threads": MAX_THREADS,
        "tasks": early.tasks,
        "connections": max(early.connections, MAX_CONNECTIONS),
        "files": 0,
    }
    return [
        f"{what}: {value} at the end, at most {limits[what]} expected; by round:"
        f" {[getattr(state, what) for state in states]}"
        for what, value in asdict(last).items()
        if value > limits[what]
    ]
