import inspect
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.settings import storage_from_url
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio

SECRET = "wJalrXUtnFEMI/K7MDENG@bPxRfiCYEXAMPLEKEY"
SIGNING_KEY = "0123456789abcdef0123456789abcdef"


async def test_memory() -> None:
    storage = storage_from_url("memory://?base_url=/files", secret_key=SIGNING_KEY)
    assert isinstance(storage, MemoryStorage)
    assert (await storage.get_path("a")).startswith("/files/a?token=")


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "file:{}"])
async def test_a_folder(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "my files #1"
    url = form.format(quote(str(folder))) + "?base_url=https://example.com/files"
    storage = storage_from_url(url, secret_key=[SIGNING_KEY])
    assert isinstance(storage, LocalStorage)
    await storage.upload(b"x", "a.txt")
    assert (folder / "a.txt").read_bytes() == b"x"
    assert (await storage.get_path("a.txt")).startswith("https://example.com/files/a.txt?token=")


async def test_a_folder_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await storage_from_url("file:var/files").upload(b"x", "a.txt")
    assert (tmp_path / "var/files/a.txt").read_bytes() == b"x"


@pytest.mark.parametrize("credentials_in", ["url", "environment"])
async def test_a_bucket(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, credentials_in: str
) -> None:
    keys = ""
    if credentials_in == "url":
        keys = f"{quote(s3_server.access_key, '')}:{quote(s3_server.secret_key, '')}@"
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    prefix = f"settings-{uuid4()}"
    url = f"s3://{keys}{s3_server.bucket}/{prefix}/a%20b/?endpoint_url={s3_server.endpoint_url}"
    async with storage_from_url(url, secret_key=SIGNING_KEY) as storage:
        assert repr(storage) == f"S3Storage({s3_server.bucket!r}, prefix='{prefix}/a b/')"
        await storage.upload(b"x", "c.txt")
        assert [info.name async for info in storage.list()] == ["c.txt"]
        assert f"/{s3_server.bucket}/{prefix}/a%20b/c.txt?" in await storage.get_path("c.txt")


async def test_options_of_s3() -> None:
    async with storage_from_url(
        "s3://key:secret@files?endpoint_url=localhost:9000&use_ssl=false&region_name=eu-central-1"
        "&custom_domain=cdn.example.com&querystring_auth=0&addressing_style=path"
        "&checksum_mode=when_required&part_size=5242880&max_concurrency=2&default_acl=private"
        "&public_endpoint_url=https://s3.example.com"
    ) as storage:
        assert await storage.get_path("a") == "http://cdn.example.com/a"


def test_every_argument_of_s3_storage_has_a_place_in_the_url() -> None:
    with pytest.raises(ConfigurationError, match="known are") as caught:
        storage_from_url("s3://files?x=1")
    options = set(str(caught.value).partition("known are: ")[2].rstrip(".").split(", "))
    arguments = set(inspect.signature(S3Storage).parameters)
    elsewhere = {"bucket_name", "prefix", "aws_access_key_id", "aws_secret_access_key"}
    # Temporary credentials come from where they are renewed, a private key is a secret, and a
    # client has no text.
    code_only = {"aws_session_token", "client_config"}
    cloudfront = {"cloudfront_key_id", "cloudfront_private_key"}
    assert arguments - options == elsewhere | code_only | cloudfront


@pytest.mark.parametrize(
    "url,named",
    [
        ("", "scheme ''.*s3://"),
        ("var/files", "scheme ''"),
        ("gs://files", "scheme 'gs'.*file:///folder"),
        ("s3://files?bucket=x", "'bucket'.*endpoint_url"),
        ("s3://files?aws_secret_access_key=x", "'aws_secret_access_key'"),
        ("s3://files?use_ssl=maybe", "use_ssl='maybe'.*true or false"),
        ("s3://files?part_size=5MB", "part_size='5MB'.*whole number"),
        ("s3://files?part_size=1", "part_size must be"),
        ("s3://files?region_name=", "region_name=''.*empty"),
        ("s3://files?region_name=a&region_name=b", "'region_name' twice"),
        ("s3://files?addressing_style=sideways", "addressing_style='sideways'.*virtual"),
        ("s3://files?checksum_mode=never", "checksum_mode='never'.*when_required"),
        ("s3://files?region_name", "no URL"),
        ("s3://files#x", "%23"),
        ("s3://", "s3://bucket"),
        ("s3:///files", "s3://bucket"),
        ("s3://localhost:9000/files", "endpoint_url"),
        ("file://var/files", "three slashes"),
        ("file:", "three slashes"),
        ("file:///x?root=/", "'root'"),
        ("memory://files", "memory://"),
        ("memory:///files", "memory://"),
        ("memory://?secret_key=x", "'secret_key'"),
    ],
)
def test_what_is_not_understood_is_named(url: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        storage_from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIDEXAMPLE:{SECRET}@files",
        f"s3://AKIDEXAMPLE:{quote(SECRET, '')}@",
        f"s3://AKIDEXAMPLE:{quote(SECRET, '')}@files:9000",
        f"s3://:{quote(SECRET, '')}@files",
        f"s3://AKIDEXAMPLE:{quote(SECRET, '')}@files?x=1",
        f"s3://AKIDEXAMPLE:{quote(SECRET, '')}@files?use_ssl",
        f"s3://AKIDEXAMPLE:{quote(SECRET, '')}@files#x",
        f"s3://AKIDEXAMPLE:{quote(SECRET, '')}@[files",
        f"file://AKIDEXAMPLE:{quote(SECRET, '')}@files",
    ],
)
def test_no_error_shows_a_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        storage_from_url(url)
    error: Any = caught.value
    while error is not None:
        assert "K7MDENG" not in f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_the_storage_does_not_show_it_either() -> None:
    assert "K7MDENG" not in repr(storage_from_url(f"s3://AKID:{quote(SECRET, '')}@files"))
