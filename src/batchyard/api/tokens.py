"""Page tokens: opaque to callers, and of no use to those who make them up.

A token holds the position of the next page and is sealed for its listing with a key of this installation: a token of
another listing, or one that was touched, is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from batchyard.api.errors import client_exception

_SEAL = 16


class Tokens:
    """Makes and reads page tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, listing: str, position: str) -> str:
        """A token for the page of `listing` that begins after `position`."""
        data = position.encode()
        return urlsafe_b64encode(self._seal(listing, data) + data).decode()

    def read(self, listing: str, token: str | None) -> str | None:
        """The position in a token; None for no token (an empty one counts as none). Raises `ApiError`."""
        if not token:
            return None
        try:
            data = urlsafe_b64decode(token.encode("ascii"))
            position = data[_SEAL:].decode()
        except ValueError:
            raise client_exception("nextToken is not valid") from None
        if not hmac.compare_digest(self._seal(listing, data[_SEAL:]), data[:_SEAL]):
            raise client_exception("nextToken is not valid")
        return position

    def _seal(self, listing: str, data: bytes) -> bytes:
        return hmac.digest(self._key, listing.encode() + b"\0" + data, hashlib.sha256)[:_SEAL]
