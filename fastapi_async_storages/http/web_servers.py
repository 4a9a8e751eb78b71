"""The web servers in front of the app that can send files for it."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

__all__ = ["XAccelRedirect", "XSendfile"]


@dataclass(frozen=True, slots=True)
class XAccelRedirect:
    """nginx sends the file: ``X-Accel-Redirect``.

    nginx passes on ``Content-Type``, ``Content-Disposition`` and ``Cache-Control`` of the app, but
    not the other headers; the location has to add them::

        location /protected/ {
            internal;
            alias /srv/files/;
            add_header X-Content-Type-Options $upstream_http_x_content_type_options;
            add_header Content-Security-Policy $upstream_http_content_security_policy;
        }

    Attributes:
        location: Path of the internal location whose ``alias`` is the root of the storage.

    Source: nginx documentation, "X-Accel-Redirect" under ``proxy_ignore_headers`` of
    ngx_http_proxy_module.
    """

    location: str

    def make_header(self, name: str, path: Path) -> tuple[str, str]:
        """Return the header; nginx decodes the percent-encoding."""
        del path
        return "x-accel-redirect", f"{self.location.rstrip('/')}/{quote(name)}"


@dataclass(frozen=True, slots=True)
class XSendfile:
    """Apache (with mod_xsendfile) or lighttpd sends the file: ``X-Sendfile``.

    The server must be allowed to read the root of the storage: ``XSendFilePath`` in Apache,
    ``x-sendfile-docroot`` in lighttpd.

    Source: documentation of mod_xsendfile for Apache 2; lighttpd wiki, "X-Sendfile".
    """

    def make_header(self, name: str, path: Path) -> tuple[str, str]:
        """Return the header; both servers decode the percent-encoding."""
        del name
        return "x-sendfile", quote(str(path))
