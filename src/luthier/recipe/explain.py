"""What every recipe key means, read off the schema.

The annotations of `schema.py` and `methods.py` are the only list of keys, ranges and methods. This file
turns them into `Shape`s: what may stand at a key, in words and in a form that `load` and `write` can walk.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from luthier.core.errors import RecipeError
from luthier.core.text import did_you_mean, one_line, plural
from luthier.recipe.options import Method, Options
from luthier.recipe.schema import Recipe

WIDTH = 100
"""Columns of help text, in the terminal and in written recipes."""

REQUIRED: Final = "required"
"""Stands where a default would, for keys that have none."""

SCALARS = {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at a key. At most one of `section`, `methods`, `item` is set; none for a plain value."""

    noun: str
    """In words: `a whole number`."""
    allowed: str = ""
    """The range or pattern, in words that can follow the noun: `above 0`."""
    scalar: type | None = None
    choices: tuple[str, ...] = ()
    """Texts that are allowed: of a literal, or the names of the methods."""
    section: type[Options] | None = None
    methods: Mapping[str, type[Method]] = field(default_factory=lambda: MappingProxyType({}))
    tag: str = ""
    """The key that names the method: `kind`, `to`."""
    item: "Shape | None" = None
    optional: bool = False
    """Whether `null` is allowed."""
    off: bool = False
    """Whether `false` may stand for a section, and `true` for one with its defaults."""

    @property
    def words(self) -> str:
        """Return noun and range: `a whole number above 0`."""
        return f"{self.noun} {self.allowed}".rstrip()


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the recipe.

    `path` names the method it is an option of (train.technique.lora.rank), `short` doesn't.
    """

    path: tuple[str, ...]
    short: tuple[str, ...]
    shape: Shape
    default: Any
    help: str
    method: str = ""

    def same_as(self, other: "Key") -> bool:
        """Return whether both say the same, as `warmup` does for every schedule."""
        mine = (self.short, self.shape, self.default, self.help)
        return mine == (other.short, other.shape, other.default, other.help)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to `luthier explain KEY`."""

    key: str
    type: str
    default: str
    allowed: str
    help: str
    methods: tuple[str, ...] = ()
    """The named methods the key is an option of; empty when it always applies."""
    keys: tuple[tuple[str, str], ...] = ()
    """What stands below: each key and one line about it."""

    def lines(self) -> list[str]:
        """Return the explanation as plain text."""
        lines = [self.key] if self.key else []
        lines += [f"  {line}" for line in textwrap.wrap(self.help, WIDTH - 2)]
        facts = {
            "type": self.type,
            "allowed": self.allowed,
            "default": self.default,
            "option of": ", ".join(f"`{name}`" for name in self.methods),
        }
        told = [f"{name}: {words}" for name, words in facts.items() if words]
        lines += [f"  {line}" for fact in told for line in textwrap.wrap(fact, WIDTH - 2, subsequent_indent="  ")]
        width = max((len(name) for name, _ in self.keys), default=0)
        lines += [""] if self.keys else []
        return [*lines, *(f"  {name:<{width}}  {line}".rstrip() for name, line in self.keys)]


# From annotations to shapes --------------------------------------------------------------------------------


def unwrapped(annotation: Any, metadata: Sequence[Any], tag: str) -> tuple[Any, list[Any], str]:
    """Take `Annotated` and pydantic's `Field` apart: the bare type, its constraints, the discriminator."""
    found = list(metadata)
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        for extra in extras:
            if isinstance(extra, FieldInfo):
                found += extra.metadata
                tag = extra.discriminator if isinstance(extra.discriminator, str) else tag
            else:
                found.append(extra)
    return annotation, found, tag


