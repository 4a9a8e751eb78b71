import unicodedata
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.keys import (
    clean_filename,
    normalize_name,
    normalize_prefix,
    unique_name,
)

TEXT = st.text(st.characters(), max_size=40)  # Surrogates too.
PATHS = st.lists(
    st.sampled_from(["", ".", "..", "/", "\\", "a", "é", "e\u0301", "\0", "\n", " ", "日本", "..."])
).map("".join)


@pytest.mark.parametrize(
    "name, safe",
    [
        ("a", "a"),
        ("reports/2026/summary.pdf", "reports/2026/summary.pdf"),
        ("a//b/./c/", "a/b/c"),
        ("./a", "a"),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
        (" a ", " a "),
        ("a%2F..%2Fb", "a%2F..%2Fb"),
        ("e\u0301.txt", "é.txt"),
        ("\uff0e\uff0e/a", "\uff0e\uff0e/a"),  # Full-width dots are no dots: NFC, not NFKC.
        ("~/a", "~/a"),
        ("C:a", "C:a"),
        ("x" * 1024, "x" * 1024),
        ("x" * 1020 + "/./x", "x" * 1020 + "/x"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert normalize_name(name) == safe


@pytest.mark.parametrize(
    "name, problem",
    [
        ("", "it is empty"),
        (".", "it is empty"),
        ("./.", "it is empty"),
        ("/", "it is absolute"),
        ("/a", "it is absolute"),
        ("//a", "it is absolute"),
        ("..", "'..' segment"),
        ("a/../b", "'..' segment"),
        ("a/..", "'..' segment"),
        ("a\\b", "backslash"),
        ("a\0b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x7f", "U+007F"),
        ("a\x85", "U+0085"),
        ("a\ud800", "U+D800"),
        ("a\uffff", "U+FFFF"),
        ("x" * 1025, "1025 bytes in UTF-8, at most 1024"),
        ("é" * 513, "1026 bytes in UTF-8, at most 1024"),
    ],
)
def test_bad_names_are_refused_with_the_reason(name: str, problem: str) -> None:
    with pytest.raises(InvalidNameError) as raised:
        normalize_name(name)
    assert problem in str(raised.value)
    assert raised.value.name == name
    assert str(raised.value).isascii()
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("name", [None, 1, b"a", ["a"]])
def test_only_text_is_a_name(name: object) -> None:
    with pytest.raises(InvalidNameError, match=f"not {type(name).__name__}"):
        normalize_name(name)  # type: ignore[arg-type]


@given(TEXT | PATHS)
def test_a_safe_name_is_safe(name: str) -> None:
    try:
        safe = normalize_name(name)
    except InvalidNameError:
        return
    assert normalize_name(safe) == safe
    assert 1 <= len(safe.encode()) <= 1024
    assert not {"", ".", ".."} & set(safe.split("/"))
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in safe)
    assert "\\" not in safe
    assert unicodedata.normalize("NFC", safe) == safe
    assert quote(safe, safe="").isascii()
    assert normalize_name(unicodedata.normalize("NFD", safe)) == safe


@given(st.text("a./\\ ~\n\x7f", max_size=12))
def test_plain_names_are_judged_like_all_others(name: str) -> None:
    def judge(name: str) -> str | None:
        try:
            return normalize_name(name)
        except InvalidNameError:
            return None

    # Behind a folder that is not ASCII there is no short way.
    other = judge(f"é/{name.lstrip('/')}")
    if name.startswith("/") or other in (None, "é"):
        assert judge(name) is None
    else:
        assert judge(name) == other.removeprefix("é/")


def test_a_subclass_of_str_becomes_a_str() -> None:
    class Name(str):
        __slots__ = ()

    assert type(normalize_name(Name("a.txt"))) is str


@given(TEXT | PATHS)
def test_a_prefix_is_the_start_of_names(prefix: str) -> None:
    try:
        safe = normalize_prefix(prefix)
    except InvalidNameError:
        return
    assert safe == "" or safe.endswith("/")
    if len(safe) < 1000:
        assert normalize_name(f"{safe}x") == f"{safe}x"
        if prefix:
            assert normalize_name(f"{prefix}/x") == f"{safe}x"


@pytest.mark.parametrize(
    "prefix, safe", [("", ""), (".", ""), ("./", ""), ("a", "a/"), ("a/", "a/"), ("a//b/.", "a/b/")]
)
def test_prefixes_end_at_a_boundary(prefix: str, safe: str) -> None:
    assert normalize_prefix(prefix) == safe


@pytest.mark.parametrize("prefix", ["/", "/a", "..", "a/..", "a\\", "a\n"])
def test_bad_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(InvalidNameError):
        normalize_prefix(prefix)


def test_unique_names_are_unique_and_in_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {unique_name() for _ in range(1000)}
    assert len(names) == 1000
    for name in names:
        made = UUID(name)
        assert (made.version, str(made.variant)) == (7, "specified in RFC 4122")
    made_at = []
    for nanoseconds in (0, 1_000_000, 1_700_000_000_123_000_000, (2**48 - 1) * 1_000_000):
        monkeypatch.setattr("time.time_ns", lambda value=nanoseconds: value)
        made_at.append(unique_name())
        assert UUID(made_at[-1]).int >> 80 == nanoseconds // 1_000_000
    assert made_at == sorted(made_at)


def test_unique_names_have_prefix_and_extension() -> None:
    assert unique_name(prefix="photos//2026/", extension=".png").startswith("photos/2026/")
    assert unique_name(extension=".tar.gz").endswith(".tar.gz")
    for bad in ({"prefix": "../a"}, {"prefix": "/a"}, {"extension": "\n"}, {"extension": "/.."}):
        with pytest.raises(InvalidNameError):
            unique_name(**bad)


@pytest.mark.parametrize(
    "sent, kept",
    [
        (None, None),
        ("", None),
        (".", None),
        ("..", None),
        ("../", None),
        ("report.pdf", "report.pdf"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("/etc/passwd", "passwd"),
        ("../../x", "x"),
        ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("e\u0301.txt", "é.txt"),
        ("日本語 (1).txt", "日本語 (1).txt"),
        ("\ud800.txt", ".txt"),
        (" a ", "a"),
        ("\0", None),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("é" * 200 + ".pdf", "é" * 125 + ".pdf"),
        ("x" * 300, "x" * 255),
        ("." + "x" * 300, "." + "x" * 254),
    ],
)
def test_client_file_names_are_cleaned(sent: str | None, kept: str | None) -> None:
    assert clean_filename(sent) == kept


@given(TEXT | PATHS | st.text("é.x/\\", min_size=200, max_size=400))
def test_a_clean_file_name_is_clean(sent: str) -> None:
    kept = clean_filename(sent)
    if kept is None:
        return
    assert clean_filename(kept) == kept
    assert 1 <= len(kept.encode()) <= 255
    assert not set("/\\\r\n\0") & set(kept)
    assert kept not in (".", "..")
