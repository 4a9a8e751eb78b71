"""Our signer of URLs says what the SDK and Amazon's documentation say."""

import functools
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastapi_async_storages.backends._s3_presigning import SAMPLE_KEY, UrlSigner
from fastapi_async_storages.dispositions import content_disposition

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_the_example_of_the_documentation() -> None:
    # Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters".
    signer = UrlSigner("https://examplebucket.s3.amazonaws.com/", region="us-east-1")
    credentials: Any = ReadOnlyCredentials(
        "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None
    )
    url = signer.sign(
        "test.txt",
        parameters={},
        expires_in=86400,
        credentials=credentials,
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert url.endswith(
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


ENDPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "AWS": ("files", {"region_name": "eu-west-1"}),
    "AWS without a region": ("files", {}),
    "AWS in China": ("files", {"region_name": "cn-north-1"}),
    "AWS, no name for a host": ("my.files", {"region_name": "eu-west-1"}),
    "AWS, accelerated": ("files", {"s3": {"use_accelerate_endpoint": True}}),
    "AWS, dual stack": (
        "files",
        {"region_name": "eu-west-1", "s3": {"use_dualstack_endpoint": True}},
    ),
    "AWS, access point": (
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/files",
        {"region_name": "eu-west-1"},
    ),
    "own": ("files", {"endpoint_url": "https://s3.example.com", "region_name": "us-east-1"}),
    "own, with a port": ("files", {"endpoint_url": "http://LocalHost:9000", "region_name": "r"}),
    "own, with a needless port": ("files", {"endpoint_url": "http://s3:80", "region_name": "r"}),
    "own, with another needless port": (
        "files",
        {"endpoint_url": "https://s3.example.com:443", "region_name": "r"},
    ),
    "own, with a path": ("files", {"endpoint_url": "https://example.com/s3", "region_name": "r"}),
    "own, by IPv6": ("files", {"endpoint_url": "http://[::1]:9000", "region_name": "r"}),
    "own, virtual": (
        "files",
        {
            "endpoint_url": "https://s3.example.com",
            "region_name": "r",
            "s3": {"addressing_style": "virtual"},
        },
    ),
}

SESSION = botocore.session.Session()


class Sdk:
    """The SDK with one endpoint and one set of credentials."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self.bucket, options = ENDPOINTS[endpoint]
        self.credentials: Any = ReadOnlyCredentials("AKIDEXAMPLE", "secret/+=", token)
        options = dict(options)
        config = Config(signature_version="s3v4", s3=options.pop("s3", None))
        self.client: Any = SESSION.create_client(
            "s3",
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            aws_session_token=token,
            config=config,
            **options,
        )

    def presign(self, key: str, *, expires_in: int, header: str | None) -> str:
        options = {"ResponseContentDisposition": header} if header else {}
        with patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
            url: str = self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": key, **options},
                ExpiresIn=expires_in,
            )
        return url


def sorted_query(url: str) -> tuple[str, list[str]]:
    """The order of query parameters is the only thing in which two good URLs may differ."""
    bare, _, query = url.partition("?")
    return bare, sorted(query.split("&"))


@pytest.mark.parametrize("token", [None, "token/+=="])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=15, deadline=None)
@given(
    key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
    filename=st.none() | st.text(max_size=20),
    expires_in=st.integers(1, 604800),
)
@example(key="a b/ü+%2F~(x)'*&=?#;:@$,!.txt", filename="ü 50%.txt", expires_in=60)
def test_any_url_is_the_one_of_the_sdk(
    endpoint: str, token: str | None, key: str, filename: str | None, expires_in: int
) -> None:
    sdk = get_sdk(endpoint, token)
    signer = UrlSigner.from_sample(sdk.presign(SAMPLE_KEY, expires_in=1, header=None))
    assert signer is not None
    header = content_disposition("attachment", filename) if filename else None
    ours = signer.sign(
        key,
        parameters={"response-content-disposition": header} if header else {},
        expires_in=expires_in,
        credentials=sdk.credentials,
        now=NOW,
    )
    theirs = sdk.presign(key, expires_in=expires_in, header=header)
    assert sorted_query(ours) == sorted_query(theirs)


get_sdk = functools.cache(Sdk)


def test_the_key_changes_with_the_day_and_with_the_credentials() -> None:
    sdk = get_sdk("AWS", None)
    other: Any = ReadOnlyCredentials("AKIDEXAMPLE", "other", None)
    signer = UrlSigner.from_sample(sdk.presign(SAMPLE_KEY, expires_in=1, header=None))
    assert signer is not None
    moments = [NOW, NOW + timedelta(days=1), NOW]
    urls = [
        signer.sign("a", parameters={}, expires_in=1, credentials=credentials, now=moment)
        for moment in moments
        for credentials in (sdk.credentials, other)
    ]
    assert len(set(urls)) == 4
    assert sorted_query(urls[-2]) == sorted_query(sdk.presign("a", expires_in=1, header=None))


@pytest.mark.parametrize(
    "sample",
    [
        "https://files.example.com/sample",
        "https://files.example.com/sample?AWSAccessKeyId=AKID&Signature=x&Expires=1",
        "https://files.example.com/sample?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256"
        "&X-Amz-Credential=AKID/20260203/s3/aws4_request&X-Amz-SignedHeaders=host",
        "https://files.example.com/sample?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKID/20260203/r/s3/aws4_request&X-Amz-SignedHeaders=host"
        "&X-Amz-S3session-Token=x",
        "https://files.example.com/sample?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKID/20260203/r/s3/aws4_request&X-Amz-SignedHeaders=host;x-amz-own",
    ],
)
def test_other_signatures_are_left_to_the_sdk(sample: str) -> None:
    assert UrlSigner.from_sample(sample) is None