def shape_of(annotation: Any, metadata: Sequence[Any] = (), tag: str = "") -> Shape:
    """Return the shape an annotation asks for."""
    annotation, metadata, tag = unwrapped(annotation, metadata, tag)
    origin = get_origin(annotation)
    if tag:
        return methods_shape(get_args(annotation) or (annotation,), tag)
    if origin in (Union, UnionType):
        return union_shape(get_args(annotation))
    if origin is tuple:
        item = shape_of(get_args(annotation)[0])
        words = "a list of texts" if item.noun == SCALARS[str] else f"a list, each item {item.words}"
        return Shape(words, limits(metadata), item=item)
    if origin is Literal:
        if get_args(annotation) == (False,):
            return Shape("`false`")
        choices = get_args(annotation)
        return Shape(one_of(choices), choices=choices, scalar=str)
    if inspect.isclass(annotation) and issubclass(annotation, Options):
        return Shape("a section with keys of its own", section=annotation)
    if origin is dict:
        held = get_args(annotation)[1]
        if get_origin(held) in (Union, UnionType):
            return Shape("a mapping of names to numbers, texts, true or false")
        return Shape(f"a mapping of names, each to {shape_of(held).words}")
    return Shape(SCALARS[annotation], limits(metadata), scalar=annotation)


def methods_shape(members: Sequence[type[Method]], tag: str) -> Shape:
    """Return the shape of a union of named methods: a name, or a mapping that holds the name under `tag`."""
    methods = {get_args(member.model_fields[tag].annotation)[0]: member for member in members}
    return Shape(one_of(tuple(methods)), choices=tuple(methods), methods=methods, tag=tag)


def union_shape(parts: Sequence[Any]) -> Shape:
    """Return the shape of `A | B | None`."""
    shapes = [shape_of(part) for part in parts if part is not type(None)]
    optional = type(None) in parts
    if len(shapes) == 1:
        return replace(shapes[0], optional=optional)
    if shapes[0].section and Literal[False] in parts:
        return replace(shapes[0], noun=f"{shapes[0].noun}, or `false`", optional=optional, off=True)
    choices = tuple(choice for shape in shapes for choice in shape.choices)
    return Shape(" or ".join(shape.words for shape in shapes), choices=choices, optional=optional)


def one_of(choices: Sequence[str]) -> str:
    """Return `a`, or `one of` several, in backticks."""
    quoted = ", ".join(f"`{choice}`" for choice in choices)
    return quoted if len(choices) == 1 else f"one of {quoted}"


def limits(metadata: Sequence[Any]) -> str:
    """Return range, length and pattern in words that can follow the type."""
    limit = {
        name: value
        for entry in metadata
        for name in ("gt", "ge", "lt", "le", "min_length", "pattern")
        if (value := getattr(entry, name, None)) is not None
    }
    if "pattern" in limit:
        return f"that matches `{limit['pattern']}`"
    if "min_length" in limit:
        return f"with at least {plural(limit['min_length'], 'item')}"
    return bounds(limit)


def bounds(limit: Mapping[str, Any]) -> str:
    """Return a range in words: `above 0`, `from 0 to below 1`."""
    strict = "gt" in limit
    low = f"above {limit['gt']}" if strict else f"from {limit['ge']}" if "ge" in limit else ""
    if "lt" in limit:
        high = f"below {limit['lt']}"
    elif "le" in limit:
        high = f"at most {limit['le']}" if strict or not low else f"{limit['le']}"
    else:
        return low if strict or not low else f"{low} up"
    return f"{low} {'and' if strict else 'to'} {high}" if low else high


# The keys --------------------------------------------------------------------------------------------------


@cache
def keys_of(options: type[Options], tag: str = "") -> Mapping[str, Key]:
    """Return the keys of one section or method by name, without the tag that names the method."""
    return {
        name: Key(
            path=(name,),
            short=(name,),
            shape=shape_of(about.annotation, about.metadata, about.discriminator or ""),  # type: ignore[arg-type]
            default=REQUIRED if about.is_required() else about.get_default(call_default_factory=True),
            help=paragraph(about.description),
        )
        for name, about in options.model_fields.items()
        if name != tag
    }


def paragraph(text: str | None) -> str:
    """Return a docstring on one line."""
    return " ".join(inspect.cleandoc(text or "").split())


