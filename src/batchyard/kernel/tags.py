"""Rules for tags. Source: User Guide "Tagging your AWS Batch resources"; for those that begin with `batchyard:`, `terms.py`."""

from __future__ import annotations

from collections.abc import Mapping

from batchyard.kernel.refusal import Refusal
from batchyard.kernel.terms import PREFIX, Tag

MAXIMUM = 50
_PUNCTUATION = frozenset(" _.:/=+-@")


_NONE: Mapping[str, Tag] = {}


def check_tags(tags: Mapping[str, str] | None, own: Mapping[str, Tag] = _NONE) -> None:
    """Raises `Refusal` when a tag breaks a rule. `own`: the tags with a meaning that such a resource may have; of others of
    that kind it is said that they have none here, so that a slip of the pen is seen."""
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
        if key.startswith(PREFIX):
            _check_own(key, value, own)


def _check_own(key: str, value: str, own: Mapping[str, Tag]) -> None:
    tag = own.get(key)
    if tag is None:
        known = f"known here are {', '.join(sorted(own))}" if own else "this kind of resource has no such tags"
        raise Refusal(f"The tag {key} has no meaning here: {known}")
    if tag.read(value) is None:
        raise Refusal(f"The tag {key} must be {tag.allowed}, got {value!r}")


def merged(tags: Mapping[str, str] | None, added: Mapping[str, str], own: Mapping[str, Tag] = _NONE) -> dict[str, str]:
    """The tags after TagResource; raises `Refusal` when they would be too many."""
    both = {**(tags or {}), **added}
    check_tags(added, own)
    if len(both) > MAXIMUM:
        raise Refusal(f"A resource cannot have more than {MAXIMUM} tags, got {len(both)}")
    return both


def without(tags: Mapping[str, str] | None, keys: list[str]) -> dict[str, str]:
    """The tags after UntagResource; keys that are not there are ignored."""
    return {key: value for key, value in (tags or {}).items() if key not in keys}


def _allowed(text: str) -> bool:
    return all(letter.isalnum() or letter in _PUNCTUATION for letter in text)
