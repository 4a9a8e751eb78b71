"""What all column types for files have in common: a storage, and what becomes of its files."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar

from sqlalchemy import ClauseElement, ColumnElement, Dialect, Select, event
from sqlalchemy.orm import InstanceState, Mapper, QueryableAttribute
from sqlalchemy.sql.cache_key import CacheConst
from sqlalchemy.types import TypeDecorator, to_instance

from fastapi_async_storages.exceptions import NotStoredError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.keys import normalize_prefix
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.streams import is_upload_source
from fastapi_async_storages.uploads.rules import UploadRules

__all__ = ["Cleanup", "FileColumnType", "is_sql"]

T = TypeVar("T")

Cleanup: TypeAlias = Literal["delete", "keep"] | Callable[[StorageFile], Awaitable[None]]
"""What happens to a file when a committed transaction let go of it and no other row names it.

``"delete"`` deletes it, ``"keep"`` leaves it alone, and a coroutine function is awaited with its
handle, for example to move it to an archive.
"""


class FileColumnType(TypeDecorator[T]):
    """A column whose rows name files of a storage.

    Args:
        storage: Where the files are.
        *args: Positional arguments of the SQLAlchemy type that the database sees.
        rules: What content is allowed; everything when not given.
        prefix: Folder-like prefix of the names under which content is stored.
        cleanup: What happens to files that rows no longer name.
        **kwargs: Keyword arguments of the SQLAlchemy type.

    Raises:
        TypeError: When ``storage`` is none, or ``cleanup`` is nothing that can be done.
        InvalidNameError: When ``prefix`` could not be the start of a name.
    """

    cache_ok: bool | None = True

    _handle_class: type[StorageFile] = StorageFile
    _default_rules: ClassVar[UploadRules] = UploadRules()

    def __init__(
        self,
        storage: Storage,
        *args: Any,
        rules: UploadRules | None = None,
        prefix: str = "",
        cleanup: Cleanup = "delete",
        **kwargs: Any,
    ) -> None:
        if not hasattr(storage, "get_name"):
            raise TypeError(
                f"{type(self).__name__} needs a storage, not {storage!r}:"
                f" {type(self).__name__}(storage)."
            )
        if cleanup not in ("delete", "keep") and not callable(cleanup):
            raise TypeError(
                f"cleanup of {type(self).__name__} must be 'delete', 'keep' or a coroutine"
                f" function that takes the file, not {cleanup!r}."
            )
        super().__init__(*args, **kwargs)
        self.storage = storage
        self.rules = rules or self._default_rules
        self.prefix = normalize_prefix(prefix)
        self.cleanup = cleanup
        if not event.contains(Mapper, "mapper_configured", _watch_columns):
            event.listen(Mapper, "mapper_configured", _watch_columns)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # SQLAlchemy looks for the flag in the class itself, and warns where it does not find it.
        cls.cache_ok = cls.cache_ok

    @property
    def _static_cache_key(self) -> CacheConst | tuple[Any, ...]:
        # SQLAlchemy makes the key of the arguments that the constructor of the subclass names. One
        # that chooses its storage itself names none, and the cached statement of another such type
        # would hand out its own storage. Nor does it know the length, which a CAST renders.
        key = super()._static_cache_key
        if isinstance(key, CacheConst):
            return key
        return (
            *key,
            ("storage", self.storage),
            ("handles", self._handle_class),
            ("impl", self.impl_instance._static_cache_key),
        )

    def with_variant(self, type_: Any, *dialect_names: str) -> Self:
        """Use another type of this package for some dialects, such as one of another length.

        Raises:
            TypeError: When the variant is another type, whose values would be no handles.
        """
        variant = to_instance(type_)
        if not isinstance(variant, FileColumnType):
            raise TypeError(
                f"The variant of {self!r} for {', '.join(dialect_names)} must be a"
                f" {type(self).__name__} too, not {variant!r}: its values would be no handles."
            )
        return super().with_variant(variant, *dialect_names)

    def to_handle(
        self, value: object, *, column: str | None = None
    ) -> StorageFile | PendingFile | None:
        """Return the handle that an assigned value stands for, or will stand for once it is stored.

        Args:
            value: A name, a handle on a file of the column's storage, content, or ``None``.
            column: How errors name the column.

        Raises:
            InvalidNameError: When it is a name that no storage takes.
            TypeError: When it is neither name nor handle nor content.
            ValueError: When it is a handle on a file of another storage.
        """
        if value is None or isinstance(value, PendingFile):
            return value
        if isinstance(value, str):
            return self._handle_class.from_stored(self.storage, self.storage.get_name(value))
        label = column or repr(self)
        if not isinstance(value, StorageFile):
            if is_upload_source(value):
                return PendingFile(value)
            raise TypeError(
                f"{label} holds a file: assign its name, a handle on it, or content to be stored"
                f" (an UploadFile, bytes, a path, a binary file), not a {type(value).__name__}."
            )
        if value.storage is not self.storage:
            raise ValueError(
                f"{label} holds files of {self.storage!r}, and {value.name!a} is in"
                f" {value.storage!r}. Store it in the storage of the column, and assign that."
            )
        if isinstance(value, self._handle_class):
            return value
        return value._view_as(self._handle_class)

    def to_value(self, value: object, *, column: str | None = None) -> Any:
        """Return the value that an attribute has when another one was assigned.

        Args:
            value: What was assigned, is the default, or was filled in by a statement.
            column: How errors name the column.

        Raises:
            TypeError: As :meth:`to_handle`, which says more of it, as of the others.
            ValueError: When it is a handle on a file of another storage.
        """
        return self.to_handle(value, column=column)

    def to_stored(self, value: object) -> StorageFile | None:
        """Return the handle on a file that a row is about to name; see :meth:`to_handle`.

        Args:
            value: What a statement stores or compares.

        Raises:
            NotStoredError: When it is content, which no flush has stored.
        """
        handle = self.to_handle(value)
        if isinstance(handle, PendingFile):
            raise NotStoredError(
                f"{self!r} got content that is not stored: {handle!r}. Only the flush of an"
                " AsyncSession whose factory went through track_files() stores what is assigned to"
                " a mapped object; for a sync Session, a bulk or a Core statement, store it first"
                " with 'await save_upload(...)' and pass on the handle which that returns.",
                storage=repr(self.storage),
            )
        if handle is not None:
            # A row may name it from now on, and the tracker of a transaction has taken it over or
            # is not there: whoever uploaded it must not delete it any more.
            handle._fresh = False
        return handle

    def is_value(self, value: object) -> bool:
        """Tell whether an attribute may have a value as it is, without :meth:`to_value`.

        Args:
            value: What the attribute has.
        """
        return value is None or isinstance(value, StorageFile | PendingFile) or is_sql(value)

    def files_in(self, value: object) -> tuple[StorageFile | PendingFile, ...]:
        """Return the files that a value of an attribute holds, stored and to be stored.

        Args:
            value: A handle, content to be stored, an SQL expression or ``None``.
        """
        return (value,) if isinstance(value, StorageFile | PendingFile) else ()

    def with_stored(self, value: Any, stored: Mapping[PendingFile, StorageFile]) -> Any:
        """Return a value of an attribute with handles in the place of its contents.

        Args:
            value: A value in which :meth:`files_in` found content.
            stored: The handle of each content.
        """
        return self.to_value(stored.get(value, value))

    def needs_info(self, file: StorageFile) -> bool:
        """Tell whether the storage must be asked about a file before a row can hold it.

        Args:
            file: A handle on it.
        """
        return False

    def select_names(self, column: ColumnElement[Any], dialect: Dialect) -> Select[str]:
        """Return a query for the names that the rows of a column's table hold, as they are.

        Args:
            column: A column of this type.
            dialect: Of the database.

        Returns:
            A query for one column, ``name``, with a row for each name.
        """
        raise NotImplementedError

    def watch(self, attribute: QueryableAttribute[Any]) -> None:
        """Make handles of what is assigned to an attribute of this type.

        Args:
            attribute: Of a mapped class.
        """
        key, class_ = attribute.key, attribute.class_
        label = f"{class_.__name__}.{key}"

        def coerce(state: InstanceState[Any], value: object, *_: object) -> object:
            return value if is_sql(value) else self.to_value(value, column=label)

        def coerce_loaded(state: InstanceState[Any], *_: object) -> None:
            if key in state.dict:
                state.dict[key] = coerce(state, state.dict[key])

        def coerce_set(state: InstanceState[Any], value: object, *_: object) -> object:
            # The list of `document.files += [...]` is assigned once more, and stays itself.
            is_same = key in state.dict and value is state.dict[key]
            return value if is_same and self.is_value(value) else coerce(state, value)

        event.listen(attribute, "set", coerce_set, raw=True, retval=True)
        # The default of a mapped dataclass, which is not set but returned while nothing else is.
        event.listen(attribute, "init_scalar", coerce, raw=True, retval=True)
        # Defaults that a flush filled in, and what a bulk UPDATE changed, come as they were given.
        event.listen(class_, "refresh_flush", coerce_loaded, raw=True)
        event.listen(class_, "refresh", coerce_loaded, raw=True)


def is_sql(value: object) -> bool:
    """Tell whether a value is an SQL expression, of which the flush finds out what it is.

    Args:
        value: What was assigned to an attribute.
    """
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def _watch_columns(mapper: Mapper[Any], class_: type[Any]) -> None:
    """Watch the attributes of a mapped class. Called once for every mapper.

    Subclasses have mappers and attributes of their own, so no listener needs to propagate.
    """
    for prop in mapper.column_attrs:
        column_type = prop.columns[0].type
        if isinstance(column_type, FileColumnType):
            column_type.watch(getattr(class_, prop.key))