def below(
    options: type[Options], path: tuple[str, ...], short: tuple[str, ...], tag: str, method: str
) -> Iterator[Key]:
    """Yield every key of a section, each followed by what stands below it."""
    for name, key in keys_of(options, tag).items():
        here = replace(key, path=(*path, name), short=(*short, name), method=method)
        yield here
        shape = here.shape.item or here.shape
        if shape.section:
            yield from below(shape.section, here.path, here.short, "", method)
        for choice, member in shape.methods.items():
            inner = (*here.path, choice)
            yield Key(inner, inner, Shape("a named method", section=member), None, paragraph(member.__doc__))
            yield from below(member, inner, here.short, shape.tag, choice)


@cache
def every_key() -> tuple[Key, ...]:
    """Return all keys of the recipe, in the order of the schema, named methods among them."""
    return tuple(below(Recipe, (), (), "", ""))


def names(key: Key) -> Iterator[tuple[str, ...]]:
    """Yield the ways to write a key; `train.technique.kind` means `train.technique`."""
    yield key.path
    yield key.short
    shape = key.shape.item or key.shape
    if shape.tag:
        yield (*key.path, shape.tag)


def find(wanted: tuple[str, ...]) -> list[Key]:
    """Return the keys that are called so: by their full name or, if there is none, by its end."""
    exact = [key for key in every_key() if wanted in names(key)]
    if exact:
        return exact
    return [key for key in every_key() if any(name[-len(wanted) :] == wanted for name in names(key))]


# Explaining ------------------------------------------------------------------------------------------------


def default_words(key: Key) -> str:
    """Return a key's default as one would write it in a recipe; empty where there is none to speak of."""
    default = key.default
    if isinstance(default, Method):
        shape = key.shape
        return f"{getattr(default, shape.tag)}"
    if isinstance(default, bool):
        return str(default).lower()
    if key.shape.section:
        return "null" if key.shape.optional else ""
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]"
    return "null" if default is None else str(default)


def in_one_line(key: Key) -> str:
    """Return a key's first sentence and its default."""
    first = re.split(r"(?<=\.)\s(?=[A-Z0-9`])", key.help, maxsplit=1)[0]
    default = default_words(key)
    return f"{first} ({default})" if default else first


def children(path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return what stands directly below a key, methods and their options included."""
    found = []
    for key in every_key():
        depth = len(key.path) - len(path)
        within = key.path[: len(path)] == path
        if within and (depth == 1 or not path or (depth == 2 and key.method == key.path[-2])):
            found.append(("  " * (depth - 1) + key.path[-1], in_one_line(key)))
    return tuple(found)


def unknown(key: str) -> RecipeError:
    """Return the error for a key that doesn't exist."""
    dotted = sorted({".".join(name) for entry in every_key() for name in names(entry)})
    near = did_you_mean(key, dotted) or did_you_mean(key, [name.rpartition(".")[2] for name in dotted])
    hint = f"did you mean `{near}`?" if near else "type `luthier explain` to see every key"
    return RecipeError(f"there is no recipe key `{one_line(key, 60)}`", hint=hint)


def explain(key: str = "") -> Explanation:
    """Say what a recipe key means.

    Args:
        key: Dotted, as in `--set`: `train.technique.rank`, `train.technique.lora.rank`, `export.0.quant`.
            The end of a key is enough where only one key ends so: `rank`. Empty for the whole recipe.

    Raises:
        RecipeError: No key is called so, or several are.
    """
    wanted = tuple(part for part in key.strip().split(".") if part and not part.isdigit())
    if not wanted:
        return Explanation("", "", "", "", paragraph(Recipe.__doc__), keys=children(()))
    found = find(wanted)
    if not found:
        raise unknown(key)
    first = found[0]
    if not all(first.same_as(other) for other in found):
        calls = dict.fromkeys(f"`luthier explain {'.'.join(entry.path)}`" for entry in found)
        problem = f"several recipe keys are called `{'.'.join(wanted)}`"
        raise RecipeError(problem, hint=f"type {' or '.join(calls)}")
    shape = first.shape
    return Explanation(
        key=".".join(first.short),
        type=shape.noun + (", or `null`" if shape.optional else ""),
        default="" if first.default is None and not shape.optional else default_words(first),
        allowed=shape.allowed,
        help=paragraph(shape.section.__doc__) if shape.section else first.help,
        methods=tuple(entry.method for entry in found if entry.method),
        keys=children(first.path),
    )
