"""A project with an app and migrations of its own, in a folder of its own, for the real Alembic."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["REPOSITORY", "Project"]

REPOSITORY = Path(__file__).parents[2]


class Project:
    """A project in a folder of its own.

    Args:
        root: The folder.
        files: Its files, by their names.
    """

    def __init__(self, root: Path, files: Mapping[str, str]) -> None:
        self.root = root
        for name, source in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": f"{self.root}{os.pathsep}{REPOSITORY}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def alembic(self, *arguments: str) -> str:
        return self.run("-W", "error", "-m", "alembic", *arguments)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        source = path.read_text()
        assert old in source
        path.write_text(source.replace(old, new))

    def migration(self, message: str) -> str:
        (path,) = self.root.glob(f"migrations/versions/*_{message}.py")
        return path.read_text()

    def columns(self) -> dict[str, str]:
        connection = sqlite3.connect(self.root / "app.db")
        try:
            rows = connection.execute("select name, type from pragma_table_info('documents')")
            return dict(rows.fetchall())
        finally:
            connection.close()
