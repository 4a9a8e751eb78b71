"""Finding out how a transaction ended: committed, rolled back, or nobody knows."""

import asyncio
import enum
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import Connection, Dialect, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Mapper, Session, registry
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import greenlet_spawn

from fastapi_async_storages.integrations.sqlalchemy.columns import (
    FileColumn,
    connect,
    find_columns,
)
from fastapi_async_storages.integrations.sqlalchemy.lookups import Holders
from fastapi_async_storages.storage import Storage

__all__ = ["LOOKUP_SECONDS", "CommitWatch", "Outcome"]

LOOKUP_SECONDS = 5
"""How long the database may take to say whether rows are there that were rolled back."""

_logger = logging.getLogger("fastapi_async_storages")


class Outcome(enum.Enum):
    """How an outermost transaction ended."""

    COMMITTED = enum.auto()
    ROLLED_BACK = enum.auto()
    UNKNOWN = enum.auto()


class CommitWatch:
    """Watches the connections on which a transaction writes names of files.

    That a session says "committed" is not enough: it says so too when it joined a transaction that
    somebody else ends. And that it does not is not enough for the opposite: when the answer to a
    COMMIT is lost, the row may be there. What counts is what was sent on the connections:

    - without a COMMIT, there is none;
    - a COMMIT that the database answered with an error was refused;
    - a COMMIT without an answer (the connection was lost, the task cancelled, the time over) may
      have taken place, now or in a minute.

    Args:
        before_commit: Called once, right before the first COMMIT is sent. When it raises, none is.
        after_rollback: Called with a connection on which a ROLLBACK was sent, as long as it can
            tell what its rows are now.

    Attributes:
        holders: Columns in which rows may name the files of the transaction, each with the
            connection of the transaction to its database.
        had_error: Whether a statement has failed. The transaction may have ended by it, without
            telling: PostgreSQL answers the COMMIT of a failed one with a rollback, and no error.
    """

    def __init__(
        self, before_commit: Callable[[], None], after_rollback: Callable[[Connection], None]
    ) -> None:
        self.holders: dict[FileColumn, Connection] = {}
        self.had_error = False
        self._before_commit = before_commit
        self._after_rollback = after_rollback
        self._expected: set[tuple[registry, Storage]] = set()
        self._reached: set[tuple[registry, Storage]] = set()
        self._watched: set[Connection] = set()
        self._sent: set[Connection] = set()
        self._is_refused = False
        self._seen: set[Connection] = set()

    @property
    def unseen(self) -> Holders:
        """Those of :attr:`holders` that nobody looked into after a ROLLBACK on their connection."""
        return {
            column: connection
            for column, connection in self.holders.items()
            if connection not in self._seen
        }

    def expect(self, mapper: Mapper[Any], storage: Storage) -> None:
        """Note that files of a storage have to do with the transaction.

        Args:
            mapper: Of the class that has a file.
            storage: Where the file is.
        """
        if (mapper.registry, storage) not in self._reached:
            self._expected.add((mapper.registry, storage))

    def reach(self, session: Session) -> None:
        """Connect to wherever a row may name a file that is expected, while that is possible.

        Args:
            session: The session, in its transaction.
        """
        while self._expected:
            mappers, storage = next(iter(self._expected))
            for owner, column in find_columns(mappers, storage):
                self.holders[column] = connect(session, owner, column)
            for connection in self.holders.values():
                self.watch(connection)
            self._expected.remove((mappers, storage))
            self._reached.add((mappers, storage))

    def watch(self, connection: Connection) -> None:
        """Watch a connection until :meth:`close`.

        Args:
            connection: A connection of the transaction.
        """
        if connection in self._watched:
            return
        self._watched.add(connection)
        _watches[connection] = ref(self)
        # event.contains() goes by ids, which new objects get again.
        if connection not in _listened:
            _listened.add(connection)
            event.listen(connection, "commit", _on_commit)
            event.listen(connection, "rollback", _on_rollback)
        if connection.dialect not in _listened:
            _listened.add(connection.dialect)
            event.listen(connection.dialect, "handle_error", _on_error)

    def close(self) -> None:
        """Stop watching: the transaction is over."""
        for connection in self._watched:
            _watches.pop(connection, None)

    def get_outcome(self, *, is_committed: bool) -> Outcome:
        """Tell how the transaction ended.

        Args:
            is_committed: Whether the session says that it has committed.
        """
        if is_committed:
            return Outcome.COMMITTED if self._sent == self._watched else Outcome.UNKNOWN
        if not self._sent or self._is_refused:
            return Outcome.ROLLED_BACK
        return Outcome.UNKNOWN

    def _on_commit(self, connection: Connection) -> None:
        if not self._sent:
            try:
                self._before_commit()
            except BaseException:
                _roll_back(connection)
                raise
        self._sent.add(connection)

    def _on_rollback(self, connection: Connection) -> None:
        """Send the ROLLBACK, and look what it has undone before another one ends that look.

        A connection of the pool, afterwards, may be long in coming when the app is busy.
        """
        if connection in self._sent and not self._is_refused:
            return
        try:
            if _roll_back(connection):
                await_only(_look(self._after_rollback, connection))
                self._seen.add(connection)
        except TimeoutError as error:
            connection.invalidate(error)
            _logger.debug("Nobody could look what a ROLLBACK has undone, within its time")
        except Exception:
            _logger.debug("Nobody could look what a ROLLBACK has undone", exc_info=True)
        except BaseException as error:
            connection.invalidate(error)  # What it was doing, nobody waits for.
            raise

    def _on_error(self, context: ExceptionContext) -> None:
        connection = context.connection
        if connection is None or connection not in self._sent:
            self.had_error = True
            return
        is_answer = isinstance(context.sqlalchemy_exception, DBAPIError)
        # With COMMITs on several connections, another one may have been taken.
        if is_answer and not context.is_disconnect and self._sent == {connection}:
            self._is_refused = _roll_back(connection)


_listened: WeakSet[Connection | Dialect] = WeakSet()

# A watch holds its connections, so they must not hold it: nothing would ever free either.
_watches: WeakKeyDictionary[Connection, ref[CommitWatch]] = WeakKeyDictionary()


def _find_watch(connection: Connection | None) -> CommitWatch | None:
    watch = _watches.get(connection) if connection is not None else None
    return watch() if watch is not None else None


def _on_commit(connection: Connection) -> None:
    if (watch := _find_watch(connection)) is not None:
        watch._on_commit(connection)


def _on_rollback(connection: Connection) -> None:
    if (watch := _find_watch(connection)) is not None:
        watch._on_rollback(connection)


def _on_error(context: ExceptionContext) -> None:
    if (watch := _find_watch(context.connection)) is not None:
        watch._on_error(context)


async def _look(look: Callable[[Connection], None], connection: Connection) -> None:
    # A lock may be in its way, that the ROLLBACK itself has let somebody have who waited for it.
    async with asyncio.timeout(LOOKUP_SECONDS):
        await greenlet_spawn(look, connection)


def _roll_back(connection: Connection) -> bool:
    """Roll back what a COMMIT that was not taken has left open; tell whether that worked.

    A session that is closed without a rollback after a failed COMMIT gives its connection back to
    the pool as it is. SQLite, when it was busy, has kept the transaction open: the next user of the
    connection would commit these rows too (seen with SQLAlchemy 2.1.9).
    """
    try:
        connection.connection.rollback()
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error):
        return False
    return True
