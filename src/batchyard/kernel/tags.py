"""Rules for tags. Source: User Guide "Tagging your AWS Batch resources"."""

from __future__ import annotations

from collections.abc import Mapping

from batchyard.kernel.refusal import Refusal

MAXIMUM = 50
_PUNCTUATION = frozenset(" _.:/=+-@")


def check_tags(tags: Mapping[str, str] | None) -> None:
    """Raises `Refusal` when a tag breaks a rule."""
    if not tags:
        return
    if len(tags) > MAXIMUM:
        raise Refusal(f"A resource cannot have more than {MAXIMUM} tags, got {len(tags)}")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise Refusal("A tag key has 1 to 128 characters, a tag value at most 256")
        if key.lower().startswith("aws:"):
            raise Refusal(f"Tag key {key!r} starts with the reserved prefix aws:")
        if not _allowed(key) or not _allowed(value):
            raise Refusal(
                "Tags can only contain letters, numbers, spaces, and the following special characters: _ . : / = + - @"
            )


def merged(tags: Mapping[str, str] | None, added: Mapping[str, str]) -> dict[str, str]:
    """The tags after TagResource; raises `Refusal` when they would be too many."""
    both = {**(tags or {}), **added}
    check_tags(added)
    if len(both) > MAXIMUM:
        raise Refusal(f"A resource cannot have more than {MAXIMUM} tags, got {len(both)}")
    return both


def without(tags: Mapping[str, str] | None, keys: list[str]) -> dict[str, str]:
    """The tags after UntagResource; keys that are not there are ignored."""
    return {key: value for key, value in (tags or {}).items() if key not in keys}


def _allowed(text: str) -> bool:
    return all(letter.isalnum() or letter in _PUNCTUATION for letter in text)
