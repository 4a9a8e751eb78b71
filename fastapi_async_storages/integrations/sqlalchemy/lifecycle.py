"""Files that live and die with the transaction of their rows.

    make_session = track_files(async_sessionmaker(engine))

    async with make_session.begin() as session:
        session.add(Document(file=upload))

The order is: bytes durable, row committed, then what the row no longer names deleted. In detail:

1.  *Flush.* Before a row is written, the contents that its objects hold are stored side by side.
    When one fails, those that were stored are deleted, the objects keep their contents, and the
    flush raises. Else the objects get handles, and the files count as **stored** by the innermost
    transaction (the one of the session, or a SAVEPOINT), with the fresh handles of ``save_upload``
    and ``StreamedUpload`` among them. What the rows held before is **released**: read from the
    object, or from the database when the session does not know it.
2.  *Bulk statements* of the ORM release what they overwrite or delete: the names are read first,
    in the same transaction.
3.  *SAVEPOINT.* One that is released passes both sets on to the transaction around it. One that is
    rolled back passes on what it stored, as stored and as released, and forgets what it released.
4.  *COMMIT.* Right before it is sent, on the connection that sends it, the released names are
    looked up in all mapped columns of their storage. Those that no row holds are **unnamed**.
5.  *End.* When the COMMIT was taken, the unnamed files are deleted. When none was sent, or the
    database refused it, the stored files are deleted, but for those that a last look finds in a
    row: right after the ROLLBACK, on the connection that it was sent on, or else on a new one. When
    nobody knows, or that look fails, no file is deleted: ``sweep`` settles it.

This holds up the invariants:

- A committed row has its file. It was stored before the row was written (1), and is deleted only
  when no row names it (4, 5), whatever was released: one name too many is harmless. Nothing is
  deleted before the end is known (5).
- A stored file without a row is deleted. Whatever a transaction stores is in its set from the
  moment on in which it is stored (1); each end of a transaction, a close too, fires
  ``after_transaction_end`` (5), unless a cancellation cuts it short: then the close of the session
  makes up for it, or the end of its next transaction. And a row that lets go releases (1, 2).

What this cannot see, and leaves to the sweep:

- Core statements on tables, upserts, ``bulk_save_objects`` and its kind, triggers, ``ON DELETE
  CASCADE`` in the database, and what listeners of ``before_insert`` or ``before_update`` assign;
- sessions that are garbage-collected while open (the log says so), and processes that are killed;
- clean-ups that fail, or take longer than a minute;
- rollbacks that also undo how the tables are found, as that of ``SET LOCAL search_path`` does, or
  where a lock keeps everybody from reading the rows: the log says so;
- a fresh handle that was added, but never flushed, after whoever uploaded it has ended;
- of two sessions that replace the file of one row at once, the second one does not know the file of
  the first.

What it cannot prevent, so that a row may name a file that is gone: one transaction gives a name to
a second row, while another one lets go of it in the first row and commits before it (only
``SERIALIZABLE`` sees that); classes of two declarative bases share the files of one storage (only
the base of the class that lets go is searched: give each base a storage or a prefix of its own); a
plain name, or a handle read by ``select(Document.file)``, is assigned after its file was deleted.
"""

from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapper, Session

from fastapi_async_storages.integrations.sqlalchemy.bulk import before_execute
from fastapi_async_storages.integrations.sqlalchemy.flushes import (
    after_flush,
    before_delete,
    before_flush,
)
from fastapi_async_storages.integrations.sqlalchemy.sessions import (
    TrackedSession,
    end_transaction,
    mark_committed,
    note_undone,
    reach_all,
    start_transaction,
)

__all__ = ["track_files"]

SessionT = TypeVar("SessionT", bound=AsyncSession)

_LISTENERS: dict[str, Any] = {
    "after_transaction_create": start_transaction,
    "before_flush": before_flush,
    "after_flush_postexec": after_flush,
    "do_orm_execute": before_execute,
    "before_commit": reach_all,
    "after_commit": mark_committed,
    "persistent_to_transient": note_undone,
    "after_transaction_end": end_transaction,
}


def track_files(factory: async_sessionmaker[SessionT]) -> async_sessionmaker[SessionT]:
    """Make the sessions of a factory keep files with the rows that name them.

    ::

        make_session = track_files(async_sessionmaker(engine))

    The sessions get a subclass of the ``sync_session_class`` that the factory has, and only this
    subclass is listened to. (One listener of mappers looks for objects of its sessions.)

    Args:
        factory: The factory. Tracking it twice does no harm.

    Returns:
        The same factory.

    Raises:
        ConfigurationError: Whenever it makes a session that is to commit in two phases.
    """
    base: type[Session] = factory.kw.get("sync_session_class") or factory.class_.sync_session_class
    if not issubclass(base, TrackedSession):
        tracked = type(f"FileTracking{base.__name__}", (TrackedSession, base), {})
        for name, listener in _LISTENERS.items():
            event.listen(tracked, name, listener)
        factory.configure(sync_session_class=tracked)
    if not event.contains(Mapper, "before_delete", before_delete):
        event.listen(Mapper, "before_delete", before_delete)
    return factory
