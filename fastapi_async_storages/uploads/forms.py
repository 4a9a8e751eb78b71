"""Which form a route takes: its files with their rules, its fields, its limits."""

from collections.abc import Collection, Mapping

from pydantic import BaseModel
from starlette.requests import Request

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    FileTooLargeError,
    MalformedBodyError,
    TypeNotAllowedError,
)
from fastapi_async_storages.keys import normalize_prefix
from fastapi_async_storages.storage import DEFAULT_CONTENT_TYPE
from fastapi_async_storages.uploads.bodies import (
    FORM_TYPE,
    URLENCODED_TYPE,
    Progress,
    get_content_length,
    get_media_type,
)
from fastapi_async_storages.uploads.form_fields import FormFields
from fastapi_async_storages.uploads.multipart import FormLimits
from fastapi_async_storages.uploads.rules import UploadRules

__all__ = ["UploadForm"]


class UploadForm:
    """Which form a route takes. As a dependency, it refuses what the headers of a request rule out.

    A form of one file and no fields also takes a raw body: that of a ``PUT`` of any type, or of
    another method with a type that no HTML form sends.

    Attributes:
        files: The rules of each file, by the names of their parts.
        optional: Names of the files that may be missing.
        fields: The other fields.
        prefix: Folder-like prefix of the stored names.
        cache_control: ``Cache-Control`` for the readers of the files.
        progress: Is told how much of the body has come.
        limits: How much the form may hold beside its files.

    Raises:
        ConfigurationError: When no request could have such a form.
        InvalidNameError: When ``prefix`` cannot be part of a name.
    """

    def __init__(
        self,
        files: Mapping[str, UploadRules | None],
        *,
        optional: Collection[str] = (),
        fields: type[BaseModel] | None = None,
        prefix: str = "",
        cache_control: str | None = None,
        progress: Progress | None = None,
        limits: FormLimits | None = None,
    ) -> None:
        self.files = {name: rules or UploadRules() for name, rules in files.items()}
        self.optional = frozenset(optional)
        self.fields = FormFields(fields)
        self.prefix = normalize_prefix(prefix)
        self.cache_control = cache_control
        self.progress = progress
        self.limits = limits or FormLimits()
        if not self.files:
            raise ConfigurationError("A form of uploads has no file; name one at least.")
        if unknown := self.optional - self.files.keys():
            raise ConfigurationError(f"optional={sorted(unknown)} are no files of the form.")
        if both := self.files.keys() & self.fields.names:
            raise ConfigurationError(f"{sorted(both)} are files and fields of the form at once.")

    @property
    def takes_raw_body(self) -> bool:
        """Whether the body may be the file itself."""
        return len(self.files) == 1 and not self.fields.names

    @property
    def max_length(self) -> int | None:
        """Most bytes of a body; ``None`` when a file may have any size."""
        sizes = [rules.max_size for rules in self.files.values()]
        if None in sizes:
            return None
        return self.limits.max_form_size + sum(size for size in sizes if size is not None)

    async def __call__(self, request: Request) -> None:
        """Refuse what the headers of a request rule out, before a byte of its body is read.

        Args:
            request: The request.

        Raises:
            TypeNotAllowedError: When the body is neither the form nor, where it may be, the file.
            FileTooLargeError: When the form announces more than its files and itself may have.
            MalformedBodyError: When the body is only a range of a file.
        """
        if get_media_type(request) != FORM_TYPE:
            self._check_raw_headers(request)
            return
        length, limit = get_content_length(request), self.max_length
        if limit is not None and length is not None and length > limit:
            raise FileTooLargeError(
                f"The request is too large: {length} bytes, at most {limit} are allowed.",
                limit=limit,
                received=length,
            )

    def _check_raw_headers(self, request: Request) -> None:
        media_type = get_media_type(request)
        # A browser sends these for a form that lacks its enctype: the file is not in it.
        is_form_without_file = request.method != "PUT" and media_type in (None, URLENCODED_TYPE)
        if is_form_without_file or not self.takes_raw_body:
            allowed = [FORM_TYPE, *([DEFAULT_CONTENT_TYPE] if self.takes_raw_body else [])]
            raise TypeNotAllowedError(
                f"The body is {media_type or 'of no type'}; allowed: {', '.join(allowed)}.",
                limit=allowed,
                received=media_type,
            )
        if "content-range" in request.headers:
            # RFC 9110 section 14.5: a part must not be taken for the whole.
            raise MalformedBodyError("A file is uploaded as a whole, without Content-Range.")
