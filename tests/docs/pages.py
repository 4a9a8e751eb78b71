"""The pages of the documentation, and what their code blocks have to stand when they are tested.

A page is one program: its blocks run in order, in one namespace, one event loop and one folder.

- ``python`` runs; ``await`` may stand outside of a function, as in ``python -m asyncio``.
- A block with ``title="..."`` is a file: it is written under that name, for later blocks to use.
- ``shell`` runs by bash, with the programs of this environment.
- ``json`` and ``toml`` are parsed; ``text`` is no code.

What cannot run says why, in a comment before the block: ``<!-- not run: the reason -->``. A block
in any other language fails, so that none goes unchecked.
"""

import ast
import asyncio
import inspect
import json
import os
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sybil import Document, Example, Region
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

__all__ = ["PROJECT", "Block", "Page", "list_pages", "read_blocks"]

PROJECT = Path(__file__).resolve().parents[2]

SHELL_SECONDS = 100
"""Less than the timeout of a test, so that the output of the command is seen."""

_LEXER = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n"))
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"<!-- not run: \S[^>]* -->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block.

    Attributes:
        language: First word of the info string, empty when there is none.
        title: File that the block is, relative to the folder of the page.
        source: What is between the fences, without their indentation.
        runs: Whether no comment says why it does not.
    """

    language: str
    title: str | None
    source: str
    runs: bool


def list_pages() -> list[Path]:
    """Return the README and all pages below docs/, relative to the project."""
    found = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
    return [path.relative_to(PROJECT) for path in found]


def read_blocks(path: Path, evaluate: Callable[[Example], None] | None = None) -> Document:
    """Parse a page; the examples of the document it returns are its blocks."""

    def parse(document: Document) -> Iterable[Region]:
        for region in _LEXER(document):
            region.parsed = _parse_block(document, region)
            region.evaluator = evaluate
            yield region

    return Document.parse(str(path), parse)


def _parse_block(document: Document, region: Region) -> Block:
    info = region.lexemes["info"]
    title = _TITLE.search(info)
    return Block(
        language=info.split()[0] if info.split() else "",
        title=title[1] if title else None,
        source=region.lexemes["source"],
        runs=_NOT_RUN.search(document.text, 0, region.start) is None,
    )


class Page:
    """Runs the blocks of one page.

    Args:
        path: The page.
        directory: Folder that the page works in; the caller makes it the working directory.
        runner: Runs what awaits.
        module: Namespace of the Python blocks, found in ``sys.modules`` as that of any module.
        replacements: What the page says, and what it means here, such as an address.
    """

    def __init__(
        self,
        path: Path,
        directory: Path,
        runner: asyncio.Runner,
        module: ModuleType,
        replacements: Mapping[str, str],
    ) -> None:
        self._document = read_blocks(path, self._evaluate)
        self._directory = directory
        self._runner = runner
        self._module = module
        self._replacements = replacements

    def run(self) -> None:
        """Run all blocks, up to the first that fails."""
        for example in self._document.examples():
            try:
                example.evaluate()
            except BaseException as error:
                error.add_note(f"In the code block at {example.path}:{example.line}")
                raise

    def _evaluate(self, example: Example) -> None:
        block: Block = example.parsed
        if not block.runs:
            return
        source = block.source
        for said, meant in self._replacements.items():
            source = source.replace(said, meant)
        if block.title is not None:
            self._write(block.title, source)
        elif block.language == "python":
            self._run_python(source, example)
        elif block.language == "shell":
            self._run_shell(source)
        elif block.language == "json":
            json.loads(source)
        elif block.language == "toml":
            tomllib.loads(source)
        else:
            assert block.language == "text", f"Nothing checks a block of {block.language!r}."

    def _write(self, title: str, source: str) -> None:
        if title.endswith(".py"):
            ast.parse(source, title)
        path = self._directory / title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    def _run_python(self, source: str, example: Example) -> None:
        # Empty lines in front, so that a traceback shows the line of the page.
        code = compile(
            "\n" * example.line + source,
            example.path,
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        result = eval(code, self._module.__dict__)  # noqa: S307 - our own documentation
        if inspect.iscoroutine(result):
            self._runner.run(result)

    def _run_shell(self, source: str) -> None:
        programs = sysconfig.get_path("scripts")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", source],
            cwd=self._directory,
            env={
                **os.environ,
                "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
                "PYTHONPATH": os.pathsep.join([str(self._directory), str(PROJECT)]),
            },
            capture_output=True,
            text=True,
            timeout=SHELL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{source}\n{done.stdout}\n{done.stderr}"
