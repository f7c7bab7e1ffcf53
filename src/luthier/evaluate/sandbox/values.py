"""How arguments and results travel between a program and its checker: plain values as copies, all else by reference.

Only plain values are made on the checker's side, so nothing a program returns can say of itself what it equals.
"""

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "dict": dict,
    "iterator": iter,
}
KINDS: tuple[type[Any], ...] = (list, tuple, set, frozenset, deque, dict, Iterator)
"""What goes by those names, in their order. An iterator travels with all it yields."""

SPELLED: dict[str, Callable[[str], Any]] = {
    "bytes": bytes.fromhex,
    "complex": complex,
    "Decimal": Decimal,
    "Fraction": Fraction,
    "range": lambda text: range(*map(int, text.split())),
}


def encode(value: Any, refer: Callable[[Any], dict[str, Any]]) -> Any:
    """Return a value as JSON has it.

    Args:
        value: Any.
        refer: Gives the reference that stands for a value that isn't copied: `{"global": name}` or `{"ref": number}`.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    for (name, _), kind in zip(CONTAINERS.items(), KINDS, strict=True):
        if isinstance(value, kind):
            return {name: [encode(item, refer) for item in (value.items() if kind is dict else value)]}
    match value:
        case bytes() | bytearray():
            return {"bytes": value.hex()}
        case range():
            return {"range": f"{value.start} {value.stop} {value.step}"}
        case complex() | Decimal() | Fraction():
            return {type(value).__name__: str(value)}
    return refer(value)


def decode(told: Any, resolve: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the value that `encode` told; `resolve` gives what a reference stands for.

    Raises:
        KeyError, TypeError, ValueError: It was not told by `encode`.
    """
    if isinstance(told, list):
        raise TypeError(told)
    if not isinstance(told, dict):
        return told
    ((name, content),) = told.items()
    if name in CONTAINERS:
        return CONTAINERS[name]([decode(item, resolve) for item in content])
    return SPELLED[name](content) if name in SPELLED else resolve(told)
