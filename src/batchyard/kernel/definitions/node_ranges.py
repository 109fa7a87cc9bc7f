"""`targetNodes`: which nodes of a multi-node parallel job a group of properties is for.

Source: model `NodeRangeProperty`. `a:b` is inclusive, an open end means the first or the last node, a bare `n` is one node.
Ranges may be nested, and the inner one wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from batchyard.kernel.refusal import Refusal

_RANGE = re.compile(r"([0-9]{1,9})?(:)?([0-9]{1,9})?\Z")


class NodeRange(msgspec.Struct, frozen=True):
    """Nodes `first` to `last`, both included; `last` is None for an open end."""

    text: str
    first: int
    last: int | None

    def end(self, nodes: int) -> int:
        """The last node of the range in a job of this many nodes."""
        return nodes - 1 if self.last is None else min(self.last, nodes - 1)


def parse_range(text: str) -> NodeRange:
    """Raises `Refusal` for what is no range."""
    match = _RANGE.match(text)
    if match is None or not text:
        raise Refusal(f"targetNodes {text[:100]!r} is not a range of nodes such as 0:3, 4: or :")
    first, colon, last = match.groups()
    if colon is None:
        return NodeRange(text, int(first), int(first))
    found = NodeRange(text, int(first or 0), int(last) if last else None)
    if found.last is not None and found.last < found.first:
        raise Refusal(f"targetNodes {text} ends before it begins")
    return found


def check_ranges(ranges: Sequence[NodeRange], nodes: int) -> None:
    """Every range lies within the job, any two are apart or nested, and together they hold every node. Raises `Refusal`."""
    for each in ranges:
        if each.first >= nodes or (each.last or 0) >= nodes:
            raise Refusal(f"targetNodes {each.text} goes beyond the last of {nodes} nodes, {nodes - 1}")
    for number, one in enumerate(ranges):
        for other in ranges[:number]:
            _check_pair(one, other, nodes)
    _check_coverage(ranges, nodes)


def _check_coverage(ranges: Sequence[NodeRange], nodes: int) -> None:
    reached = 0
    for each in sorted(ranges, key=lambda each: each.first):
        if each.first > reached:
            break
        reached = max(reached, each.end(nodes) + 1)
    if reached < nodes:
        raise Refusal(f"Node {reached} of {nodes} nodes is in none of the ranges")


def _check_pair(one: NodeRange, other: NodeRange, nodes: int) -> None:
    low, high = sorted((one, other), key=lambda each: (each.first, -each.end(nodes)))
    if (low.first, low.end(nodes)) == (high.first, high.end(nodes)):
        raise Refusal(f"targetNodes {other.text} and {one.text} are the same nodes")
    if high.first <= low.end(nodes) < high.end(nodes):
        raise Refusal(f"targetNodes {other.text} and {one.text} overlap, and neither lies within the other")


def range_of_each(ranges: Sequence[NodeRange], nodes: int) -> list[int]:
    """For each node, the position of the range that decides for it: the innermost. (Where a job has more nodes than its
    definition, an open range may have outgrown the one around it: then the one that begins later decides.)"""
    deciding = [-1] * nodes
    outermost_first = sorted(range(len(ranges)), key=lambda n: (ranges[n].first, -ranges[n].end(nodes)))
    for position in outermost_first:
        each = ranges[position]
        if each.first < nodes:
            length = each.end(nodes) - each.first + 1
            deciding[each.first : each.first + length] = [position] * length
    return deciding
