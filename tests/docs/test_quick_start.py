"""The quick start of the README, as its reader runs it: a real server and real HTTP."""

import runpy
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import PROJECT, Block, read_blocks
from tests.servers.http_server import serve


def test_quick_start_stores_an_upload_and_links_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[Block] = [example.parsed for example in read_blocks(PROJECT / "README.md")]
    (source,) = [block.source for block in blocks if block.title == "main.py"]
    (tmp_path / "main.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", "x" * 32)
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
    assert document["name"].startswith("documents/")
    assert document["name"].endswith(".pdf")
    assert document | {"name": "", "url": ""} == {
        "name": "",
        "filename": "Bericht.pdf",
        "content_type": "application/pdf",
        "size": len(content),
        "url": "",
    }
    assert served.content == content
    assert served.headers["content-type"] == "application/pdf"
    assert unsigned.status_code == 403
    assert refused.status_code == 415
    assert refused.headers["content-type"] == "application/problem+json"


def test_quick_start_is_short() -> None:
    blocks: list[Block] = [example.parsed for example in read_blocks(PROJECT / "README.md")]
    (source,) = [block.source for block in blocks if block.title == "main.py"]
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
