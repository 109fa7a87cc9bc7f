"""How the kernel says no to a caller."""

from __future__ import annotations


class Refusal(Exception):
    """A request that breaks a rule. Nothing was changed.

    AWS Batch answers every one of these as `ClientException`, HTTP 400. Most of its texts arrive wrapped in "Error
    executing request, Exception : …, RequestId: …"; the newer ones arrive bare, and clients match on the inner part.
    """

    def __init__(self, message: str, *, wrapped: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.wrapped = wrapped
