"""The code in the README and in docs/ works: every block runs, or says why it does not."""

import asyncio
import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import PROJECT, Block, Page, list_pages, read_blocks
from tests.servers.s3 import S3Server


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    # SQLAlchemy and Pydantic look a class's module up to resolve its annotations.
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    yield module
    # What a page leaves open is told of here, and not in the test that the collector runs in.
    vars(module).clear()
    gc.collect()


@pytest.fixture
def replacements(s3_server: S3Server, pages_bucket: str) -> dict[str, str]:
    return {"localhost:9000": urlsplit(s3_server.endpoint_url).netloc, "my-bucket": pages_bucket}


@pytest.mark.filterwarnings(
    # Starlette's TestClient wants httpx2, which is not what most projects have yet.
    "ignore:Using `httpx` with `starlette.testclient`"
)
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("path", list_pages(), ids=str)
def test_code_of_a_page_runs(
    path: Path, tmp_path: Path, module: ModuleType, replacements: dict[str, str]
) -> None:
    with asyncio.Runner() as runner:
        Page(PROJECT / path, tmp_path, runner, module, replacements).run()


class TestHarness:
    """A page whose code is wrong is not passed over."""

    def run(self, text: str, directory: Path) -> ModuleType:
        page = directory / "page.md"
        page.write_text(text)
        module = ModuleType("page")
        with asyncio.Runner() as runner:
            Page(page, directory, runner, module, {"said": "meant"}).run()
        return module

    def test_blocks_share_a_namespace_and_may_await(self, tmp_path: Path) -> None:
        module = self.run(
            "```python\nimport asyncio\nawait asyncio.sleep(0)\nx = 'said'\n```\n\n"
            "- in a list:\n\n    ```python\n    y = x * 2\n    ```\n",
            tmp_path,
        )
        assert module.y == "meantmeant"

    def test_titled_blocks_are_files_for_later_ones(self, tmp_path: Path) -> None:
        self.run(
            '```python title="pkg/mod.py"\nprint(6 * 7)\n```\n'
            "```shell\npython pkg/mod.py > out.txt\n```\n",
            tmp_path,
        )
        assert (tmp_path / "out.txt").read_text() == "42\n"

    @pytest.mark.parametrize(
        "block",
        [
            "```python\nassert False\n```",
            "```shell\nfalse | true\n```",
            "```json\n{,}\n```",
            "```toml\n=\n```",
            '```python title="mod.py"\n)\n```',
            "```\nno language\n```",
            "```ruby\nputs 1\n```",
            "~~~~python\n1 / 0\n~~~~",
            "> ```python\n> 1 / 0\n> ```",
            "<!-- not run: -->\n```python\nassert False\n```",
        ],
    )
    def test_what_is_wrong_fails_and_names_its_line(self, block: str, tmp_path: Path) -> None:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - errors of any code
            self.run(f"First line\n\n{block}\n", tmp_path)
        note = caught.value.__notes__[-1]
        assert str(tmp_path / "page.md") in note
        assert note.rpartition(":")[2] in ("3", "4")

    def test_traceback_shows_the_line_of_the_page(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            self.run("1\n\n```python\nx = 1\nx / 0\n```\n", tmp_path)
        assert caught.traceback[-1].lineno == 4  # counted from 0

    def test_what_cannot_run_says_why(self, tmp_path: Path) -> None:
        self.run("<!-- not run: it needs the network -->\n```ruby\nputs 1\n```\n", tmp_path)

    @pytest.mark.parametrize("path", list_pages(), ids=str)
    def test_no_fence_is_overlooked(self, path: Path) -> None:
        text = (PROJECT / path).read_text()
        fences = sum(line.lstrip("> ").startswith(("```", "~~~")) for line in text.splitlines())
        blocks: list[Block] = [example.parsed for example in read_blocks(PROJECT / path)]
        assert fences == 2 * len(blocks)


def test_links_of_the_readme_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (PROJECT / "README.md").read_text())
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (PROJECT / target).exists()] == []
