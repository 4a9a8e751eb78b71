"""Turns the Sphinx roles of the docstrings into links of this site.

Docstrings say ``:class:`Storage``` and end a paragraph in front of code with ``::``, which editors
and ``help()`` readers know; mkdocstrings reads Markdown.
"""

import re
from collections.abc import Iterator

from griffe import (
    Alias,
    Class,
    Extension,
    GriffeLoader,
    Module,
    NameResolutionError,
    Object,
    get_logger,
)

_logger = get_logger(__name__)

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`([\w.]+)`")
_LITERAL_BLOCK = re.compile(r"(?:^[ ]*)?::$", re.MULTILINE)


class SphinxRoles(Extension):
    """Rewrites the docstrings of a package when it is loaded."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: object) -> None:
        """Rewrite all docstrings below a package."""
        for obj in _walk(pkg):
            if obj.docstring is not None:
                obj.docstring.value = _rewrite(obj, obj.docstring.value, loader)


def _walk(obj: Object) -> Iterator[Object]:
    yield obj
    for member in obj.members.values():
        if not member.is_alias and isinstance(member, Object):
            yield from _walk(member)


def _rewrite(obj: Object, text: str, loader: GriffeLoader) -> str:
    text = _ROLE.sub(lambda role: _link(obj, role[1], loader), text)
    return _LITERAL_BLOCK.sub(lambda found: "" if found[0].strip() == found[0] else ":", text)


def _link(obj: Object, name: str, loader: GriffeLoader) -> str:
    targets = set(_find(obj, name, loader))
    if not targets:
        _logger.warning("%s: nothing is called %s", obj.path, name)
    if len(targets) != 1:
        return f"<code>{name}</code>"
    # Optional: what this site leaves out is shown without a link.
    return f'<autoref optional identifier="{targets.pop()}"><code>{name}</code></autoref>'


def _find(obj: Object, name: str, loader: GriffeLoader) -> Iterator[str]:
    """Yield what a name may mean: in the scope of an object, else anywhere in its package."""
    first, dot, rest = name.partition(".")
    if first in loader.modules_collection:
        found = loader.modules_collection[name]
        yield found.target_path if isinstance(found, Alias) else found.path
        return
    scope: Object | None = obj
    while scope is not None:
        if isinstance(scope, Class) and first in scope.all_members:
            yield scope.all_members[first].canonical_path + dot + rest
            return
        scope = scope.parent
    try:
        yield obj.resolve(first) + dot + rest
    except NameResolutionError:
        yield from (each.path + dot + rest for each in _walk(obj.package) if each.name == first)
