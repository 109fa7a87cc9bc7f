"""What is printed, and how: colours only on a terminal, aligned tables, one line of JSON as AWS would give it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}
_STATUS_COLOURS = {
    "SUBMITTED": "yellow",
    "PENDING": "yellow",
    "RUNNABLE": "yellow",
    "STARTING": "cyan",
    "RUNNING": "cyan",
    "SUCCEEDED": "green",
    "FAILED": "red",
}


def has_colours(stream: TextIO) -> bool:
    """Only on a terminal, and not when the user has set `NO_COLOR` (no-color.org) or the terminal is a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str | None, stream: TextIO | None = None) -> str:
    """The text in a colour, where `stream` (standard output unless told) shows colours."""
    if colour is None or not text or not has_colours(stream or sys.stdout):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def status_colour(status: str) -> str | None:
    return _STATUS_COLOURS.get(status)


def one_line(text: str) -> str:
    """Text of others, made harmless: a terminal obeys control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def print_line(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def print_note(text: str) -> None:
    """To standard error, where it does not mix with what a program reads."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    print_line(json.dumps(value, indent=4))


class Cell:
    """A cell of a table: the text, and the colour that it gets where there are colours."""

    def __init__(self, text: str, colour: str | None = None) -> None:
        self.text = one_line(text)
        self.colour = colour


WIDEST_ON_TERMINAL = 40


def print_table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: frozenset[str] = frozenset()) -> None:
    """Columns as wide as their widest cell; those in `right` are flush right. On a terminal cells are cut so that every
    line fits; into a pipe they are whole."""
    lines = [[Cell(head, "dim") for head in heads], *rows]
    columns = [[cell.text for cell in column] for column in zip(*lines, strict=True)]
    widths = [max(len(text) for text in column) for column in columns]
    if sys.stdout.isatty():
        widths = [min(width, WIDEST_ON_TERMINAL) for width in widths[:-1]] + widths[-1:]
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
        widths[-1] = max(0, min(widths[-1], room))
    for line in lines:
        parts = [_padded(cell, width, head in right) for cell, width, head in zip(line, widths, heads, strict=True)]
        print_line("  ".join(parts).rstrip())


def _padded(cell: Cell, width: int, right: bool) -> str:
    text = cut(cell.text, width)
    padding = " " * (width - len(text))
    return padding + painted(text, cell.colour) if right else painted(text, cell.colour) + padding


def cut(text: str, room: int) -> str:
    """The text, or its beginning and an ellipsis where it is longer than `room` characters."""
    return text if len(text) <= room else text[: max(0, room - 1)] + "…" * (room > 0)
