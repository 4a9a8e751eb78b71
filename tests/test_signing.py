import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    InvalidSignatureError,
    LinkExpiredError,
)
from fastapi_async_storages.signing import EXPIRES_AT, TokenSigner

KEY, OLD_KEY, OTHER_KEY = "k" * 32, "o" * 32, "x" * 32
LATER = 2_000_000_000_000
SIGNER = TokenSigner(KEY, purpose="test")


@given(
    st.dictionaries(
        st.text(max_size=9).filter(lambda key: key != EXPIRES_AT),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
        max_size=4,
    )
)
def test_a_token_brings_its_payload_back(payload: dict[str, Any]) -> None:
    token = SIGNER.sign(payload, expires_at=LATER)
    assert token.isascii()
    assert not set(token) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert SIGNER.verify(token) == {**payload, EXPIRES_AT: LATER}


@given(st.text())
def test_what_we_did_not_sign_is_refused(token: str) -> None:
    with pytest.raises(InvalidSignatureError):
        SIGNER.verify(token)


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    token = SIGNER.sign({"name": "a"}, expires_at=LATER)
    index = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.characters(codec="ascii"))
    changed = token[:index] + char + token[index + 1 :]
    if changed == token:
        return
    try:
        payload = SIGNER.verify(changed)
    except InvalidSignatureError:
        return
    # The last character of base64 has bits that stand for nothing; the payload is the same.
    assert index == len(token) - 1
    assert payload == {"name": "a", EXPIRES_AT: LATER}


@pytest.mark.parametrize("token", ["", ".", "a.b", "é", "\ud800", "." * 1000, "eyJlIjoxfQ."])
def test_malformed_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidSignatureError, match="not valid"):
        SIGNER.verify(token)


def test_a_token_is_for_one_purpose_and_one_key() -> None:
    token = SIGNER.sign({}, expires_at=LATER)
    for signer in (TokenSigner(KEY, purpose="other"), TokenSigner(OTHER_KEY, purpose="test")):
        with pytest.raises(InvalidSignatureError):
            signer.verify(token)


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    token = SIGNER.sign({}, expires_at=int(now) + 10)
    now += 9.999
    SIGNER.verify(token)
    now += 0.001
    with pytest.raises(LinkExpiredError, match="has expired"):
        SIGNER.verify(token)


def test_keys_rotate() -> None:
    old = TokenSigner(OLD_KEY, purpose="test").sign({}, expires_at=LATER)
    rotated = TokenSigner([KEY, OLD_KEY], purpose="test")
    rotated.verify(old)
    new = rotated.sign({}, expires_at=LATER)
    SIGNER.verify(new)
    with pytest.raises(InvalidSignatureError):
        TokenSigner(OLD_KEY, purpose="test").verify(new)


@pytest.mark.parametrize(
    "key", ["", "short", "k" * 15, [], [KEY, "short"], b"k" * 32, [b"k" * 32], [None]]
)
def test_weak_keys_are_refused_without_showing_them(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as raised:
        TokenSigner(key, purpose="test")
    assert "short" not in str(raised.value)
    assert "kkk" not in str(raised.value)


def test_a_key_is_measured_in_bytes() -> None:
    TokenSigner("é" * 8, purpose="test")


def test_a_signer_hides_its_key() -> None:
    assert KEY not in repr(SIGNER)
    assert KEY not in str(vars(SIGNER).keys())
