"""The quick start of the README, as its reader runs it: a real server and real HTTP."""

import re
import runpy
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import PROJECT, Block, read_blocks
from tests.servers.http_server import serve

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def source() -> str:
    blocks: list[Block] = [example.parsed for example in read_blocks(PROJECT / "README.md")]
    (source,) = [block.source for block in blocks if block.title == "main.py"]
    return source


def test_quick_start_is_short(source: str) -> None:
    assert len([line for line in source.splitlines() if line.strip()]) <= 30


def test_quick_start_keeps_files_in_a_folder(source: str, tmp_path: Path) -> None:
    use(source)
    assert len(list((tmp_path / "var" / "files" / "documents").iterdir())) == 1


def test_quick_start_keeps_files_in_s3(source: str, pages_bucket: str, tmp_path: Path) -> None:
    storage = f'from fastapi_async_storages import S3Storage\nstorage = S3Storage("{pages_bucket}")'
    changed, count = re.subn(r"^storage = .*$", storage, source, flags=re.MULTILINE)
    assert count == 1
    use(changed)
    assert not (tmp_path / "var").exists()


def use(source: str) -> None:
    Path("main.py").write_text(source)
    app = runpy.run_path("main.py")["app"]
    content = b"%PDF-1.7\n%%EOF\n"

    with serve(app) as url, httpx.Client(base_url=url) as client:
        # The client says another type than the bytes do.
        created = client.post("/documents", files={"file": ("Bericht.pdf", content, "image/png")})
        document = created.json()
        served = client.get(document["url"])
        unsigned = client.get(f"/files/{document['name']}")
        refused = client.post("/documents", files={"file": ("a.sh", b"#!/bin/sh\n")})

    assert created.status_code == 201
    assert re.fullmatch(r"documents/[0-9a-f-]{36}\.pdf", document.pop("name"))
    assert document.pop("url").startswith(("/files/documents/", "http://"))
    assert document == {
        "filename": "Bericht.pdf",
        "content_type": "application/pdf",
        "size": len(content),
    }
    assert served.content == content
    assert served.headers["content-type"] == "application/pdf"
    assert unsigned.status_code == 403
    assert refused.status_code == 415
    assert refused.headers["content-type"] == "application/problem+json"
