"""Settings of the app, from the environment."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

VAR = Path("var")


@dataclass(frozen=True)
class Settings:
    """What differs between a laptop and production.

    Attributes:
        storage_url: Where files go; see ``storage_from_url``. Without it: the folder ``var/files``.
        database_url: An async SQLAlchemy URL. Without it: an SQLite file in ``var``.
        secret_key: Signs the links to files. Without it: a key made once and kept in ``var``.
    """

    storage_url: str
    database_url: str
    secret_key: str


def load_settings() -> Settings:
    """Read ``STORAGE_URL``, ``DATABASE_URL`` and ``SECRET_KEY``; without them, use ``var``."""
    VAR.mkdir(exist_ok=True)
    return Settings(
        storage_url=os.environ.get("STORAGE_URL")
        or f"file://{(VAR / 'files').absolute()}?base_url=/files",
        database_url=os.environ.get("DATABASE_URL") or f"sqlite+aiosqlite:///{VAR}/example.db",
        secret_key=os.environ.get("SECRET_KEY") or _load_secret_key(VAR / "secret-key"),
    )


def _load_secret_key(path: Path) -> str:
    """Keep the key over restarts, so that links which were handed out go on working."""
    try:
        # Created for its owner only, and only once although several workers may start together.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(key := secrets.token_urlsafe(32))
    return key


settings = load_settings()
