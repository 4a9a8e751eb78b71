"""URLs for CloudFront, verified as its documentation says that CloudFront does."""

import base64
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from fastapi import FastAPI

from fastapi_async_storages import S3Storage, create_files_router, public
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio

RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def to_pem(key: Any, encryption: KeySerializationEncryption | None = None) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return pem.decode()


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Load the signing code as apps do: when their storage is made, before there is a loop."""
    make_storage()


def make_storage(key: Any = RSA_KEY, **options: Any) -> S3Storage:
    return S3Storage(
        "bucket",
        custom_domain="d111111abcdef8.cloudfront.net",
        cloudfront_key_id="K2JCJMDEHXQW5F",
        cloudfront_private_key=to_pem(key),
        **options,
    )


def verify(url: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Check a URL as CloudFront does: the policy is made of the request, not of what is signed."""
    signed, _, rest = url.partition("Expires=")
    query = {name: values[0] for name, values in parse_qs("Expires=" + rest).items()}
    assert list(query) == ["Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm"]
    assert query["Key-Pair-Id"] == "K2JCJMDEHXQW5F"
    assert query["Hash-Algorithm"] == "SHA256"
    policy = (
        f'{{"Statement":[{{"Resource":"{signed[:-1]}","Condition":{{"DateLessThan":'
        f'{{"AWS:EpochTime":{query["Expires"]}}}}}}}]}}'
    ).encode()
    characters = query["Signature"].replace("-", "+").replace("_", "=").replace("~", "/")
    signature = base64.b64decode(characters, validate=True)
    if isinstance(key, rsa.RSAPrivateKey):
        key.public_key().verify(signature, policy, padding.PKCS1v15(), SHA256())
    else:
        key.public_key().verify(signature, policy, ec.ECDSA(SHA256()))


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["rsa", "ecdsa"])
async def test_a_url_is_signed_with_its_expiry(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    before = int(time.time())
    url = await make_storage(key, prefix="files").get_path("ordner/ü ?.txt", expires_in=100)

    assert url.startswith("https://d111111abcdef8.cloudfront.net/files/ordner/%C3%BC%20%3F.txt?")
    expires = int(parse_qs(urlsplit(url).query)["Expires"][0])
    assert before + 100 <= expires <= time.time() + 100
    verify(url, key)
    with pytest.raises(InvalidSignature):
        verify(url.replace("ordner", "other"), key)
    with pytest.raises(InvalidSignature):
        verify(url.replace(str(expires), str(expires + 1)), key)


async def test_how_a_file_is_shown_is_signed_too() -> None:
    url = await make_storage().get_path("a.pdf", filename="Ü.pdf", disposition="inline")

    verify(url, RSA_KEY)
    header = parse_qs(urlsplit(url).query)["response-content-disposition"][0]
    assert header == "inline; filename=\"_.pdf\"; filename*=UTF-8''%C3%9C.pdf"
    with pytest.raises(InvalidSignature):
        verify(url.replace("inline", "attachment"), RSA_KEY)


async def test_a_name_alone_means_saving() -> None:
    url = await make_storage().get_path("a.pdf", filename="b.pdf")

    assert 'attachment; filename="b.pdf"' in unquote(url)


async def test_a_router_redirects_to_the_distribution(s3_server: S3Server) -> None:
    storage = S3Storage(
        s3_server.bucket,
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        prefix="cloudfront",
        custom_domain="files.example.com",
        cloudfront_key_id="K2JCJMDEHXQW5F",
        cloudfront_private_key=to_pem(EC_KEY).encode(),
    )
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public), prefix="/files")
    async with open_client(app) as client:
        await storage.upload(b"text", "a.txt")
        answer = await client.get("/files/a.txt")

    assert answer.status_code == 307
    assert answer.headers["location"].startswith("https://files.example.com/cloudfront/a.txt?")
    verify(answer.headers["location"], EC_KEY)
    assert answer.headers["cache-control"].startswith("private, max-age=")


@pytest.mark.parametrize(
    "pem",
    [
        "not a key",
        "",
        to_pem(RSA_KEY)[:800],
        to_pem(RSA_KEY, BestAvailableEncryption(b"password")),
        to_pem(ec.generate_private_key(ec.SECP384R1())),
        to_pem(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["text", "empty", "cut", "password", "other curve", "other kind"],
)
def test_a_key_that_cloudfront_does_not_take_is_refused(pem: str) -> None:
    with pytest.raises(ConfigurationError, match="cloudfront_private_key"):
        S3Storage(
            "bucket",
            custom_domain="files.example.com",
            cloudfront_key_id="K2JCJMDEHXQW5F",
            cloudfront_private_key=pem,
        )


@pytest.mark.parametrize(
    "missing", ["custom_domain", "cloudfront_key_id", "cloudfront_private_key"]
)
def test_the_options_go_together(missing: str) -> None:
    options: dict[str, Any] = {
        "custom_domain": "files.example.com",
        "cloudfront_key_id": "K2JCJMDEHXQW5F",
        "cloudfront_private_key": to_pem(RSA_KEY),
    }
    del options[missing]
    with pytest.raises(ConfigurationError, match="go together"):
        S3Storage("bucket", **options)
