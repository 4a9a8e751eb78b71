"""The error tree: every error that this package raises on purpose.

Each class also inherits the builtin that fits, so ``except FileNotFoundError`` works as well as
``except NotFoundError``.

    StorageError
    ├── NotFoundError               (FileNotFoundError)  no such file
    ├── AlreadyExistsError          (FileExistsError)    ``overwrite=False`` and the name is taken
    ├── InvalidNameError            (ValueError)         a name that no storage may hold
    ├── InvalidMetadataError        (ValueError)         metadata that not every backend can hold
    ├── PreconditionFailedError                          the file is not the version that was meant
    ├── NotModifiedError                                 the reader already has this version
    ├── RangeNotSatisfiableError    (ValueError)         no byte of the range exists
    ├── UploadRefusedError          (ValueError)         the content breaks a rule
    │   ├── FileTooLargeError                            more bytes than allowed
    │   │   └── ScanLimitError                           more bytes than the virus scanner takes
    │   ├── FileTooSmallError                            fewer bytes than allowed
    │   ├── TypeNotAllowedError                          a type that is not on the list
    │   ├── TypeMismatchError                            a claim that the bytes belie
    │   ├── ChecksumMismatchError                        other bytes than the client hashed
    │   ├── PolyglotError                                a file of two types at once
    │   ├── FilenameRefusedError                         the client's file name is not allowed
    │   │   └── ExtensionNotAllowedError                 an extension that is not on the list
    │   ├── ImageTooLargeError                           more pixels than allowed
    │   ├── ImageTooSmallError                           fewer pixels than allowed
    │   ├── ImageAspectError                             too wide or too high for its other side
    │   ├── UnreadableImageError    (InvalidImageError)  an image without a header to check
    │   ├── MalwareFoundError                            a virus scanner says no
    │   └── FormTooLargeError                            more or larger fields than allowed
    ├── MalformedBodyError          (ValueError)         a request body that cannot be read
    │   ├── UploadInterruptedError  (ConnectionError)    the client left before the end of its body
    │   └── UploadStalledError      (TimeoutError)       the client is there and sends nothing more
    ├── InvalidImageError           (ValueError)         not an image, or one that may not be opened
    ├── InvalidSignatureError       (PermissionError)    a link or ticket that we did not sign
    │   └── LinkExpiredError                             signed by us, too old
    ├── AccessDeniedError           (PermissionError)    the app's rule refuses the reader
    ├── PermissionDeniedError       (PermissionError)    the backend refuses our credentials
    ├── ChecksumUnknownError                             nobody knows what the bytes should be
    ├── BackendError                (OSError)            the backend failed or broke its protocol
    │   ├── CorruptFileError                             the bytes are not those that were stored
    │   ├── IncompleteReadError                          the body ended before its last byte
    │   └── BackendUnavailableError (ConnectionError)    down, unreachable or overloaded
    │       └── BackendTimeoutError (TimeoutError)       no answer in time
    ├── NotStoredError              (AttributeError)     content that no flush has stored yet
    ├── StorageClosedError          (RuntimeError)       used after ``aclose()``
    └── ConfigurationError          (RuntimeError)       set up in a way that cannot work
        └── MissingDependencyError  (ImportError)        an extra is not installed

Messages name the storage and the file; they never hold a credential or a signed URL.
"""

from datetime import datetime
from typing import Any

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "BackendError",
    "BackendTimeoutError",
    "BackendUnavailableError",
    "ChecksumMismatchError",
    "ChecksumUnknownError",
    "ConfigurationError",
    "CorruptFileError",
    "ExtensionNotAllowedError",
    "FileTooLargeError",
    "FileTooSmallError",
    "FilenameRefusedError",
    "FormTooLargeError",
    "ImageAspectError",
    "ImageTooLargeError",
    "ImageTooSmallError",
    "IncompleteReadError",
    "InvalidImageError",
    "InvalidMetadataError",
    "InvalidNameError",
    "InvalidSignatureError",
    "LinkExpiredError",
    "MalformedBodyError",
    "MalwareFoundError",
    "MissingDependencyError",
    "NotFoundError",
    "NotModifiedError",
    "NotStoredError",
    "PermissionDeniedError",
    "PolyglotError",
    "PreconditionFailedError",
    "RangeNotSatisfiableError",
    "ScanLimitError",
    "StorageClosedError",
    "StorageError",
    "TypeMismatchError",
    "TypeNotAllowedError",
    "UnreadableImageError",
    "UploadInterruptedError",
    "UploadRefusedError",
    "UploadStalledError",
]


