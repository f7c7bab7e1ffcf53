"""Metrics of answers a program reads: JSON, and calls of functions."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import Failed, MissingExtra, RecipeError
from luthier.evaluate.metrics.metric import Expected, Metric, each
from luthier.recipe.metrics import Json, ToolCalls

FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)

ARGUMENTS = ("arguments", "parameters", "args")
"""What templates call the arguments of a call."""

NOTHING = object()


def read(text: str) -> Any:
    """Return the JSON value a text is, in a code fence or not; `NOTHING` where it is none."""
    fenced = FENCED.match(text)
    try:
        return json.loads(fenced[1] if fenced else text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return NOTHING


def _refused(constant: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python reads and JSON doesn't have."""
    raise ValueError(constant)


def alike(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same: 1 is 1.0, and is not true, as it is to Python."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def json_answers(options: Json) -> list[Metric]:
    """Return whether answers are JSON, whether they are what is expected, and whether they keep to the schema."""

    def equal(want: Expected, got: str) -> bool | None:
        wanted = read(want.text)
        return None if wanted is NOTHING else alike(read(got), wanted)

    metrics = [
        Metric("json_equal", "answers that are the JSON expected", each(equal)),
        Metric("json_valid", "answers that are JSON", each(lambda _, got: read(got) is not NOTHING)),
    ]
    if options.json_schema:
        keeps = _validator(options.json_schema)
        keeping = each(lambda _, got: (value := read(got)) is not NOTHING and keeps(value))
        metrics.append(Metric("json_schema", "answers that keep to the schema", keeping))
    return metrics


def _validator(file: str) -> Callable[[Any], bool]:
    try:
        from jsonschema import Draft202012Validator, SchemaError
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ModuleNotFoundError as error:
        raise MissingExtra("jsonschema", extra="metrics") from error
    try:
        schema = json.loads(Path(file).read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
    except (OSError, ValueError, SchemaError) as error:
        reason = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
        raise RecipeError(
            f"`evaluate.metrics` names a JSON Schema that can't be used: {reason}",
            hint="correct `json_schema`, a path from where luthier runs",
            place=file,
        ) from error
    # Left to itself, jsonschema fetches what a `$ref` names from the network.
    validator = Draft202012Validator(schema, registry=Registry())

    def keeps(value: Any) -> bool:
        try:
            return bool(validator.is_valid(value))
        except Unresolvable as error:
            raise Failed(
                f"the JSON Schema refers to `{error.ref}`, which is not in it",
                hint="put what it names under `$defs` of the same file",
                place=file,
            ) from error

    return keeps


def tool_calls(_: ToolCalls) -> list[Metric]:
    """Return whether answers call the functions expected, in their order; and with the arguments expected.

    Where no call is expected, an answer without one is right.
    """

    def names(want: Expected, got: str) -> bool:
        return [name for name, _ in calls_in(got)] == [name for name, _ in want.calls]

    return [
        Metric(
            "tool_calls",
            "answers with the right calls and arguments",
            each(lambda w, g: _same(w.calls, g)),
            of_calls=True,
        ),
        Metric("tool_names", "answers that call the right functions", each(names), of_calls=True),
    ]


def _same(calls: Sequence[tuple[str, Any]], got: str) -> bool:
    return alike([[*call] for call in calls_in(got)], [[*call] for call in calls])


def calls_in(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the calls in a text: JSON objects with a name and arguments, whatever a template puts around them."""
    decode = json.JSONDecoder().raw_decode
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        call = call_of(value)
        if call is not None:
            yield call
        at = text.find("{", end if call is not None else at + 1)


def call_of(value: Any) -> tuple[str, Any] | None:
    """Return name and arguments of a call, of which JSON text is read; None where it is none."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    given = next((value[key] for key in ARGUMENTS if key in value), NOTHING)
    if given is NOTHING:
        return None
    inner = read(given) if isinstance(given, str) else given
    return value["name"], given if inner is NOTHING else inner
