"""Finds credentials, presigned URLs and signed links in logs and in errors, whatever the test.

What an answer says of an error (``application/problem+json``) is made of the error's message and of
its values, so that who looks at every error looks at every answer.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi_async_storages.exceptions import StorageError, UploadRefusedError

__all__ = ["LeakWatch"]

_SIGNED = re.compile(
    r"X-Amz-(?:Signature|Credential|Security-Token)=\S"  # a presigned URL of S3
    r"|\b(?:Policy|Key-Pair-Id)=\S+&"  # one of CloudFront
    r"|\btoken=\.?[\w-]+\.[\w-]{20}"  # a signed link of a files router, or the URL of an upload
    r"|AWS4-HMAC-SHA256 Credential="  # the header of a signed request
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)

LOGGERS = {
    "fastapi_async_storages": logging.DEBUG,
    # At DEBUG they log the headers of requests, which SECURITY.md says.
    "aiobotocore": logging.INFO,
    "botocore": logging.INFO,
}


class LeakWatch(logging.Handler):
    """Looks at what is logged and at what is raised.

    Attributes:
        secrets: Texts that must not be seen, beside all that looks signed.
        leaks: Where one was seen, since the last :meth:`take`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.secrets: set[str] = set()
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record, with its traceback."""
        self.look(self.format(record), f"the log of {record.name}")

    def look(self, text: str, where: str) -> None:
        """Remember where a text has a secret in it; never the secret."""
        found = _SIGNED.search(text)
        if found or any(secret in text for secret in self.secrets):
            what = found[0][:16] if found else "a secret"
            self.leaks.append(f"{what!r} in {where}")

    def take(self) -> list[str]:
        """Return what was seen, and forget it."""
        leaks, self.leaks = self.leaks, []
        return leaks

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at all that is logged and raised within the block."""
        levels = {name: logging.getLogger(name).level for name in LOGGERS}
        with self._watching(StorageError), self._watching(UploadRefusedError):
            try:
                for name, level in LOGGERS.items():
                    logging.getLogger(name).setLevel(level)
                    logging.getLogger(name).addHandler(self)
                yield
            finally:
                for name, level in levels.items():
                    logging.getLogger(name).removeHandler(self)
                    logging.getLogger(name).setLevel(level)

    @contextmanager
    def _watching(self, kind: type[StorageError]) -> Iterator[None]:
        construct: Any = kind.__init__

        def construct_watched(error: StorageError, *args: Any, **values: Any) -> None:
            construct(error, *args, **values)
            self.look(f"{args} {values}", f"a {type(error).__name__}")

        setattr(kind, "__init__", construct_watched)  # noqa: B010 - mypy refuses to assign it
        try:
            yield
        finally:
            setattr(kind, "__init__", construct)  # noqa: B010
