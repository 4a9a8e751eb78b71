import inspect
import pickle
import re
from datetime import UTC, datetime

import pytest

from fastapi_async_storages import exceptions
from fastapi_async_storages.exceptions import (
    BackendTimeoutError,
    NotModifiedError,
    RangeNotSatisfiableError,
    StorageError,
    UploadRefusedError,
)

TREE = [
    (cls.__name__, cls)
    for cls in vars(exceptions).values()
    if inspect.isclass(cls) and issubclass(cls, StorageError)
]
ALL = [cls for _, cls in TREE]


def test_every_error_is_public_and_documented() -> None:
    assert sorted(exceptions.__all__) == sorted(name for name, _ in TREE)
    assert all(cls.__doc__ for cls in ALL)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Each line has the depth of the class, its name, and the builtin that it inherits too."""
    lines = re.findall(
        r"^    ((?:[│ ]   )*)[├└]── (\w+) *(?:\((\w+)\))?", str(exceptions.__doc__), re.MULTILINE
    )
    assert sorted(name for _, name, _ in lines) == sorted(
        name for name, _ in TREE if name != "StorageError"
    )
    parents = [StorageError]
    for indent, name, second_base in lines:
        cls = getattr(exceptions, name)
        depth = len(indent) // 4 + 1
        parents = [*parents[:depth], cls]
        bases = [base.__name__ for base in cls.__bases__]
        assert bases == [parents[depth - 1].__name__, *([second_base] if second_base else [])]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_errors_say_their_message_and_travel(cls: type[StorageError]) -> None:
    error = cls("the message", storage="S", name="n")
    for copy in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert str(copy) == "the message"
        assert (copy.storage, copy.name) == ("S", "n")
        assert type(copy) is cls
    assert (cls("m").storage, cls("m").name) == (None, None)


def test_builtin_handlers_catch_them() -> None:
    for builtin in (OSError, ConnectionError, TimeoutError, StorageError):
        with pytest.raises(builtin):
            raise BackendTimeoutError("late")
    assert BackendTimeoutError("late").errno is None


def test_what_some_errors_know_travels_too() -> None:
    modified = datetime(2026, 1, 1, tzinfo=UTC)
    for error in (
        NotModifiedError("m", etag='"a"', last_modified=modified),
        RangeNotSatisfiableError("m", size=5),
        UploadRefusedError("m", limit=5, received=6),
    ):
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301 - our own
