"""What is allowed of the client's file name."""

import re

from fastapi_async_storages.exceptions import ConfigurationError, FilenameRefusedError
from fastapi_async_storages.keys import clean_filename
from fastapi_async_storages.uploads.incoming import name_upload

__all__ = ["FilenameRules"]


class FilenameRules:
    """What the client's file name must be like. It is kept as data; no rule makes it a path.

    Args:
        required: Whether there must be one.
        max_length: Most characters, counted as the client sent it.
        pattern: Regular expression that the whole name must match, after it was cleaned of folders
            and control characters.

    Raises:
        ConfigurationError: When the pattern is no regular expression.
    """

    def __init__(
        self,
        *,
        required: bool = False,
        max_length: int | None = None,
        pattern: str | re.Pattern[str] | None = None,
    ) -> None:
        self.required = required
        self.max_length = max_length
        try:
            self.pattern = None if pattern is None else re.compile(pattern)
        except re.error as error:
            raise ConfigurationError(f"pattern={pattern!r}: {error}.") from error

    def check(self, filename: str | None) -> None:
        """Check a file name.

        Args:
            filename: The client's file name, as it came.

        Raises:
            FilenameRefusedError: When it breaks a rule.
        """
        cleaned = clean_filename(filename)
        if filename is None or cleaned is None:
            if self.required:
                raise FilenameRefusedError("The file has no file name.")
        elif self.max_length is not None and len(filename) > self.max_length:
            raise FilenameRefusedError(
                f"{name_upload(cleaned)} has a name of {len(filename)} characters,"
                f" at most {self.max_length} are allowed.",
                limit=self.max_length,
                received=len(filename),
            )
        elif self.pattern is not None and not self.pattern.fullmatch(cleaned):
            raise FilenameRefusedError(
                f"{name_upload(cleaned)} has a name that does not match {self.pattern.pattern!r}.",
                limit=self.pattern.pattern,
                received=cleaned,
            )
