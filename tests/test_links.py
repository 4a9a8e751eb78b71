import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages import LocalStorage, MemoryStorage
from fastapi_async_storages.exceptions import (
    ConfigurationError,
    InvalidNameError,
    InvalidSignatureError,
    LinkExpiredError,
)
from fastapi_async_storages.keys import normalize_name
from fastapi_async_storages.links import FileLinks, Link

pytestmark = pytest.mark.anyio

KEY, OLD_KEY = "k" * 32, "o" * 32
NOW = 1_700_000_000.5


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The time, which a test may change."""

    class Clock:
        now = NOW

    monkeypatch.setattr(time, "time", lambda: Clock.now)
    return Clock


def make(links: FileLinks, name: str = "a", **options: Any) -> str:
    return links.make(
        name, **{"expires_in": 3600, "filename": None, "disposition": None, **options}
    )


def token_of(url: str) -> str:
    (token,) = parse_qs(urlsplit(url).query)["token"]
    return token


@pytest.mark.parametrize(
    "base_url, url",
    [
        ("/files", "/files/a/b%20c.txt"),
        ("/files/", "/files/a/b%20c.txt"),
        ("/", "/a/b%20c.txt"),
        ("https://cdn.example.com", "https://cdn.example.com/a/b%20c.txt"),
        ("http://localhost:8000/x/", "http://localhost:8000/x/a/b%20c.txt"),
        ("https://[::1]:8000/x", "https://[::1]:8000/x/a/b%20c.txt"),
    ],
)
def test_plain_links(base_url: str, url: str) -> None:
    links = FileLinks(base_url, storage="S")
    assert not links.signed
    assert make(links, "a/b c.txt") == url


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "files",
        "//host",
        "ftp://host",
        "http://",
        "https:///x",
        "/a?b",
        "/a#b",
        "/a b",
        "/ä",
        "/a\\b",
        "/a\nb",
        "http://[",
        "javascript:alert(1)",
        "https://user:password@",
    ],
)
def test_bad_base_urls_are_refused_without_showing_them(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="S: base_url must be") as raised:
        FileLinks(base_url, storage="S")
    assert "password" not in str(raised.value)


@pytest.mark.parametrize(
    "options, query",
    [
        ({"disposition": "attachment"}, "?download=1"),
        ({"disposition": "inline"}, "?download=0"),
        ({"filename": "Größe 1.pdf"}, "?filename=Gr%C3%B6%C3%9Fe+1.pdf"),
        ({"filename": "../a\r\nb"}, "?filename=ab"),
        ({"disposition": "attachment", "filename": "a&b"}, "?download=1&filename=a%26b"),
        ({"filename": ""}, ""),
        ({"expires_in": 5}, ""),
    ],
)
def test_plain_links_say_what_was_asked_for(options: dict[str, Any], query: str) -> None:
    assert make(FileLinks("/f", storage="S"), **options) == f"/f/a{query}"


@given(st.text(max_size=20))
def test_a_link_is_ascii_and_names_its_file(name: str) -> None:
    try:
        safe = normalize_name(name)
    except InvalidNameError:
        return
    for links in (FileLinks("/f", storage="S"), FileLinks("/f", KEY, storage="S")):
        url = make(links, safe, filename=name)
        assert url.isascii()
        assert url.isprintable()
        assert " " not in url
        parts = urlsplit(url)
        assert (parts.netloc, parts.fragment) == ("", "")
        assert unquote(parts.path) == f"/f/{safe}"


def test_signed_links_bring_back_what_they_grant() -> None:
    links = FileLinks("/f", KEY, storage="S")
    assert links.signed
    for options in (
        {},
        {"filename": "Größe.pdf"},
        {"disposition": "inline"},
        {"disposition": "attachment", "filename": "a.pdf"},
    ):
        link = links.verify("a", token_of(make(links, **options)))
        assert link == Link(link.expires_at, options.get("filename"), options.get("disposition"))  # type: ignore[arg-type]


@pytest.mark.parametrize("expires_in", [1, 2, 9, 10, 11, 59, 60, 100, 3600, 86400, 10**7])
def test_a_link_lives_as_long_as_asked_for_and_a_tenth_more_at_most(
    expires_in: int, clock: Any
) -> None:
    links = FileLinks("/f", KEY, storage="S")
    for moment in range(0, 4000, 37):
        clock.now = NOW + moment / 7
        link = links.verify("a", token_of(make(links, expires_in=expires_in)))
        left = link.expires_at - clock.now
        assert expires_in <= left <= expires_in + max(expires_in // 10, 1)


def test_calls_within_a_window_give_one_url(clock: Any) -> None:
    links = FileLinks("/f", KEY, storage="S")
    clock.now = 1_700_000_280.0  # A multiple of 360 seconds, a tenth of an hour.
    urls = []
    for seconds in range(0, 720, 5):
        clock.now = 1_700_000_280.0 + 0.001 + seconds
        urls.append(make(links))
    assert len(set(urls)) in (2, 3)
    assert urls == sorted(urls, key=urls.index)


def test_an_expired_link_says_so(clock: Any) -> None:
    links = FileLinks("/f", KEY, storage="S")
    token = token_of(make(links, expires_in=100))
    clock.now = NOW + 99.9
    links.verify("a", token)
    clock.now = NOW + 111
    with pytest.raises(LinkExpiredError) as raised:
        links.verify("a", token)
    assert (raised.value.storage, raised.value.name) == ("S", "a")
    assert token not in str(raised.value)


def test_a_token_opens_one_file_of_one_storage() -> None:
    links = FileLinks("/f", KEY, storage="S")
    token = token_of(make(links, "a/b"))
    links.verify("a/b", token)
    for other, name in (
        (links, "a"),
        (links, "a/b/c"),
        (links, "A/B"),
        (FileLinks("/g", KEY, storage="S"), "a/b"),
        (FileLinks("/f/a", KEY, storage="S"), "b"),
        (FileLinks("https://host/f", KEY, storage="S"), "a/b"),
        (FileLinks("/f", OLD_KEY, storage="S"), "a/b"),
    ):
        with pytest.raises(InvalidSignatureError) as raised:
            other.verify(name, token)
        assert (raised.value.storage, raised.value.name) == ("S", name)
        assert token not in str(raised.value)
    FileLinks("/f/", KEY, storage="S").verify("a/b", token)


def test_keys_rotate() -> None:
    old = token_of(make(FileLinks("/f", OLD_KEY, storage="S")))
    rotated = FileLinks("/f", [KEY, OLD_KEY], storage="S")
    rotated.verify("a", old)
    FileLinks("/f", KEY, storage="S").verify("a", token_of(make(rotated)))


@pytest.mark.parametrize("token", ["", "x", "a.b", "\ud800", "é"])
def test_malformed_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidSignatureError):
        FileLinks("/f", KEY, storage="S").verify("a", token)


def test_missing_options_are_said() -> None:
    with pytest.raises(ConfigurationError, match="S has no URLs: pass base_url"):
        make(FileLinks(None, KEY, storage="S"))
    with pytest.raises(ConfigurationError, match="S signs no links: pass secret_key"):
        FileLinks("/f", storage="S").verify("a", "token")
    with pytest.raises(ConfigurationError, match="at least 16 bytes"):
        FileLinks("/f", "short", storage="S")


@pytest.fixture(params=["memory", "local"])
def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        return MemoryStorage
    return lambda **options: LocalStorage(tmp_path, **options)


async def test_storages_link_to_their_files(make_storage: Any) -> None:
    storage = make_storage(base_url="/files", secret_key=[KEY, OLD_KEY])
    url = await storage.get_path(
        "a//b c", expires_in=timedelta(minutes=5), filename="x.txt", disposition="attachment"
    )
    assert url.startswith("/files/a/b%20c?token=")
    link = storage.links.verify("a/b c", token_of(url))
    assert (link.filename, link.disposition) == ("x.txt", "attachment")
    assert 300 <= link.expires_at - NOW <= 330
    assert await make_storage(base_url="/files").get_path("a") == "/files/a"
    for text in (repr(storage), str(storage), str(vars(storage))):
        assert KEY not in text
        assert OLD_KEY not in text


async def test_storages_without_a_base_url_say_what_to_do(make_storage: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Storage\(.*\) has no URLs: pass base_url"):
        await make_storage(secret_key=KEY).get_path("a")
