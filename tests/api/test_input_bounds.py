"""The models know integers of 32 and 64 bits only, while JSON and Python know no bound: the generated types set it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import inspect

from batchyard.shapes import batch, logs


def integers_of(shape: type[msgspec.Struct]) -> Iterator[tuple[str, inspect.IntType]]:
    """Every integer that may stand in a request of this shape, with its path."""
    seen: set[type] = set()
    waiting: list[tuple[str, inspect.Type]] = [(shape.__name__, inspect.type_info(shape))]
    while waiting:
        path, kind = waiting.pop()
        match kind:
            case inspect.IntType():
                yield path, kind
            case inspect.AnyType():
                raise AssertionError(f"{path} takes anything")
            case inspect.StructType() if kind.cls not in seen:
                seen.add(kind.cls)
                waiting += [(f"{path}.{field.encode_name}", field.type) for field in kind.fields]
            case inspect.UnionType():
                waiting += [(path, inner) for inner in kind.types]
            case inspect.ListType():
                waiting.append((f"{path}[]", kind.item_type))
            case inspect.DictType():
                waiting += [(f"{path}{{}}", kind.key_type), (f"{path}{{}}", kind.value_type)]


def test_every_integer_that_is_received_has_bounds() -> None:
    operations = [*batch.OPERATIONS.values(), *logs.OPERATIONS.values()]
    inputs = {operation.input for operation in operations if operation.input is not None}
    found = [integer for shape in inputs for integer in integers_of(shape)]
    assert len(found) > 50
    assert [path for path, kind in found if kind.ge is None or kind.le is None] == []
