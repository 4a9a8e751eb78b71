"""Turns the Sphinx roles of the docstrings into links of this site.

Docstrings say ``:class:`Storage``` and end a paragraph in front of code with ``::``, which editors
and ``help()`` readers know; mkdocstrings reads Markdown.
"""

import re
from collections.abc import Iterator

from griffe import Class, Extension, GriffeLoader, Module, NameResolutionError, Object, get_logger

_logger = get_logger(__name__)

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`([\w.]+)`")
_LITERAL_BLOCK = re.compile(r"(?:^[ ]*)?::$", re.MULTILINE)


class SphinxRoles(Extension):
    """Rewrites the docstrings of a package when it is loaded."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: object) -> None:
        """Rewrite all docstrings below a package."""
        for obj in _walk(pkg):
            if obj.docstring is not None:
                obj.docstring.value = _rewrite(obj, obj.docstring.value)


def _walk(obj: Object) -> Iterator[Object]:
    yield obj
    for member in obj.members.values():
        if not member.is_alias and isinstance(member, Object):
            yield from _walk(member)


def _rewrite(obj: Object, text: str) -> str:
    text = _ROLE.sub(lambda role: _link(obj, role[1]), text)
    return _LITERAL_BLOCK.sub(lambda found: "" if found[0].strip() == found[0] else ":", text)


def _link(obj: Object, name: str) -> str:
    target = _find(obj, name)
    if target is None:
        _logger.warning("%s: nothing is called %s", obj.path, name)
        return f"<code>{name}</code>"
    # Optional: what this site leaves out is shown without a link.
    return f'<autoref optional identifier="{target}"><code>{name}</code></autoref>'


def _find(obj: Object, name: str) -> str | None:
    """Return the path of what a name means: in the scope of an object, else in its package."""
    first, dot, rest = name.partition(".")
    scope: Object | None = obj
    while scope is not None:
        if isinstance(scope, Class) and first in scope.all_members:
            return scope.all_members[first].canonical_path + dot + rest
        scope = scope.parent
    try:
        return obj.resolve(first) + dot + rest
    except NameResolutionError:
        named = {found.path for found in _walk(obj.package) if found.name == first}
        return named.pop() + dot + rest if len(named) == 1 else None
