"""The time that a check takes must not tell how much of a signature was right."""

import hmac

import pytest

from fastapi_async_storages.exceptions import InvalidSignatureError
from fastapi_async_storages.signing import TokenSigner

KEY = "a key of these tests, long enough"


@pytest.mark.parametrize("position", [0, 20], ids=["at its start", "in its middle"])
def test_signatures_are_compared_in_constant_time(
    position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Measuring nanoseconds on a busy machine shows nothing, so it is seen who compares.
    compare = hmac.compare_digest
    compared: list[tuple[bytes, bytes]] = []

    def watch(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    signer = TokenSigner([KEY, f"an older {KEY}"], purpose="test")
    payload, _, signature = signer.sign({}, expires_at=2**40).rpartition(".")
    changed = list(signature)
    changed[position] = "A" if changed[position] != "A" else "Q"
    with pytest.raises(InvalidSignatureError):
        signer.verify(f"{payload}.{''.join(changed)}")
    # Once for each key, and the whole signature wherever it is wrong.
    assert [(len(one), len(other)) for one, other in compared] == [(32, 32)] * 2
