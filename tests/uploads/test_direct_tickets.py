"""Tickets: what we sign comes back as it was, and nothing else is taken."""

import string
import time
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastapi_async_storages import LocalStorage, MemoryStorage
from fastapi_async_storages.exceptions import (
    ConfigurationError,
    InvalidSignatureError,
    LinkExpiredError,
)
from fastapi_async_storages.signing import TokenSigner
from fastapi_async_storages.uploads.tickets import Ticket, TicketOffice, find_secret_key

SECRET_KEY = "a key that only these tests know"
LATER = int(time.time()) + 3600

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
tickets = st.builds(
    Ticket,
    unique=texts,
    size=st.integers(min_value=0, max_value=2**53),
    content_type=texts,
    filename=st.none() | texts,
    checksum=st.none() | texts,
    upload_id=st.none() | texts,
    expires_at=st.just(LATER),
)
TICKET = Ticket(
    unique="0198",
    size=5,
    content_type="text/plain",
    filename="日本.txt",
    checksum=None,
    expires_at=LATER,
)


def make_office(
    secret_key: str | list[str] = SECRET_KEY, *, place: str = "/uploads", user: str = "ann"
) -> TicketOffice:
    return TicketOffice(secret_key, place=place, user=user)


@given(tickets)
def test_a_ticket_comes_back_as_it_was(ticket: Ticket) -> None:
    office = make_office()
    assert office.verify(office.sign(ticket)) == ticket
    assert office.verify_url(office.sign_url(ticket)) == ticket


@given(tickets)
def test_a_token_needs_no_escaping(ticket: Ticket) -> None:
    assert set(make_office().sign_url(ticket)) <= {*string.ascii_letters, *string.digits, *"-_."}


@given(st.text())
def test_no_text_is_a_ticket(text: str) -> None:
    for verify in (make_office().verify, make_office().verify_url):
        with pytest.raises(InvalidSignatureError):
            verify(text)


@given(tickets, st.data())
def test_no_changed_ticket_is_taken(ticket: Ticket, data: st.DataObject) -> None:
    office = make_office()
    token = office.sign(ticket)
    start = data.draw(st.integers(min_value=0, max_value=len(token)))
    end = data.draw(st.integers(min_value=start, max_value=min(len(token), start + 3)))
    inserted = data.draw(st.text("AZaz09-_.=\0 日", max_size=3))
    changed = token[:start] + inserted + token[end:]
    assume(changed != token)
    # Base64 has bits that say nothing at its end; what they spell is the same ticket.
    try:
        verified = office.verify(changed)
    except InvalidSignatureError:
        return
    assert verified == ticket


@given(tickets)
def test_a_ticket_is_good_for_one_purpose_place_and_user(ticket: Ticket) -> None:
    office = make_office()
    token, url_token = office.sign(ticket), office.sign_url(ticket)
    for other in (make_office(place="/other"), make_office(user="bob"), make_office(user="")):
        with pytest.raises(InvalidSignatureError):
            other.verify(token)
    for verify, wrong in ((office.verify, url_token), (office.verify_url, token)):
        with pytest.raises(InvalidSignatureError):
            verify(wrong)
    with pytest.raises(InvalidSignatureError):
        make_office("another key of the same length!!").verify(token)


@given(texts, texts, texts, texts)
def test_no_two_places_and_users_are_the_same(
    place: str, user: str, other_place: str, other_user: str
) -> None:
    assume((place, user) != (other_place, other_user))
    token = make_office(place=place, user=user).sign(TICKET)
    with pytest.raises(InvalidSignatureError):
        make_office(place=other_place, user=other_user).verify(token)


def test_the_url_works_for_whoever_has_it() -> None:
    assert make_office(user="bob").verify_url(make_office(user="ann").sign_url(TICKET)) == TICKET


def test_a_ticket_does_not_tell_whose_it_is() -> None:
    ticket = make_office(user="ann@example.com").sign(TICKET)
    payload = TokenSigner(SECRET_KEY, purpose='["upload", "/uploads", "ann@example.com"]')
    assert "ann" not in str(payload.verify(ticket))


@pytest.mark.parametrize("seconds", [0, -1, -3600])
def test_a_ticket_ends(seconds: int) -> None:
    office = make_office()
    ended = replace(TICKET, expires_at=int(time.time()) + seconds)
    with pytest.raises(LinkExpiredError):
        office.verify(office.sign(ended))
    with pytest.raises(LinkExpiredError):
        office.verify_url(office.sign_url(ended))


def test_keys_can_be_rotated() -> None:
    old, new = "the old key of some length", "the new key of some length"
    token = make_office(old).sign(TICKET)
    assert make_office([new, old]).verify(token) == TICKET
    with pytest.raises(InvalidSignatureError):
        make_office(new).verify(token)
    with pytest.raises(InvalidSignatureError):
        make_office(old).verify(make_office([new, old]).sign(TICKET))


def test_the_key_is_that_of_the_router_or_else_of_the_storage(tmp_path: object) -> None:
    storage = LocalStorage(str(tmp_path), base_url="/files", secret_key="the storage's own key")
    assert find_secret_key(storage, None) == "the storage's own key"
    assert find_secret_key(storage, SECRET_KEY) == SECRET_KEY
    with pytest.raises(ConfigurationError, match="pass secret_key to create_uploads_router"):
        find_secret_key(MemoryStorage(), None)
