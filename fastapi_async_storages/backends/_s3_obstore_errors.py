"""What obstore raises, as errors of our own tree.

Its errors carry no status and no error code, only a text: a sentence, then a dump of the cause. The
dump is what is read here, line by line. A name cannot imitate one of these lines: it stands in the
dump within quotes, on a line of its own.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from obstore import exceptions as sdk

from fastapi_async_storages.backends._s3_errors import error_of_answer, to_message
from fastapi_async_storages.exceptions import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    IncompleteReadError,
    StorageError,
)

__all__ = ["UnreadableAnswerError", "translate_obstore_errors"]


class UnreadableAnswerError(BackendError):
    """obstore cannot read an answer, such as one with a header that is not ASCII."""


_DUMP = "\n\nDebug source:\n"
_STATUS = re.compile(r"^\s*status: ([0-9]{3}),$", re.MULTILINE)
_BODY = re.compile(r'^\s*body: Some\(\n\s*"(.*)",$', re.MULTILINE)
_CODE = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_HOST = re.compile(r"^\s*https?://([^/@\s]+)/", re.MULTILINE)
_KIND = re.compile(r"^\s*kind: ([A-Z][A-Za-z]+),$", re.MULTILINE)
_REDIRECT = re.compile(r"^\s*inner: BareRedirect,$", re.MULTILINE)
_REQUEST = re.compile(r"^\s*RetryErrorImpl \{$", re.MULTILINE)

# For a text without a dump.
_STATUS_BY_TYPE: Mapping[type[Exception], HTTPStatus] = {
    FileNotFoundError: HTTPStatus.NOT_FOUND,
    sdk.AlreadyExistsError: HTTPStatus.PRECONDITION_FAILED,
    sdk.NotModifiedError: HTTPStatus.NOT_MODIFIED,
    sdk.PermissionDeniedError: HTTPStatus.FORBIDDEN,
    sdk.PreconditionError: HTTPStatus.PRECONDITION_FAILED,
    sdk.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
}

# Of a request that got no whole answer; `HttpErrorKind` of the Rust crate object_store.
_FAILURES: Mapping[str, tuple[type[StorageError], str]] = {
    "Connect": (BackendUnavailableError, "no connection"),
    "Request": (BackendUnavailableError, "the connection was lost"),
    "Interrupted": (BackendUnavailableError, "the connection was lost"),
    "Timeout": (BackendTimeoutError, "no answer in time"),
}

_BODY_LOST = (IncompleteReadError, "the connection was lost within the body")
_BODY_FAILURES: Mapping[str, tuple[type[StorageError], str]] = {
    "Request": _BODY_LOST,
    "Interrupted": _BODY_LOST,
    "Timeout": (BackendTimeoutError, "no answer in time"),
}

_UNKNOWN = (UnreadableAnswerError, "the transfer engine failed")
_NO_TLS = (BackendUnavailableError, "no TLS connection")


@contextmanager
def translate_obstore_errors(storage: str, name: str) -> Iterator[None]:
    """Raise what obstore raises within the block as an error of our own tree.

    Its error is not chained to it: the text holds the URL of the request.

    Args:
        storage: How messages name the storage.
        name: The file that the request is about.
    """
    try:
        yield
    except StorageError:
        raise  # One of our own, which are such builtins too.
    except (sdk.BaseError, FileNotFoundError, ValueError) as error:
        translated = _translate(error, storage, name)
    else:
        return
    raise translated from None


def _translate(error: Exception, storage: str, name: str) -> StorageError:
    dump = str(error).rpartition(_DUMP)[2]
    status = _find(_STATUS, dump)
    if status is None and _REDIRECT.search(dump):
        status = str(HTTPStatus.MOVED_PERMANENTLY.value)
    if status is None and type(error) in _STATUS_BY_TYPE:
        status = str(_STATUS_BY_TYPE[type(error)].value)
    if status is not None:
        code = _find(_CODE, _find(_BODY, dump) or "") or status
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": int(status)}}
        return error_of_answer(answer, storage, name)
    # The kind of the outermost error comes first in the dump.
    kind = _find(_KIND, dump) or ""
    failures = _FAILURES if _REQUEST.search(dump) else _BODY_FAILURES
    type_, reason = failures.get(kind, _UNKNOWN)
    if "InvalidCertificate(" in dump:
        type_, reason = _NO_TLS
    details = [type(error).__name__, kind, _find(_HOST, dump)]
    detail = ", ".join(part for part in details if part)
    return type_(to_message(storage, name, reason, detail), storage=storage, name=name)


def _find(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[1] if match else None
