"""Credentials of a program that the AWS configuration names, which may fail at any time."""

import asyncio
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fastapi_async_storages import S3Storage
from fastapi_async_storages.exceptions import BackendUnavailableError, PermissionDeniedError
from tests.backends.conftest import ENGINES, MakeS3Storage
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio

NO_KEYS = {"aws_access_key_id": None, "aws_secret_access_key": None}

# Each call is a line in the file of calls; the answer is the text of another file.
PROGRAM = """
import sys
with open({calls!r}, "a") as calls:
    calls.write("call\\n")
with open({answer!r}) as answer:
    text = answer.read()
if text.startswith("fail"):
    sys.exit(text)
print(text)
"""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass
class Source:
    """A ``credential_process`` of the AWS configuration.

    Source: AWS SDKs and Tools Reference Guide, "Process credential provider".
    """

    directory: Path
    access_key: str
    secret_key: str

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Write the configuration and the program, and have the SDK read them."""
        program = PROGRAM.format(
            calls=str(self.directory / "calls"), answer=str(self.directory / "answer")
        )
        (self.directory / "program").write_text(f"#!{sys.executable}\n{program.lstrip()}")
        (self.directory / "program").chmod(0o700)
        process = shlex.quote(str(self.directory / "program"))
        (self.directory / "config").write_text(f"[default]\ncredential_process = {process}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(self.directory / "config"))

    @property
    def calls(self) -> int:
        return len((self.directory / "calls").read_text().splitlines())

    def print(self, text: str) -> None:
        (self.directory / "answer").write_text(text)

    def print_keys(self, *, minutes: float, access_key: str | None = None) -> None:
        """Print credentials that expire in so many minutes."""
        expires_at = datetime.now(UTC) + timedelta(minutes=minutes)
        keys = {
            "Version": 1,
            "AccessKeyId": access_key or self.access_key,
            "SecretAccessKey": self.secret_key,
            "Expiration": expires_at.isoformat(),
        }
        self.print(json.dumps(keys))

    def remove(self) -> None:
        (self.directory / "program").unlink()

    def forbid(self) -> None:
        (self.directory / "program").chmod(0o600)


FAILURES: dict[str, Callable[[Source], None]] = {
    "missing": lambda source: source.remove(),
    "not executable": lambda source: source.forbid(),
    "failing": lambda source: source.print(f"fail {source.secret_key}"),
    "silent": lambda source: source.print(""),
    "no JSON": lambda source: source.print(f'{{"SecretAccessKey": "{source.secret_key}"'),
    "no object": lambda source: source.print(f'["{source.secret_key}"]'),
    "no keys": lambda source: source.print('{"Version": 1}'),
    "no date": lambda source: source.print(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": source.access_key,
                "SecretAccessKey": source.secret_key,
                "Expiration": source.secret_key,
            }
        )
    ),
    "expired": lambda source: source.print_keys(minutes=-1),
}

any_failure = pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES.keys())


@pytest.fixture
def source(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source(tmp_path, s3_server.access_key, s3_server.secret_key)
    source.install(monkeypatch)
    return source


async def assert_calls_say_that_credentials_are_missing(storage: S3Storage, source: Source) -> None:
    calls: list[Coroutine[Any, Any, object]] = [
        storage.upload(b"1", "a.txt"),
        storage.exists("a.txt"),
        storage.get_path("a.txt"),
        storage.delete("a.txt"),
        storage.copy("a.txt", "b.txt"),
    ]
    for call in calls:
        with pytest.raises(BackendUnavailableError, match="credentials could not be") as raised:
            await call
        assert source.secret_key not in "".join(traceback.format_exception(raised.value))


@any_failure
async def test_a_source_that_fails_at_the_start(
    make_s3_storage: MakeS3Storage, source: Source, fail: Callable[[Source], None]
) -> None:
    fail(source)
    storage = make_s3_storage(**NO_KEYS)
    await assert_calls_say_that_credentials_are_missing(storage, source)
    await storage.aclose()


@any_failure
async def test_a_source_that_fails_later_and_works_again(
    make_s3_storage: MakeS3Storage,
    source: Source,
    fail: Callable[[Source], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source.print_keys(minutes=5)  # Within 10 minutes, the SDK asks for others before it signs.
    async with make_s3_storage(**NO_KEYS) as storage:
        fail(source)
        await assert_calls_say_that_credentials_are_missing(storage, source)
        source.install(monkeypatch)
        source.print_keys(minutes=60)
        await storage.upload(b"1", "a.txt")
        assert await storage.exists("a.txt")


async def is_stored(storage: S3Storage) -> bool:
    try:
        await storage.upload(b"1", "a.txt")
    except PermissionDeniedError:
        return False
    return True


async def test_credentials_that_expire_are_replaced_while_the_storage_is_open(
    make_s3_storage: MakeS3Storage, source: Source
) -> None:
    source.print_keys(minutes=5, access_key="FIRST")
    async with make_s3_storage(**NO_KEYS) as storage:
        assert "X-Amz-Credential=FIRST" in await storage.get_path("a.txt")
        with pytest.raises(PermissionDeniedError):
            await storage.exists("a.txt")
        source.print_keys(minutes=60)
        async with asyncio.timeout(10):
            while True:
                if await is_stored(storage):
                    break
                await asyncio.sleep(0.02)  # obstore keeps credentials for 100 ms.
        calls = source.calls
        assert f"X-Amz-Credential={source.access_key}" in await storage.get_path("a.txt")
        assert await storage.exists("a.txt")
        await storage.copy("a.txt", "b.txt")
        assert await storage.get_size("b.txt") == 1
        assert source.calls == calls


async def test_a_source_that_asks_for_nonsense_is_no_wrong_name_of_a_bucket(
    make_s3_storage: MakeS3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("x")  # AWS wants four characters.
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/some")
    with pytest.raises(BackendUnavailableError, match="credentials could not be loaded"):
        async with make_s3_storage(**NO_KEYS) as storage:
            await storage.upload(b"1", "a.txt")
