"""One client with one pool for each event loop, opened and closed without a trace."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import anyio
import pytest
from blockbuster import BlockBuster

from fastapi_async_storages.exceptions import BackendTimeoutError, BackendUnavailableError
from tests.backends.conftest import ENGINES, MakeS3Storage
from tests.servers.s3 import S3Server
from tests.servers.tcp import CERTIFICATE, Relay, listen, run_relay

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


MIB = 1024**2


@pytest.fixture
async def relay(s3_server: S3Server) -> AsyncIterator[Relay]:
    async with run_relay(s3_server.endpoint_url) as relay:
        yield relay


class TestPool:
    async def test_calls_one_after_the_other_share_a_connection(
        self, make_s3_storage: MakeS3Storage, relay: Relay, engine: str
    ) -> None:
        async with make_s3_storage(endpoint_url=relay.endpoint_url) as storage:
            for number in range(10):
                await storage.upload(bytes(100_000), f"{number}.bin")
                async with storage.open(f"{number}.bin") as reader:
                    await reader.read()
                await storage.delete(f"{number}.bin")
                assert not await storage.exists(f"{number}.bin")
        # With obstore the SDK has one too, which finds out, once, whether there is a bucket; and a
        # connection may not be back in the pool yet when the next request comes.
        assert relay.connections <= (1 if engine == "aiobotocore" else 5)

    async def test_calls_side_by_side_share_the_pool(
        self, make_s3_storage: MakeS3Storage, relay: Relay, engine: str
    ) -> None:
        options = {"endpoint_url": relay.endpoint_url, "client_config": {"max_pool_connections": 5}}
        storage = make_s3_storage(**options)  # The first calls open it, all at the same time.
        await asyncio.gather(*(storage.upload(b"1", f"{number}.txt") for number in range(40)))
        await storage.aclose()
        # obstore may open more than it then uses; what counts is how many requests there are.
        assert engine == "obstore" or relay.connections <= 5

    async def test_nobody_waits_for_a_connection_for_ever(
        self, make_s3_storage: MakeS3Storage
    ) -> None:
        config = {
            "max_pool_connections": 1,
            "connect_timeout": 0.5,
            "read_timeout": 0.5,
            "retries": {"total_max_attempts": 1},
        }
        async with make_s3_storage(client_config=config) as storage:
            await storage.upload(bytes(MIB), "a.bin")
            async with storage.open("a.bin") as reader:
                with pytest.raises(BackendTimeoutError):
                    await storage.get_info("a.bin")
                assert len(await reader.read()) == MIB
            assert await storage.get_size("a.bin") == MIB

    async def test_a_reader_that_is_left_early_downloads_no_more(
        self, make_s3_storage: MakeS3Storage, relay: Relay
    ) -> None:
        async with make_s3_storage(endpoint_url=relay.endpoint_url) as storage:
            await storage.upload(bytes(60 * MIB), "a.bin")
            async with storage.open("a.bin") as reader:
                async for _ in reader:
                    break
            received = relay.bytes_down
            assert await storage.exists("a.bin")
        assert received < 20 * MIB  # What the buffers of the connection hold.
        assert relay.bytes_down < received + MIB

    async def test_chunks_are_neither_tiny_nor_huge(self, make_s3_storage: MakeS3Storage) -> None:
        async with make_s3_storage() as storage:
            await storage.upload(bytes(8 * MIB), "a.bin")
            async with storage.open("a.bin") as reader:
                sizes = [len(chunk) async for chunk in reader]
        assert sum(sizes) == 8 * MIB
        assert max(sizes) <= 1024 * 1024
        assert sum(sizes) / len(sizes) >= 8 * 1024


class TestLoops:
    async def test_cancellation_while_it_opens(self, make_s3_storage: MakeS3Storage) -> None:
        for step in range(12):
            storage = make_s3_storage()
            task = asyncio.create_task(storage.exists("a"))
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert not await storage.exists("a")
            await storage.aclose()

    def test_one_storage_serves_several_loops_in_turn(self, make_s3_storage: MakeS3Storage) -> None:
        storage = make_s3_storage()

        async def use(name: str) -> list[str]:
            await storage.upload(b"1", name)
            return [info.name async for info in storage.list()]

        assert asyncio.run(use("a")) == ["a"]
        assert asyncio.run(use("b")) == ["a", "b"]

    @pytest.mark.parametrize(
        "scope, tls",
        [("module", False), ("module", True), ("function", False), ("dropped", False)],
    )
    async def test_bare_use_leaves_no_warning(
        self, s3_server: S3Server, prefix: str, scope: str, tls: bool, engine: str
    ) -> None:
        program = """
            import asyncio, gc, os
            from io import BytesIO
            from fastapi_async_storages import S3Storage

            def make():
                return S3Storage(
                    bucket_name=os.environ["BUCKET"],
                    endpoint_url=os.environ["ENDPOINT"],
                    aws_access_key_id=os.environ["KEY"],
                    aws_secret_access_key=os.environ["SECRET"],
                    prefix=os.environ["PREFIX"],
                    engine=os.environ["ENGINE"],
                )

            storage = make()

            async def main():
                global storage
                if os.environ["SCOPE"] == "function":
                    local = make()
                else:
                    local = storage
                await local.upload(BytesIO(b"hello world"), "uploads/example.txt")
                print(await local.get_path("uploads/example.txt"))
                assert await local.get_size("uploads/example.txt") == 11
                async with local.open("uploads/example.txt") as reader:
                    async for chunk in reader:
                        break
                await local.delete("uploads/example.txt")
                if os.environ["SCOPE"] == "dropped":
                    storage = local = reader = None
                    gc.collect()
                    storage = make()

            asyncio.run(main())
            asyncio.run(main())
        """
        async with run_relay(s3_server.endpoint_url, tls=tls) as relay:
            answer = await anyio.run_process(
                [sys.executable, "-X", "dev", "-W", "error", "-c", dedent(program)],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "AWS_CA_BUNDLE": str(CERTIFICATE),
                    "BUCKET": s3_server.bucket,
                    "ENDPOINT": relay.endpoint_url,
                    "ENGINE": engine,
                    "KEY": s3_server.access_key,
                    "SECRET": s3_server.secret_key,
                    "PREFIX": prefix,
                    "SCOPE": scope,
                },
                check=False,
            )
        output, errors = answer.stdout.decode(), answer.stderr.decode()
        assert answer.returncode == 0, errors
        # The development mode also tells of slow steps of the loop, and this machine may be busy.
        messages = [line for line in errors.splitlines() if not line.startswith("Executing")]
        assert messages == []
        assert output.count("X-Amz-Signature") == 2


class TestTls:
    @pytest.fixture
    async def endpoint_url(
        self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[str]:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(CERTIFICATE))
        async with run_relay(s3_server.endpoint_url, tls=True) as relay:
            yield relay.endpoint_url

    @pytest.mark.parametrize("checksum_mode", ["when_required", "when_supported"])
    async def test_bodies_of_all_sizes(
        self, make_s3_storage: MakeS3Storage, endpoint_url: str, checksum_mode: str
    ) -> None:
        options = {
            "endpoint_url": endpoint_url.partition("://")[2],
            "part_size": 5 * MIB,
            "checksum_mode": checksum_mode,
        }
        async with make_s3_storage(**options) as storage:
            for size in (0, 1, 100_000, 6 * MIB):
                await storage.upload(bytes(size), "a.bin")
                async with storage.open("a.bin") as reader:
                    assert len(await reader.read()) == size
            assert await storage.delete_many(["a.bin"]) == {}
            assert (await storage.get_path("a.bin")).startswith("https://")

    async def test_a_certificate_that_nobody_vouches_for(
        self, make_s3_storage: MakeS3Storage, endpoint_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_CA_BUNDLE")
        config = {"retries": {"total_max_attempts": 1}}
        async with make_s3_storage(endpoint_url=endpoint_url, client_config=config) as storage:
            with pytest.raises(BackendUnavailableError, match="TLS"):
                await storage.check()


class TestCredentials:
    async def test_from_the_environment(
        self,
        make_s3_storage: MakeS3Storage,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
        await self.check(make_s3_storage)

    async def test_from_the_files_of_the_user(
        self,
        make_s3_storage: MakeS3Storage,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        credentials = tmp_path / "credentials"
        credentials.write_text(
            f"[default]\naws_access_key_id = {s3_server.access_key}\n"
            f"aws_secret_access_key = {s3_server.secret_key}\n"
        )
        config = tmp_path / "config"
        config.write_text("[default]\nregion = eu-west-1\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        url = await self.check(make_s3_storage)
        assert "eu-west-1" in url

    async def test_temporary_ones_are_fetched_again(
        self,
        make_s3_storage: MakeS3Storage,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
        engine: str,
    ) -> None:
        # The SDK fetches credentials again that end within 10 minutes; these always do.
        expires = datetime.now(UTC) + timedelta(minutes=5)
        answer = {
            "AccessKeyId": s3_server.access_key,
            "SecretAccessKey": s3_server.secret_key,
            "Token": "",
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        fetched = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal fetched
            await reader.readuntil(b"\r\n\r\n")
            fetched += 1
            body = json.dumps(answer).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            await reader.read()

        async with listen(serve) as url:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
            await self.check(make_s3_storage)
        # obstore keeps those that it was given for a minute.
        assert fetched > (3 if engine == "aiobotocore" else 1)

    async def check(self, make_s3_storage: MakeS3Storage) -> str:
        options = {"aws_access_key_id": None, "aws_secret_access_key": None}
        async with make_s3_storage(**options) as storage:
            await storage.upload(b"1", "a.txt")
            assert await storage.get_size("a.txt") == 1
            return await storage.get_path("a.txt")


async def test_nothing_blocks_the_event_loop(
    make_s3_storage: MakeS3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    guard = BlockBuster()
    guard.activate()
    try:
        async with make_s3_storage(part_size=5 * MIB) as storage:
            await storage.upload(bytes(11 * MIB), "a.bin")
            await storage.copy("a.bin", "b.bin")
            async with storage.open("b.bin") as reader:
                assert len(await reader.read()) == 11 * MIB
            assert len([info async for info in storage.list()]) == 2
            await storage.get_path("a.bin")
            assert await storage.delete_many(["a.bin", "b.bin"]) == {}
    finally:
        guard.deactivate()
