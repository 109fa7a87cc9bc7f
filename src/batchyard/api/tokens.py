"""Paging tokens: opaque to callers, and of no use when changed by them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

_SIGNATURE_BYTES = 12


class InvalidTokenError(ValueError):
    """The token was not made here, or not for this purpose."""


class TokenSealer:
    """Makes tokens out of small JSON values, and reads them back. The same value always gives the same token.

    The key belongs to the installation, so that tokens are good after a restart."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, purpose: str, value: object) -> str:
        """`purpose` names what the token is good for: the operation and the resource that it goes through."""
        payload = json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(purpose, payload) + payload).decode().rstrip("=")

    def open(self, purpose: str, token: str) -> object:
        """Raises InvalidTokenError."""
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidTokenError(token) from None
        signature, payload = sealed[:_SIGNATURE_BYTES], sealed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(purpose, payload)):
            raise InvalidTokenError(token)
        value: object = json.loads(payload)
        return value

    def _sign(self, purpose: str, payload: bytes) -> bytes:
        signed = purpose.encode() + b"\n" + payload
        return hmac.digest(self._key, signed, hashlib.sha256)[:_SIGNATURE_BYTES]
