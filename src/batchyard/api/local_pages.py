"""A server that asks for no signature, and the browser on the same machine.

Any web page that a user happens to have open can make the browser send requests to 127.0.0.1; without signatures such
a page could run jobs. Browsers name the page's origin in such requests, and a page that has its own name resolve to
127.0.0.1 (DNS rebinding) shows that name in `Host`. Both are refused; SDKs and command lines send neither.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from batchyard.api.errors import access_denied
from batchyard.api.http import Request


def refuse_foreign_pages(request: Request) -> None:
    """Raises `ApiError` (403) for a request that a page of another origin has a browser send."""
    host = request.headers.get("host", "localhost")
    if not _is_loopback(host):
        raise access_denied(f"This server asks for no signatures and is for this machine only, not for {host[:100]!r}.")
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        raise access_denied(f"This server asks for no signatures and takes no requests from pages of {origin[:100]!r}.")


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
