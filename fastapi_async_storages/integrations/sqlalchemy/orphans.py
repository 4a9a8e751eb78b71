"""Finding and deleting the files that no row names: what crashes and lost answers have left."""

import logging
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.integrations.sqlalchemy.holders import (
    Holder,
    HolderSource,
    find_holders,
    find_named,
)
from fastapi_async_storages.integrations.sqlalchemy.records import get_infos
from fastapi_async_storages.storage import Storage

__all__ = ["SweepReport", "sweep"]

_logger = logging.getLogger("fastapi_async_storages")

_PAGE = 500
"""Files at a time: what is compared with the database by one query, and deleted by one request."""


@dataclass(slots=True)
class SweepReport:
    """What a sweep has found and done. Sizes are in bytes.

    Attributes:
        files: Files that the storage has below the prefix.
        size: Of all of them together.
        young: Files that were not looked up, because they are not old enough.
        orphans: Old files that no row names.
        orphans_size: Of all orphans together.
        deleted: Orphans that were deleted.
        deleted_size: Of those together.
        failed: Orphans that could not be deleted; the log says why.
    """

    files: int = 0
    size: int = 0
    young: int = 0
    orphans: int = 0
    orphans_size: int = 0
    deleted: int = 0
    deleted_size: int = 0
    failed: int = 0


async def sweep(
    session_factory: async_sessionmaker[AsyncSession],
    storage: Storage,
    models: HolderSource | Iterable[HolderSource],
    *,
    prefix: str = "",
    older_than: timedelta = timedelta(hours=24),
    dry_run: bool = True,
) -> SweepReport:
    """Find the files that no row names, and delete them when told to.

    The listing of the storage is compared page by page with the database, which is asked for the
    names of each page. That takes constant memory, and no common order: S3 lists by bytes, other
    servers folder by folder, and databases sort by the rules of a language, so that two sorted
    lists would not fit together, and a merge of them would delete files that are in use. With an
    index on the column each page is a short query. No transaction stays open.

    A file is an orphan when it is old and no committed row names it. Before it is deleted, both are
    looked up again. A file that a running transaction has stored is younger than ``older_than``,
    which must be longer than any transaction, and than any time for which an app keeps the name of
    a new file before a row holds it.

    Args:
        session_factory: Makes sessions of the database, which must see all rows: one that row-level
            security hides makes its file an orphan.
        storage: The storage, that of the column types.
        models: Where names are: the declarative base, or models, each of which stands for all
            models of its base; or columns, also such that no model has, as in a table of history.
        prefix: Folder-like prefix of the files to look at. Files that others have stored in the
            same bucket are orphans too, unless they are outside of it.
        older_than: How long ago a file must have been stored, at least.
        dry_run: Whether orphans are only counted and logged.

    Raises:
        ConfigurationError: When no column holds names of files of the storage.
        ValueError: When ``older_than`` is negative.
        StorageError: When the storage fails. What was deleted was an orphan.
    """
    if older_than < timedelta():
        raise ValueError(f"older_than must not be negative, but is {older_than}.")
    work = _Sweep(
        session_factory, storage, find_holders(storage, models), datetime.now(UTC) - older_than
    )
    orphans: list[FileInfo] = []
    async for page in _list_pages(storage, prefix):
        found = await work.find_orphans(page)
        if not dry_run:
            orphans += found
        # Few files are orphans: those of many pages are deleted together.
        if len(orphans) >= _PAGE:
            await work.delete(orphans)
            orphans = []
    if orphans:
        await work.delete(orphans)
    return work.report


async def _list_pages(storage: Storage, prefix: str) -> AsyncIterator[list[FileInfo]]:
    page: list[FileInfo] = []
    async for info in storage.list(prefix):
        page.append(info)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


@dataclass(frozen=True, slots=True)
class _Sweep:
    session_factory: async_sessionmaker[AsyncSession]
    storage: Storage
    holders: Collection[Holder]
    born_before: datetime
    report: SweepReport = field(default_factory=SweepReport)

    async def find_orphans(self, page: list[FileInfo]) -> list[FileInfo]:
        old = [info for info in page if self._is_old(info)]
        named = await self._find_named([info.name for info in old])
        orphans = [info for info in old if info.name not in named]
        for info in orphans:
            _logger.info("No row names %a in %r (%d bytes).", info.name, self.storage, info.size)
        report = self.report
        report.files += len(page)
        report.size += sum(info.size for info in page)
        report.young += len(page) - len(old)
        report.orphans += len(orphans)
        report.orphans_size += sum(info.size for info in orphans)
        return orphans

    async def delete(self, orphans: list[FileInfo]) -> None:
        """Delete orphans that still are: they may have been listed long ago."""
        safe = [info.name for info in orphans if self._is_safe(info.name)]
        infos = await get_infos(self.storage, safe)
        sizes = {name: info.size for name, info in infos.items() if info and self._is_old(info)}
        for name in await self._find_named(sizes):
            del sizes[name]
        failures = await self.storage.delete_many(sizes)
        for name, error in failures.items():
            _logger.warning("%a in %r could not be deleted: %s", name, self.storage, error)
        report = self.report
        report.failed += len(orphans) - len(safe) + len(failures)
        report.deleted += len(sizes) - len(failures)
        report.deleted_size += sum(size for name, size in sizes.items() if name not in failures)

    async def _find_named(self, names: Collection[str]) -> set[str]:
        if not names:
            return set()
        return await find_named(self.session_factory, self.holders, names)

    def _is_old(self, info: FileInfo) -> bool:
        # What has no time may be as young as can be.
        return info.last_modified is not None and info.last_modified <= self.born_before

    def _is_safe(self, name: str) -> bool:
        """Tell whether the name leads to this very file.

        Another program may have chosen one whose safe form is the name of another file.
        """
        try:
            is_safe = self.storage.get_name(name) == name
        except InvalidNameError:
            is_safe = False
        if not is_safe:
            _logger.warning("%a in %r has no safe name, and is not deleted.", name, self.storage)
        return is_safe
