"""What the SDK and the server say, as errors of our own tree: one table, one context manager."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from fastapi_async_storages.exceptions import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigurationError,
    IncompleteReadError,
    InvalidMetadataError,
    InvalidNameError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
)

__all__ = [
    "ConflictError",
    "error_of_answer",
    "error_of_code",
    "to_message",
    "translate_errors",
]


class ConflictError(BackendUnavailableError):
    """Another conditional write to the same name is under way; the same request may work later.

    Source: Amazon S3 API Reference, PutObject, ``If-None-Match``: 409 ConditionalRequestConflict.
    """


# Error codes that say more than the HTTP status, with what a person can do about each.
# Source: Amazon S3 API Reference, "Error responses", "List of error codes".
_ERRORS_BY_CODE: Mapping[str, tuple[type[StorageError], str]] = {
    "NoSuchBucket": (ConfigurationError, "there is no such bucket"),
    "InvalidBucketName": (ConfigurationError, "the server does not allow this bucket name"),
    "PermanentRedirect": (ConfigurationError, "the bucket is in another region; set region_name"),
    "AuthorizationHeaderMalformed": (
        ConfigurationError,
        "the bucket is in another region, or the server wants another one; set region_name",
    ),
    "IllegalLocationConstraintException": (
        ConfigurationError,
        "the bucket is in another region; set region_name",
    ),
    "AccessControlListNotSupported": (
        ConfigurationError,
        "the bucket has no ACLs; leave out default_acl",
    ),
    "NoSuchKey": (NotFoundError, "no such file"),
    # Not "no such file": only our own abort, or a clean-up rule of the bucket, ends an upload.
    "NoSuchUpload": (BackendError, "the multipart upload was ended by someone else"),
    "SignatureDoesNotMatch": (PermissionDeniedError, "the secret access key is wrong"),
    "InvalidAccessKeyId": (PermissionDeniedError, "the access key is unknown to the server"),
    "AccessDenied": (PermissionDeniedError, "the credentials do not allow this"),
    "ExpiredToken": (PermissionDeniedError, "the session token has expired"),
    "InvalidToken": (PermissionDeniedError, "the session token is wrong"),
    "RequestTimeTooSkewed": (
        PermissionDeniedError,
        "the clocks of this host and the server differ",
    ),
    "InvalidObjectState": (BackendError, "the file is archived and must be restored first"),
    "KeyTooLongError": (InvalidNameError, "the server does not allow a name of this length"),
    "MetadataTooLarge": (InvalidMetadataError, "the server does not allow this much metadata"),
    "ConditionalRequestConflict": (ConflictError, "another upload to this name is under way"),
    "BadDigest": (BackendError, "the bytes changed on their way to the server"),
    "XAmzContentSHA256Mismatch": (BackendError, "the bytes changed on their way to the server"),
    "RequestTimeout": (BackendTimeoutError, "the connection was idle for too long"),
    "SlowDown": (BackendUnavailableError, "the server asks to slow down"),
    "Throttling": (BackendUnavailableError, "the server asks to slow down"),
    "NotImplemented": (BackendError, "the server does not know this operation"),
}

# Where the code says nothing, as in the answer to a HEAD, which has no body.
_ERRORS_BY_STATUS: Mapping[int, tuple[type[StorageError], str]] = {
    301: (ConfigurationError, "the bucket is in another region; set region_name"),
    304: (NotModifiedError, "the file is the version that the reader has"),
    401: (PermissionDeniedError, "the credentials do not allow this"),
    403: (PermissionDeniedError, "the credentials do not allow this"),
    404: (NotFoundError, "no such file"),
    412: (PreconditionFailedError, "the file is not the version that was asked for"),
    416: (RangeNotSatisfiableError, "the file has no byte of the range"),
    429: (BackendUnavailableError, "the server asks to slow down"),
    500: (BackendError, "the server failed"),
    502: (BackendUnavailableError, "the server cannot be reached through its gateway"),
    503: (BackendUnavailableError, "the server is not available"),
    504: (BackendTimeoutError, "the server did not answer its gateway in time"),
}

_UNKNOWN = (BackendError, "the server refused the request")

# Errors of the SDK itself, the special before the general. The aiohttp ones come while a body is
# read; before that, aiobotocore has translated them.
_ERRORS_BY_TYPE: tuple[tuple[type[Exception], type[StorageError], str], ...] = (
    (sdk.NoCredentialsError, ConfigurationError, "no credentials were given and none were found"),
    (sdk.PartialCredentialsError, ConfigurationError, "only a part of the credentials was given"),
    (sdk.ProfileNotFound, ConfigurationError, "the AWS profile does not exist"),
    (sdk.SSOError, PermissionDeniedError, "the AWS single sign-on session is over; log in again"),
    (sdk.CredentialRetrievalError, BackendUnavailableError, "the credentials could not be loaded"),
    (sdk.MetadataRetrievalError, BackendUnavailableError, "the credentials could not be loaded"),
    (sdk.ConnectTimeoutError, BackendTimeoutError, "no connection in time"),
    (sdk.ReadTimeoutError, BackendTimeoutError, "no answer in time"),
    (sdk.SSLError, BackendUnavailableError, "no TLS connection"),
    (sdk.IncompleteReadError, IncompleteReadError, "the body ended before its last byte"),
    (sdk.ResponseStreamingError, IncompleteReadError, "the connection was lost within the body"),
    (sdk.FlexibleChecksumError, BackendError, "the bytes are not those that were stored"),
    (sdk.HTTPClientError, BackendUnavailableError, "the connection was lost"),
    (sdk.ConnectionError, BackendUnavailableError, "no connection"),
    (sdk.ParamValidationError, ConfigurationError, "the SDK refuses the bucket's name"),
    (sdk.BotoCoreError, BackendError, "the SDK failed"),
    (ResponseParserError, BackendError, "the answer is not one of S3"),
    (aiohttp.ClientPayloadError, IncompleteReadError, "the connection was lost within the body"),
    (aiohttp.ClientError, BackendUnavailableError, "the connection was lost"),
    (TimeoutError, BackendTimeoutError, "no answer in time"),
)


@contextmanager
def translate_errors(storage: str, name: str | None = None) -> Iterator[None]:
    """Raise what the SDK raises within the block as an error of our own tree.

    The SDK's error is not chained to it: the texts of some hold the URL of the request.

    Args:
        storage: How messages name the storage.
        name: The file that the request is about, if it is about one.
    """
    try:
        yield
    except sdk.ClientError as error:
        translated = error_of_answer(error.response, storage, name)
    except (sdk.BotoCoreError, ResponseParserError, aiohttp.ClientError, TimeoutError) as error:
        translated = _translate_failure(error, storage, name)
    else:
        return
    raise translated from None


def error_of_code(code: str, storage: str, name: str) -> StorageError:
    """Return the error of one file in an answer about many (``DeleteObjects``)."""
    kind, reason = _ERRORS_BY_CODE.get(code, _UNKNOWN)
    return kind(to_message(storage, name, reason, code), storage=storage, name=name)


def error_of_answer(answer: Mapping[str, Any], storage: str, name: str | None) -> StorageError:
    """Return the error that an answer of the server means, as the SDK parses answers."""
    details = answer.get("Error", {})
    metadata = answer.get("ResponseMetadata", {})
    code, status = str(details.get("Code", "")), metadata.get("HTTPStatusCode", 0)
    kind, reason = _ERRORS_BY_CODE.get(code) or _ERRORS_BY_STATUS.get(status) or _UNKNOWN
    label = code if code == str(status) else f"{status} {code}"
    message = to_message(storage, name, reason, label)
    headers = metadata.get("HTTPHeaders", {})
    if kind is NotModifiedError:
        return NotModifiedError(
            message,
            storage=storage,
            name=name,
            etag=headers.get("etag"),
            last_modified=_parse_date(headers.get("last-modified")),
        )
    if kind is RangeNotSatisfiableError:
        size = details.get("ActualObjectSize") or _size_of_range(headers.get("content-range", ""))
        return RangeNotSatisfiableError(
            message, storage=storage, name=name, size=int(size) if size else None
        )
    return kind(message, storage=storage, name=name)


def _translate_failure(error: Exception, storage: str, name: str | None) -> StorageError:
    kind, reason = next(
        (kind, reason) for base, kind, reason in _ERRORS_BY_TYPE if isinstance(error, base)
    )
    return kind(
        to_message(storage, name, reason, _describe_failure(error)), storage=storage, name=name
    )


def to_message(storage: str, name: str | None, reason: str, detail: str) -> str:
    """Say what is wrong with a storage or a file, and where that was found out."""
    subject = storage if name is None else f"{name!a} in {storage}"
    return f"{subject}: {reason} ({detail})."


def _describe_failure(error: Exception) -> str:
    """Say what failed and to which host, but not the rest of the URL, which may be signed."""
    details = getattr(error, "kwargs", {})
    parts = [type(error).__name__]
    if url := details.get("endpoint_url"):
        parts.append(urlsplit(str(url)).netloc.rpartition("@")[2])
    if cause := details.get("cause"):  # Of our own session: see _s3_credentials.
        parts.append(cause)
    if isinstance(cause := details.get("error"), OSError) and cause.strerror:
        parts.append(cause.strerror)
    return ", ".join(parts)


def _parse_date(value: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(value).astimezone(UTC) if value else None
    except ValueError:
        return None


def _size_of_range(content_range: str) -> str | None:
    match = re.fullmatch(r"bytes \*/([0-9]+)", content_range)
    return match[1] if match else None