class StorageError(Exception):
    """The root of the tree.

    Attributes:
        storage: Which storage it was, as its ``repr`` (never with a credential), if one was asked.
        name: Which file it was, if one was asked for.
    """

    storage: str | None
    name: str | None

    def __init__(
        self, message: str, *, storage: str | None = None, name: str | None = None
    ) -> None:
        super().__init__(message)
        self.storage = storage
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name too, which is no part of ``__dict__`` where a builtin has a name."""
        return type(self), self.args, {**vars(self), "name": self.name}


class NotFoundError(StorageError, FileNotFoundError):
    """The storage has no file of this name."""


class AlreadyExistsError(StorageError, FileExistsError):
    """The name is taken and the caller asked not to overwrite."""


class InvalidNameError(StorageError, ValueError):
    """The name is empty, absolute, too long, climbs with ``..`` or has control characters."""


class InvalidMetadataError(StorageError, ValueError):
    """The metadata has a key or a size that not every backend can hold."""


class PreconditionFailedError(StorageError):
    """The stored file is not the version that the caller named (an ETag or a date)."""


class NotModifiedError(StorageError):
    """The stored file is the version that the caller already has.

    Attributes:
        etag: Entity tag of the stored file with its quotes, if the backend told it.
        last_modified: Aware UTC time of the stored file, if the backend told it.
        cache_control: ``Cache-Control`` that the file was stored with, empty when it has none;
            ``None`` when the backend did not tell.
    """

    def __init__(
        self,
        message: str,
        *,
        storage: str | None = None,
        name: str | None = None,
        etag: str | None = None,
        last_modified: datetime | None = None,
        cache_control: str | None = None,
    ) -> None:
        super().__init__(message, storage=storage, name=name)
        self.etag = etag
        self.last_modified = last_modified
        self.cache_control = cache_control


class RangeNotSatisfiableError(StorageError, ValueError):
    """No byte of the range exists in the file.

    Attributes:
        size: Size of the whole file in bytes, if the backend told it.
    """

    def __init__(
        self,
        message: str,
        *,
        storage: str | None = None,
        name: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(message, storage=storage, name=name)
        self.size = size


class UploadRefusedError(StorageError, ValueError):
    """The content of an upload breaks a rule. The message says which, the limit and the value.

    Validators of your own raise it, or a subclass.

    Attributes:
        limit: What the rule allows, as JSON can hold it; ``None`` when it is no plain value.
        received: What the upload has instead; ``None`` when nobody can tell.
    """

    limit: Any
    received: Any

    def __init__(
        self,
        message: str,
        *,
        limit: object = None,
        received: object = None,
        storage: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(message, storage=storage, name=name)
        self.limit = limit
        self.received = received


class FileTooLargeError(UploadRefusedError):
    """An upload has more bytes than allowed; it was cut off at the limit.

    Attributes:
        limit: The most bytes allowed.
        received: The bytes that were announced, or that had come when it was cut off.
    """


class ScanLimitError(FileTooLargeError):
    """An upload has more bytes than the virus scanner takes, so nobody can say it is clean.

    Attributes:
        received: The bytes that had come.
    """


class FileTooSmallError(UploadRefusedError):
    """An upload has fewer bytes than allowed.

    Attributes:
        limit: The fewest bytes allowed.
        received: The bytes that came.
    """


class TypeNotAllowedError(UploadRefusedError):
    """The type that the bytes prove is not among the types allowed.

    Attributes:
        limit: The media types, or the image formats, that are allowed, as a list.
        received: The media type, or the format, of the upload.
    """


class TypeMismatchError(UploadRefusedError):
    """The declared type or the extension says another type than the bytes.

    Attributes:
        limit: The media type that the bytes prove.
        received: The media type that was claimed.
    """


class ChecksumMismatchError(UploadRefusedError):
    """The bytes that came are not those that the client announced.

    Attributes:
        limit: The checksum that was announced, as ``"sha256:"`` and 64 hex digits.
        received: The checksum of what came.
    """


class PolyglotError(UploadRefusedError):
    """The file is of one type by its first bytes, and of one that is not allowed by others.

    Attributes:
        limit: The media type that the first bytes prove.
        received: The other one.
    """


class FilenameRefusedError(UploadRefusedError):
    """The client's file name is missing, too long or of a form that is not allowed.

    Attributes:
        limit: The most characters, or the pattern.
        received: The number of characters, or the name.
    """


class ExtensionNotAllowedError(FilenameRefusedError):
    """The extension of the client's file name is not among those allowed.

    Attributes:
        limit: The extensions that are allowed, with their dots, as a list.
        received: The extension, with its dot; empty when there is none.
    """


class ImageTooLargeError(UploadRefusedError):
    """An image is wider, higher or has more pixels than allowed.

    Attributes:
        limit: The most pixels allowed.
        received: The pixels that the image has.
    """


class ImageTooSmallError(UploadRefusedError):
    """An image is narrower or lower than allowed.

    Attributes:
        limit: The fewest pixels allowed.
        received: The pixels that the image has.
    """


class ImageAspectError(UploadRefusedError):
    """The width of an image is too large or too small for its height.

    Attributes:
        limit: The width divided by the height that is allowed, as a list of the least and the most.
        received: The width divided by the height of the image.
    """


class InvalidImageError(StorageError, ValueError):
    """The file is not an image, or its header promises more pixels than may be decoded."""


class UnreadableImageError(UploadRefusedError, InvalidImageError):
    """An upload that should be an image has no header that can be read and checked."""


class MalwareFoundError(UploadRefusedError):
    """A virus scanner found something in the upload.

    Attributes:
        received: What it found, by the scanner's name for it.
    """


class FormTooLargeError(UploadRefusedError):
    """A form has more parts, or larger ones beside its files, than allowed.

    Attributes:
        limit: The most parts, or the most bytes, allowed.
    """


class MalformedBodyError(StorageError, ValueError):
    """The body of a request is not what its headers say, or ends before it is complete."""


class UploadInterruptedError(MalformedBodyError, ConnectionError):
    """The client left before the end of its body. Nobody reads the answer."""


class UploadStalledError(MalformedBodyError, TimeoutError):
    """The client has sent nothing for longer than allowed, before the end of its body."""


class InvalidSignatureError(StorageError, PermissionError):
    """A signed link or ticket was not made with our key, or was made for another purpose."""


class LinkExpiredError(InvalidSignatureError):
    """A signed link or ticket is ours, and its time is over."""


class AccessDeniedError(StorageError, PermissionError):
    """The app's own rule does not let this client have the file."""


