"""The names of uploads that are not verified yet."""

from fastapi_async_storages.keys import is_unique_name

__all__ = ["PENDING_PREFIX", "is_pending", "pending_name"]

PENDING_PREFIX = "pending/"
"""What the names of uploads begin with that are not verified yet."""


def pending_name(unique: str) -> str:
    """Return the name of an upload until it is verified.

    Args:
        unique: What is unique in the name of the file.
    """
    return f"{PENDING_PREFIX}{unique}"


def is_pending(name: str) -> bool:
    """Tell whether a name is one of an upload that nobody has verified.

    Args:
        name: Name of a file, in its safe form.
    """
    # Some file systems take names for the same that differ in case only.
    folded = name.casefold()
    unique = folded.removeprefix(PENDING_PREFIX)
    return unique != folded and not set("/.") & set(unique) and is_unique_name(unique)
