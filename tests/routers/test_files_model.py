"""Any file under any conditions is answered byte for byte as the RFC says, on each backend."""

import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_async_storages import Storage
from tests.http_model import DrawnRequest, expect, requests

pytestmark = pytest.mark.anyio

# Around the sizes in which backends read, too.
contents = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda seed, size: (seed * (size // len(seed) + 1))[:size],
        st.binary(min_size=1, max_size=20),
        st.sampled_from([1024, 262_143, 262_144, 262_145, 1_048_577]),
    ),
)


# Drawn before the test runs: the way in which hypothesis gives up a draw would end the event loop.
@given(drawn=contents.flatmap(lambda content: st.tuples(st.just(content), requests(len(content)))))
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_every_request_gets_what_the_rfc_says(
    storage: Storage, public_client: AsyncClient, drawn: tuple[bytes, DrawnRequest]
) -> None:
    content, request = drawn
    await storage.upload(content, "folder/file.bin")
    info = await storage.get_info("folder/file.bin")
    assert info.etag is not None
    assert info.last_modified is not None
    headers = request.to_headers(info.etag, info.last_modified)

    answer = await public_client.get("/files/folder/file.bin", headers=headers)
    head = await public_client.head("/files/folder/file.bin", headers=headers)

    expected = expect(request, content)
    assert answer.status_code == expected.status, headers
    assert answer.headers.get("content-range") == expected.content_range
    if expected.status in (200, 206):
        assert answer.content == expected.body
        assert answer.headers["content-length"] == str(len(expected.body))
    if expected.status in (200, 206, 304):
        assert answer.headers["etag"] == info.etag
    assert head.content == b""
    assert head.status_code == expect(request, content, is_get=False).status
    if head.status_code == answer.status_code == 304:
        # S3 tells less with a 304 than with the record that HEAD asks for.
        assert set(answer.headers.items()) <= set(head.headers.items())
    elif head.status_code == answer.status_code:
        assert dict(head.headers) == dict(answer.headers)
