"""The reference has what can be imported from the package."""

import re

import pytest

import fastapi_async_storages
from tests.docs.pages import PROJECT

DOCUMENTED = {
    target
    for page in (PROJECT / "docs" / "reference").glob("*.md")
    for target in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
}
"""The modules and objects whose docstrings mkdocstrings reads."""


@pytest.mark.parametrize("name", sorted(set(fastapi_async_storages.__all__) - {"__version__"}))
def test_public_name_is_in_the_reference(name: str) -> None:
    module = f"fastapi_async_storages.{fastapi_async_storages._MODULES[name]}"
    index = (PROJECT / "docs" / "reference" / "index.md").read_text()

    assert {module, f"{module}.{name}"} & DOCUMENTED, (
        f"Add '::: {module}' to a page in docs/reference/."
    )
    assert f"`{name}`" in index, f"Add `{name}` to the table in docs/reference/index.md."
