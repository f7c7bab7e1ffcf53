"""The two sides of a trial: a program that answers calls, and the checker that calls it. Both are walled in."""

import builtins
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TextIO

from luthier.evaluate.sandbox.values import decode, encode

WORDS = 300
"""Characters of an error that are told."""


def answer_calls(program: str, calls: TextIO, replies: TextIO) -> None:
    """Run a program, then do what its checker asks of the names it defined.

    A call is `{"do": "call" | "get" | "set", "of": reference, …}`, a reply `{"value": …}` or `{"raised": …, "text"}`.
    """
    random.seed(0)
    module = ModuleType("program")
    sys.modules[module.__name__] = module
    kept: list[Any] = []

    def refer(value: Any) -> dict[str, Any]:
        kept.append(value)
        return {"ref": len(kept) - 1}

    def resolve(reference: dict[str, Any]) -> Any:
        return kept[reference["ref"]] if "ref" in reference else vars(module)[reference["global"]]

    def do(asked: dict[str, Any]) -> Any:
        of = resolve(asked["of"])
        if asked["do"] == "call":
            return of(*decode(asked["args"], resolve), **decode(asked["named"], resolve))
        if asked["do"] == "get":
            return getattr(of, asked["name"])
        return setattr(of, asked["name"], decode(asked["value"], resolve))

    broken: BaseException | None = None
    try:
        exec(compile(program, "<program>", "exec"), vars(module))
    except BaseException as error:
        broken = error
    for line in calls:
        try:
            if broken is not None:
                raise broken
            reply = {"value": encode(do(json.loads(line)), refer)}
        except BaseException as error:
            reply = {"raised": type(error).__name__, "text": str(error)[:WORDS]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class Ended(Exception):  # noqa: N818 - told by its name, to people
    """The program's process is there no more."""


class Elsewhere:
    """A name or an object of the program, as its checker sees it: it can be called, and has attributes."""

    __slots__ = ("_ask", "_reference")

    def __init__(self, reference: dict[str, Any], ask: Callable[..., Any]) -> None:
        object.__setattr__(self, "_reference", reference)
        object.__setattr__(self, "_ask", ask)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call it where it is."""
        return self._ask(do="call", of=self, args=args, named=named)

    def __getattr__(self, name: str) -> Any:
        return self._ask(do="get", of=self, name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask(do="set", of=self, name=name, value=value)


def check(given: str, names: Sequence[str], tests: str, calls: TextIO, replies: TextIO) -> None:
    """Run tests in which `names` are the program's.

    Args:
        given: Code that the tests may lean on, such as the problem's own helpers.
        names: Of the program. They take the place of what `given` says of them.
        tests: Code that raises unless all is well.
        calls: To the program.
        replies: From it.

    Raises:
        BaseException: A test fails.
    """

    def told(value: Any) -> dict[str, Any]:
        if type(value) is not Elsewhere:
            message = f"{type(value).__name__} can't be handed to the program"
            raise TypeError(message)
        return dict(value._reference)

    def ask(*, of: Elsewhere, **asked: Any) -> Any:
        request = {"of": of._reference, **{key: encode(value, told) for key, value in asked.items()}}
        try:
            calls.write(json.dumps(request) + "\n")
            calls.flush()
        except BrokenPipeError:
            raise Ended from None
        line = replies.readline()
        if not line.endswith("\n"):
            raise Ended
        reply = json.loads(line)
        if "raised" in reply:
            raise _error(str(reply["raised"]), str(reply["text"]))
        return decode(reply["value"], lambda reference: Elsewhere({"ref": reference["ref"]}, ask))

    module = ModuleType("checker")
    exec(compile(given, "<given>", "exec"), vars(module))
    vars(module).update({name: Elsewhere({"global": name}, ask) for name in names})
    exec(compile(tests, "<tests>", "exec"), vars(module))


def _error(name: str, text: str) -> Exception:
    """Return the error that a program raised, as far as it is one of Python's own."""
    kind: Any = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = type(name if name.isidentifier() else "Error", (Exception,), {})
    try:
        found: Exception = kind(text)
    except TypeError:  # UnicodeDecodeError wants more than a text
        found = Exception(name)
    return found


def judge(trial: dict[str, Any], calls: TextIO, replies: TextIO, report: int) -> None:
    """Run the tests of a trial and write to a file descriptor, as JSON, what came of it."""
    try:
        check(trial["given"], trial["names"], trial["tests"], calls, replies)
    except BaseException as error:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        found = {"passed": False, "ended": isinstance(error, Ended), "why": text[:WORDS]}
    else:
        found = {"passed": True, "why": ""}
    os.write(report, json.dumps(found).encode())
