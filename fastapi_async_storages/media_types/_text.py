"""Text and markup, told from the first bytes."""

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks that browsers obey. Source: WHATWG Encoding Standard, "BOM sniff"."""

_BINARY = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Source: WHATWG MIME Sniffing Standard, section 3 "Terminology", "binary data byte"."""

_WHITESPACE = " \t\n\f\r"

# The tag name ends as the standard's "tag-terminating byte" says, or as XML and HTML parsers do.
_TAG = re.compile(r"</?(?:([A-Za-z_][\w.-]*+):)?([A-Za-z_][\w.-]*+)(?=[\s/>]|$)", re.ASCII)
_DOCTYPE = re.compile(r"<!doctype\s+([\w:.-]++)", re.ASCII | re.IGNORECASE)

_TAG_NAMES = """
a abbr acronym address applet area article aside audio b base basefont bdi bdo big blink
blockquote body br button canvas caption center cite code col colgroup data datalist dd del
details dfn dialog dir div dl dt em embed fieldset figcaption figure font footer form frame
frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd keygen label
legend li link listing main map mark marquee math menu meta meter nav nobr noembed noframes
noscript object ol optgroup option output p param picture plaintext pre progress q rp rt ruby
s samp script search section select slot small source span strike strong style sub summary sup
table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr xmp
"""
"""Source: WHATWG HTML Standard, "List of elements" and "Obsolete features"."""

_HTML_TAGS = frozenset(_TAG_NAMES.split())


def is_text(head: bytes) -> bool:
    """Tell whether the bytes are proved to be text: UTF-8, or UTF-16 with its mark.

    A character that is cut off by the end of the head does not count against it.
    """
    encoding, body = _split_bom(head)
    try:
        text = codecs.getincrementaldecoder(encoding or "utf-8")().decode(body)
    except UnicodeDecodeError:
        return False
    return bool(head) and _BINARY.search(text) is None


def may_be_text(head: bytes) -> bool:
    """Tell whether the bytes could be text in some encoding: nothing binary is among them.

    An 8-bit encoding such as Windows-1252 proves nothing by itself, so only a claim makes it text.
    """
    encoding, body = _split_bom(head)
    if encoding and encoding.startswith("utf-16"):
        return is_text(head)
    return _BINARY.search(body.decode("latin-1")) is None


def sniff_markup(head: bytes) -> str | None:
    """Return the type of a document that starts as HTML, SVG or other XML, or ``None``.

    Whatever comes before the first element is skipped: byte order mark, blanks, comments,
    processing instructions, document type. Invalid text does not matter, since browsers render
    it all the same.

    Source: WHATWG MIME Sniffing Standard, section 7.1 "Identifying a resource with an unknown
    MIME type", widened on the side of safety: every HTML element counts, not only the standard's
    eighteen, and so does an SVG root.
    """
    encoding, body = _split_bom(head)
    text = body.decode(encoding or "latin-1", errors="ignore").lstrip(_WHITESPACE)
    if not text.startswith("<"):
        return None
    is_xml = text.startswith("<?xml")
    fallback = "application/xml" if is_xml else None
    while text.startswith(("<!", "<?")):
        if match := _DOCTYPE.match(text):
            prefix, _, name = match[1].rpartition(":")
            return _root_type(prefix, name, is_xml=is_xml)
        if text.startswith("<!"):
            # A comment, or a declaration that browsers take for one.
            fallback = fallback or "text/html"
        opening, closing = ("<!--", "-->") if text.startswith("<!--") else ("<", ">")
        end = text.find(closing, len(opening))
        if end < 0:
            return fallback
        text = text[end + len(closing) :].lstrip(_WHITESPACE)
    match = _TAG.match(text)
    return _root_type(match[1] or "", match[2], is_xml=is_xml) if match else fallback


def _root_type(prefix: str, name: str, *, is_xml: bool) -> str:
    """Return the type of a document by its root element."""
    local = name.lower()
    if local == "svg":
        return "image/svg+xml"
    if is_xml or prefix:
        return "application/xhtml+xml" if local == "html" else "application/xml"
    # A hyphen makes a custom element; these are HTML only.
    return "text/html" if local in _HTML_TAGS or "-" in local else "application/xml"


def _split_bom(head: bytes) -> tuple[str | None, bytes]:
    """Return the encoding that a byte order mark names, and the bytes behind the mark."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, head[len(mark) :]
    return None, head
