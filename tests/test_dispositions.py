"""Content-Disposition: one line of ASCII, whatever the file is called, that browsers read back."""

from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastapi_async_storages.dispositions import Disposition, content_disposition


@pytest.mark.parametrize(
    "filename, header",
    [
        (None, "attachment"),
        ("", "attachment"),
        ("\r\n\x00\u202e", "attachment"),
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("my report (1).pdf", 'attachment; filename="my report (1).pdf"'),
        ("naïve.txt", "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
        (
            "日本\u3000.txt",
            "attachment; filename=\"___.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%E3%80%80.txt",
        ),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a\\b/c.txt", "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%5Cb%2Fc.txt"),
        ("50%25.txt", "attachment; filename=\"50_25.txt\"; filename*=UTF-8''50%2525.txt"),
        ("a;b=c.txt", 'attachment; filename="a;b=c.txt"'),
        ("a\r\nSet-Cookie: x.txt", 'attachment; filename="aSet-Cookie: x.txt"'),
        ("\ud800.txt", 'attachment; filename=".txt"'),
        ("photo\u202egpj.exe", 'attachment; filename="photogpj.exe"'),
    ],
)
def test_examples(filename: str | None, header: str) -> None:
    assert content_disposition("attachment", filename) == header


def test_other_dispositions_are_refused() -> None:
    with pytest.raises(ValueError, match="'inline' or 'attachment'"):
        content_disposition("inline\r\nX: y")  # type: ignore[arg-type]


@given(st.sampled_from(["inline", "attachment"]), st.text(max_size=80))
@example("inline", " ")
@example("inline", " \xa0")
def test_any_name_survives_and_none_breaks_out(disposition: Disposition, filename: str) -> None:
    value = content_disposition(disposition, filename)
    assert value.isascii()
    assert value.isprintable()
    kind, filename_ascii, filename_any = _parse(value)
    assert kind == disposition
    characters = iter(filename)
    assert all(char in characters for char in filename_any)  # Some left out, none put in.
    if filename.isprintable():
        assert filename_any == filename
    assert len(filename_ascii) == len(filename_any)
    assert not set('"\\/') & set(filename_ascii)


def _parse(value: str) -> tuple[str, str, str]:
    """Read the header as RFC 6266 says: ``filename*`` goes before ``filename``."""
    message = Message()
    message["Content-Disposition"] = value.partition("; filename*=")[0]
    # get_filename() would strip it.
    plain = str(message.get_param("filename", "", "content-disposition"))
    extended = value.partition("; filename*=UTF-8''")[2]
    return (
        message.get_content_disposition() or "",
        plain,
        unquote(extended) if extended else plain,
    )
