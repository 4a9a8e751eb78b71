"""Types of attachments as SQLAlchemy handles them: as code, as keys of its caches, by dialect."""

from typing import Any

import pytest
from sqlalchemy import Column, Dialect, MetaData, Table, column, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from fastapi_async_storages import MemoryStorage
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy import AttachmentListType, AttachmentType

storage = MemoryStorage()
other_storage = MemoryStorage()

TYPES = pytest.mark.parametrize("make", [AttachmentType, AttachmentListType])


@TYPES
def test_a_copy_is_of_the_same_storage(make: Any) -> None:
    table = Table("files", MetaData(), Column("file", make(storage, image=True, prefix="a")))

    copied = table.to_metadata(MetaData()).c.file.type

    assert isinstance(copied, make)
    assert (copied.storage, copied.image, copied.prefix) == (storage, True, "a/")


@TYPES
def test_what_the_database_sees(make: Any) -> None:
    for module, seen in ((sqlite, "JSON"), (postgresql, "JSONB"), (mysql, "JSON")):
        dialect: Dialect = module.dialect()
        assert make(storage).compile(dialect) == seen


@TYPES
def test_statements_are_cached_apart(make: Any) -> None:
    keys = [
        select(column("file", make(where, image=image)))._generate_cache_key()
        for where in (storage, other_storage)
        for image in (False, True)
    ]

    assert None not in keys
    assert len({key.key for key in keys if key is not None}) == 4


@TYPES
@pytest.mark.parametrize("value", [None, 200, "documents"])
def test_a_type_needs_a_storage(make: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=r"needs a storage, not .*\(storage\)"):
        make(value)


def test_a_database_that_cannot_look_into_lists() -> None:
    listed: Column[Any] = Column("files", AttachmentListType(storage))
    Table("rows", MetaData(), listed)

    with pytest.raises(ConfigurationError, match=r"mysql.*AttachmentType"):
        AttachmentListType(storage).select_names(listed, mysql.dialect())
