"""The sessions that keep files with rows, and where they have the files of their transactions."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Session, SessionTransaction
from sqlalchemy.util import await_only

from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.columns import get_file_columns
from fastapi_async_storages.integrations.sqlalchemy.transactions import TransactionFiles

__all__ = [
    "TrackedSession",
    "end_transaction",
    "find_files",
    "get_files",
    "mark_committed",
    "note_undone",
    "reach_all",
    "start_transaction",
]

_KEY = "fastapi_async_storages.transactions"


class TrackedSession(Session):
    """What the sessions of tracked factories have in common."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.info[_KEY] = {}
        if self.twophase:
            raise ConfigurationError(
                "track_files() does not support sessions with twophase=True: whether the second"
                " phase of a COMMIT comes, and when, is not for the session to say."
            )

    def close(self) -> None:
        """Close the session, also when the task is cancelled meanwhile."""
        self._end_by(super().close)

    def reset(self) -> None:
        """Reset the session, also when the task is cancelled meanwhile."""
        self._end_by(super().reset)

    def invalidate(self) -> None:
        """Invalidate the session, also when the task is cancelled meanwhile."""
        self._end_by(super().invalidate)

    def _end_by(self, close: Callable[[], None]) -> None:
        innermost = _find_innermost(self)
        try:
            close()
        except BaseException:
            # It fails at one SAVEPOINT, and leaves those around it.
            if _find_innermost(self) not in (None, innermost):
                self._end_by(close)
            raise
        finally:
            _finish_ended(self)


def find_files(session: Session) -> TransactionFiles | None:
    """Return the files of the transaction that a session is in; ``None`` when nobody tracks it.

    Args:
        session: Any session.
    """
    all_files: dict[object, TransactionFiles] = session.info.get(_KEY, {})
    return all_files.get(_find_innermost(session))


def get_files(session: Session) -> TransactionFiles:
    """Return the files of the transaction that a tracked session is in; begin one if need be.

    Args:
        session: The session.
    """
    transaction = _find_innermost(session) or session.begin()
    files: TransactionFiles = session.info[_KEY][transaction]
    return files


def start_transaction(session: Session, transaction: SessionTransaction) -> None:
    """Listen to ``after_transaction_create``."""
    parent = transaction.parent
    if parent is None or transaction.nested:
        while parent is not None and not (parent.nested or parent.parent is None):
            parent = parent.parent  # The transaction of a flush.
        all_files: dict[object, TransactionFiles] = session.info[_KEY]
        all_files[transaction] = TransactionFiles(None if parent is None else all_files[parent])


def reach_all(session: Session) -> None:
    """Listen to ``before_commit``: a flush that has failed leaves files for which none was reached.

    The app may have handled that, and commits what else there is.
    """
    files = find_files(session)
    if files is not None:
        files.watch.reach(session)


def mark_committed(session: Session) -> None:
    """Listen to ``after_commit``, which a released SAVEPOINT fires too."""
    files = find_files(session)
    if files is not None:
        files.is_committed = True


def note_undone(session: Session, instance: object) -> None:
    """Listen to ``persistent_to_transient``: a rolled back object may be added once more.

    A refresh has given it other handles than the flush did.
    """
    files = find_files(session)
    if files is None:
        return
    state: InstanceState[Any] = inspect(instance)
    for column in get_file_columns(state.mapper):
        for file in column.type.files_in(state.dict.get(column.key)):
            if isinstance(file, StorageFile):
                files.note(file)


def end_transaction(session: Session, transaction: SessionTransaction) -> None:
    """Listen to ``after_transaction_end``, the only event that no way to end one leaves out.

    But a cancellation does: it comes after the connection has been given back.
    """
    if transaction.nested:
        session.info[_KEY].pop(transaction).merge()
    else:
        _finish_ended(session)


def _finish_ended(session: Session) -> None:
    """Finish the outermost transactions of a session that is in none any more.

    There are several when the end of an earlier one was cut short.
    """
    if session.in_transaction():
        return
    all_files: dict[object, TransactionFiles] = session.info[_KEY]
    outermost = [files for files in all_files.values() if files.parent is None]
    all_files.clear()
    if any(not files.is_empty for files in outermost):
        await_only(complete(_finish(outermost)))


async def _finish(outermost: Sequence[TransactionFiles]) -> None:
    for files in outermost:
        await files.finish()


def _find_innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()