class PermissionDeniedError(StorageError, PermissionError):
    """The backend refuses what was asked with the credentials that the storage has."""


class BackendError(StorageError, OSError):
    """The backend failed, or gave an answer that its protocol does not allow."""


class CorruptFileError(BackendError):
    """The bytes of a file are not those that were stored, by its checksum.

    Attributes:
        expected: The checksum that the file should have, as ``"sha256:"`` and 64 hex digits.
        actual: The checksum of what was read.
    """

    def __init__(
        self,
        message: str,
        *,
        storage: str | None = None,
        name: str | None = None,
        expected: str | None = None,
        actual: str | None = None,
    ) -> None:
        super().__init__(message, storage=storage, name=name)
        self.expected = expected
        self.actual = actual


class ChecksumUnknownError(StorageError):
    """A file was to be verified, and neither the storage nor the caller knows its checksum."""


class IncompleteReadError(BackendError):
    """A body ended before its last byte: what was read so far is not the file."""


class BackendUnavailableError(BackendError, ConnectionError):
    """The backend is down, cannot be reached, or asks to slow down. Trying later may work."""


class BackendTimeoutError(BackendUnavailableError, TimeoutError):
    """The backend gave no answer within the configured time."""


class NotStoredError(StorageError, AttributeError):
    """Content that waits to be stored was used as a file, or met a session that stores none."""


class StorageClosedError(StorageError, RuntimeError):
    """The storage was closed in this event loop and has not been opened again."""


class ConfigurationError(StorageError, RuntimeError):
    """The storage or the app is set up in a way that cannot work. The message says what to do."""


class MissingDependencyError(ConfigurationError, ImportError):
    """A part was used whose extra is not installed. The message has the pip command."""
