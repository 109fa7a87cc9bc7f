"""What the tests name: does some test use this member, in this structure?

A member counts as named by a test when one test function, together with the helpers and fixtures that it uses, names
both the member and a way into its structure: a member that leads to it, the structure's generated class, or the operation
whose request or response it is. Names are keyword arguments, keys and other whole strings, attributes and classes, as the
wire spells them or as Python does; comments, docstrings and parts of longer strings do not count.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Unit = ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


class Evidence:
    """The names that each test of some files reaches."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._helpers: dict[str, list[_Names]] = defaultdict(list)
        """Functions, fixtures and constants that tests can refer to by name."""
        tests: list[_Names] = []
        for file in files:
            for name, unit in _units(ast.parse(file.read_text())):
                names = _Names(unit)
                (tests if name.startswith("test") else self._helpers[name]).append(names)
        self._tests = [frozenset(self._reached(test)) for test in tests]

    def _reached(self, test: _Names) -> set[str]:
        """Everything that a test names, with the helpers that it uses itself."""
        helpers = (names for reference in test.references for names in self._helpers.get(reference, ()))
        return test.names.union(*(names.names for names in helpers))

    def names(self, member: str, ways_in: Sequence[str]) -> bool:
        """Whether a test names the member together with a way into its structure. Both as spelled on the wire."""
        spellings = {member, attribute_name(member)}
        ways = {spelling for way in ways_in for spelling in (way, attribute_name(way))}
        return any(spellings & names and ways & names for names in self._tests)


class _Names:
    """The names in one function or assignment."""

    def __init__(self, unit: Unit) -> None:
        self.names: set[str] = set()
        self.references: set[str] = set()
        """Of functions, fixtures and constants."""
        docstring = ast.get_docstring(unit, clean=False) if not isinstance(unit, ast.Assign | ast.AnnAssign) else None
        for node in ast.walk(unit):
            match node:
                case ast.Constant(value=str(text)) if text != docstring:
                    self.names.add(text)
                case ast.keyword(arg=str(name)):
                    self.names |= {name, name.removeprefix("container_")}  # `work.register` takes those.
                case ast.Attribute(attr=name):
                    self.names.add(name)
                    self.references.add(name)
                case ast.Name(id=name) | ast.arg(arg=name):
                    self.references.add(name)


def _units(module: ast.Module) -> Iterator[tuple[str, Unit]]:
    """Functions of a module and of its classes, and module-level assignments, by name."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
    for node in module.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def attribute_name(member: str) -> str:
    """As Python spells it: `minvCpus` is `min_vcpus`, `SubmitJob` is `submit_job`."""
    spelled = member.replace("vCpus", "Vcpus").replace("ARN", "Arn").replace("GiB", "Gib")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in spelled).lstrip("_")
