"""File name extensions and the media types that they stand for: one table, on every machine."""

import re

from fastapi_async_storages.media_types._names import canonical_media_type

# The standard library's `mimetypes` answers by the machine's /etc/mime.types or registry and by
# its own release, so that two servers of one app would store two types for one file.
_TABLE = """
application/epub+zip epub
application/geo+json geojson
application/gzip gz tgz svgz
application/json json map
application/ld+json jsonld
application/manifest+json webmanifest
application/msword doc dot
application/pdf pdf
application/postscript ps eps ai
application/rtf rtf
application/sql sql
application/toml toml
application/vnd.amazon.ebook azw
application/vnd.android.package-archive apk
application/vnd.apache.parquet parquet
application/vnd.apple.mpegurl m3u8
application/vnd.google-earth.kml+xml kml
application/vnd.google-earth.kmz kmz
application/vnd.microsoft.portable-executable exe dll
application/vnd.ms-excel xls xlt
application/vnd.ms-excel.sheet.binary.macroenabled.12 xlsb
application/vnd.ms-excel.sheet.macroenabled.12 xlsm
application/vnd.ms-excel.template.macroenabled.12 xltm
application/vnd.ms-fontobject eot
application/vnd.ms-outlook msg
application/vnd.ms-powerpoint ppt pot pps
application/vnd.ms-powerpoint.presentation.macroenabled.12 pptm
application/vnd.ms-powerpoint.slideshow.macroenabled.12 ppsm
application/vnd.ms-word.document.macroenabled.12 docm
application/vnd.ms-word.template.macroenabled.12 dotm
application/vnd.oasis.opendocument.graphics odg
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.presentationml.slideshow ppsx
application/vnd.openxmlformats-officedocument.presentationml.template potx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.spreadsheetml.template xltx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.openxmlformats-officedocument.wordprocessingml.template dotx
application/vnd.rar rar
application/vnd.sqlite3 sqlite sqlite3 db
application/vnd.visio vsd
application/wasm wasm
application/x-7z-compressed 7z
application/x-apple-diskimage dmg
application/x-bzip2 bz2
application/x-deb deb
application/x-iso9660-image iso
application/x-mobipocket-ebook mobi
application/x-msi msi
application/x-ndjson ndjson jsonl
application/x-pem-file pem
application/x-pkcs12 p12 pfx
application/x-rpm rpm
application/x-sh sh
application/x-subrip srt
application/x-tar tar
application/x-tex tex
application/x-xz xz
application/xhtml+xml xhtml xht
application/xml xml xsd rng
application/xslt+xml xslt
application/yaml yaml yml
application/zip zip
application/zstd zst
audio/aac aac
audio/aiff aiff aif
audio/amr amr
audio/flac flac
audio/midi mid midi
audio/mp4 m4a m4b
audio/mpeg mp3
audio/ogg ogg oga opus
audio/wav wav
audio/webm weba
audio/x-ms-wma wma
font/collection ttc
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/avif avif
image/bmp bmp dib
image/gif gif
image/heic heic
image/heif heif
image/jp2 jp2
image/jpeg jpg jpeg jpe jfif
image/jxl jxl
image/png png apng
image/svg+xml svg
image/tiff tiff tif
image/vnd.adobe.photoshop psd
image/vnd.dwg dwg
image/vnd.microsoft.icon ico cur
image/webp webp
image/x-adobe-dng dng
image/x-canon-cr2 cr2
image/x-nikon-nef nef
image/x-sony-arw arw
image/x-xcf xcf
message/rfc822 eml mht mhtml
model/gltf+json gltf
model/gltf-binary glb
model/obj obj
model/step step stp
model/stl stl
model/vnd.usdz+zip usdz
model/3mf 3mf
text/calendar ics
text/css css
text/csv csv
text/html html htm shtml
text/javascript js mjs cjs
text/markdown md markdown
text/plain txt text log conf ini
text/tab-separated-values tsv tab
text/vcard vcf
text/vtt vtt
text/x-python py
text/xsl xsl
video/3gpp 3gp
video/3gpp2 3g2
video/mp2t mts m2ts ts
video/mp4 mp4 m4v
video/mpeg mpg mpeg
video/ogg ogv
video/quicktime mov qt
video/webm webm
video/x-flv flv
video/x-matroska mkv
video/x-ms-wmv wmv asf
video/x-msvideo avi
"""
"""A type and its extensions a line, the one to write first.

Source: the templates of the IANA "Media Types" registry; for types that are not registered, the
freedesktop.org shared-mime-info database.
"""

_EXTENSIONS = {
    name: extensions for name, *extensions in map(str.split, _TABLE.strip().splitlines())
}
_TYPES = {one: name for name, extensions in _EXTENSIONS.items() for one in extensions}
_SAFE_EXTENSION = re.compile(r"[a-z0-9]{1,10}")


def guess_media_type(name: str) -> str | None:
    """Return the media type that the extension of a name stands for, or ``None``.

    The table is part of this package: every machine and every release of Python answers the same.

    Args:
        name: A file name, with or without folders; only what is behind the last dot counts.
    """
    return _TYPES.get(_extension(name))


def extension_for(media_type: str, filename: str | None = None) -> str:
    """Return the extension to give to a stored file: ``".jpeg"``, or ``""`` when there is none.

    The client's own extension is kept when it stands for the stored type (``.jpeg`` or ``.jpg``).
    An extension that is not in the table is dropped, since a web server in front of the files
    might run it (``.php``), and so is one that says another type than the bytes.

    Args:
        media_type: The stored type.
        filename: The client's file name, if it sent one.
    """
    name = canonical_media_type(media_type) or ""
    own = _extension(filename or "")
    if own and _TYPES.get(own) == name:
        return f".{own}"
    known = _EXTENSIONS.get(name)
    return f".{known[0]}" if known else ""


def _extension(name: str) -> str:
    """Return what is behind the last dot, in lower case; nothing for ``.bashrc`` and ``x.a b``."""
    stem, _, extension = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
    extension = extension.lower()
    return extension if stem and _SAFE_EXTENSION.fullmatch(extension) else ""
