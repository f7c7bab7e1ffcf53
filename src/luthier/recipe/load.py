"""Reading a recipe: strict YAML, with every problem told at once and at its line.

How a file is read:

- YAML 1.2 core schema: `2e-4` is a number, `yes`, `on` and `2026-01-31` are texts, `010` is ten, `1_000` is
  a text (and the error says so). `.inf` and `.nan` are texts too: no key takes them. Duplicate keys, aliases,
  merge keys, tags and second documents are refused: a recipe means what its lines say, and can't blow up.
- Short forms: a method may be written by its name (`technique: lora`), an item of a list may stand without
  the list (`sources: tickets.csv`, `export: gguf`), a method's mapping without its name keeps the default
  method (`technique: {rank: 8}` is lora), and a section with nothing under it takes its defaults. Nothing
  else is converted.
- Paths in `data.sources` and a local `model` are not touched: they are relative to the current directory,
  like everything else that is typed at a prompt, wherever the recipe lies.
- Overrides (`--set train.epochs=2`) are read like the file and win over it, later ones over earlier ones. A
  section or list given whole (`train.technique=full`, `export=[gguf]`) replaces; a longer key edits. `null`
  clears a key.
"""

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from luthier.core.errors import LuthierError, Problems, RecipeError
from luthier.core.text import did_you_mean, one_line, plural
from luthier.recipe.explain import Key, Shape, every_key, keys_of, one_of
from luthier.recipe.methods import SHORT
from luthier.recipe.options import Method
from luthier.recipe.schema import Recipe

SIZE_LIMIT = 256_000
"""Bytes. A recipe has a few thousand; a file this large is something else, and slow to read as YAML."""

DEPTH_LIMIT = 20
"""Parts of an override's key; the schema's deepest has four."""

COMMAND_LINE = "# luthier: the command line also said, over the lines above (comments: repeat them or write them in):"
"""Heads the overrides that `recipe_text` appends."""

DATA_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

ROOT = Shape("a mapping of keys", section=Recipe)

BOOL, NULL = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
INT, FLOAT, TEXT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
PLAIN_TAGS = (BOOL, NULL, INT, FLOAT, TEXT, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")

NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")

UNSAFE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Characters that stand in no path and no name, and that would fail later and less clearly."""

YAML_PROBLEMS = {
    "recipe has no aliases": (
        "a recipe has no aliases, and an unquoted `*` begins one",
        'write the value out; a text that begins with `*` goes in quotes: "*.csv"',
    ),
    "while scanning an alias": (
        "an unquoted `*` begins an alias, and a recipe has none",
        'put the text in quotes: "*.csv"',
    ),
    "'\\t' that cannot start": ("a tab where YAML wants spaces", "indent with spaces"),
    "mapping values are not allowed": (
        "a second `: ` on the line, or a key indented more than the one above",
        "put a text that holds `: ` in quotes, and start the keys of a section in the same column",
    ),
    "could not find expected ':'": (
        "this line is neither `key: value` nor a list item",
        "write `key: value`, with a space after the colon",
    ),
    "expected <block end>": (
        "the line doesn't fit the lines above it",
        "start the keys of a section in the same column, each as `key: value`",
    ),
    "cannot start any token": ("a text can't begin with this character", "put the text in quotes"),
    "expected ',' or": ("a bracket or comma is missing", "close every `[` with `]` and every `{` with `}`"),
    "expected the node content, but found '<stream end>'": (
        "the file ends inside a bracket",
        "close every `[` with `]` and every `{` with `}`",
    ),
    "unexpected end of stream": ("a quote is never closed", "close it on the same line"),
    "expected a single document": (
        "a second document begins",
        "a recipe is one document: remove the line `---`",
    ),
}
"""What PyYAML says, and what a person should read and do instead. The first that fits counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: `recipe.yaml:3` or `--set train.epochs`. `order` is for sorting."""

    text: str
    order: int


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: a scalar, a dict or a list of nodes. In a dict, the place is the key's."""

    value: Any
    place: Place
    written: str = ""
    """A scalar as it was written: `1e3`."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in recipe and schema an error of pydantic's points: the nearest key that has a shape of ours."""

    path: tuple[str, ...]
    node: Node
    shape: Shape

    @property
    def name(self) -> str:
        """Return the key as `--set` takes it."""
        return ".".join(self.path)

    @property
    def short(self) -> tuple[str, ...]:
        """Return the key without list indices, as `luthier explain` names it."""
        return tuple(part for part in self.path if not part.isdigit())


class RecipeLoader(yaml.SafeLoader):
    """PyYAML's parser under the YAML 1.2 core schema, without aliases."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (typed by the base class)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: they save a few characters and cost whoever reads the file."""
        if self.check_event(yaml.AliasEvent):
            mark = self.current_event.start_mark
            raise yaml.composer.ComposerError(None, None, "a recipe has no aliases", mark)
        return super().compose_node(parent, index)


RecipeLoader.add_implicit_resolver(NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
RecipeLoader.add_implicit_resolver(BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
RecipeLoader.add_implicit_resolver(INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
RecipeLoader.add_implicit_resolver(FLOAT, re.compile(f"^{NUMBER.pattern}$"), list("-+.0123456789"))


class Complaints:
    """The problems found so far, each with its place."""

    def __init__(self) -> None:
        self.found: list[tuple[int, RecipeError]] = []

    def add(self, place: Place, problem: str, hint: str) -> None:
        """Note one problem."""
        self.found.append((place.order, RecipeError(problem, hint=hint, place=place.text)))

    def tell(self) -> None:
        """Raise what was found, in the order of the lines.

        Raises:
            RecipeError: One problem was found.
            Problems: Several were.
        """
        errors: list[LuthierError] = [error for _, error in sorted(self.found, key=lambda entry: entry[0])]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise Problems(errors)


# Files -----------------------------------------------------------------------------------------------------


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Args:
        path: The file; UTF-8.
        overrides: What followed each `--set`: `train.epochs=2`.

    Raises:
        RecipeError: The file can't be read, or one thing in it is wrong.
        Problems: Several things are wrong.
    """
    return parse_recipe(read_text(path), file=str(path), overrides=overrides)


def recipe_text(path: Path, overrides: Sequence[str] = ()) -> str:
    """Return what a run directory keeps: the file's text, byte for byte, then the overrides as comments.

    Read it back with `load_kept_recipe`, which applies them.
    """
    text = read_text(path)
    if not overrides and COMMAND_LINE not in text:
        return text
    return "\n".join([text, COMMAND_LINE, *(f"# --set {json.dumps(override)}" for override in overrides), ""])


def load_kept_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read the `recipe.yaml` of a run directory: the inverse of `recipe_text`, overrides and `changes` applied."""
    text, overrides = read_text(path), []
    if COMMAND_LINE in text:
        text, _, tail = text.rpartition("\n" + COMMAND_LINE + "\n")
        lines = (line.removeprefix("# --set ") for line in tail.splitlines() if line.startswith('# --set "'))
        overrides = [json.loads(line) for line in lines]
    return parse_recipe(text, file=str(path), overrides=[*overrides, *changes])


def read_text(path: Path) -> str:
    """Return a recipe file's text, line ends and byte order mark included.

    Raises:
        RecipeError: There is no such file, or it is no text.
    """
    place = str(path)
    if path.suffix.lower() in DATA_FILES:
        raise RecipeError(
            "this is a data file, not a recipe",
            hint=f"type `luthier run --data {place} --model bundled`",
            place=place,
        )
    try:
        if path.is_dir():
            raise RecipeError("this is a folder, not a recipe", hint=recipes_in(path), place=place)
        with path.open("rb") as handle:
            content = handle.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise RecipeError("there is no such file", hint=nearest(path), place=place) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(
            f"the file can't be read: {reason.lower()}", hint="check its name and permissions", place=place
        ) from None
    if len(content) > SIZE_LIMIT:
        raise RecipeError("too large for a recipe", hint="name a YAML file of at most 256 kB", place=place)
    return decoded(content, place)


def decoded(content: bytes, place: str) -> str:
    """Return UTF-8 bytes as text, or say at which line they stop being text."""
    if b"\0" in content[:8192]:
        raise RecipeError("this is not UTF-8 text", hint="name a YAML file, saved as UTF-8", place=place)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            f"byte 0x{content[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
            place=f"{place}:{line}",
        ) from None


def files_in(folder: Path) -> list[str]:
    """Return the names of a folder's files; none when it can't be listed."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def recipes_in(folder: Path) -> str:
    """Return the hint for a folder: name the recipes in it."""
    found = [name for name in files_in(folder) if name.endswith((".yaml", ".yml"))]
    if not found:
        return "name a YAML file; `luthier init` writes one"
    return "name the file: " + " or ".join(f"`{folder / name}`" for name in found[:3])


def nearest(path: Path) -> str:
    """Return the hint for a missing file: the file whose name is nearest, or the recipes that are there."""
    if not path.parent.is_dir():
        return f"the folder `{path.parent}` is not there either; is the current directory the right one?"
    near = did_you_mean(path.name, files_in(path.parent))
    return f"did you mean `{path.with_name(near)}`?" if near else recipes_in(path.parent)


# Text to nodes ---------------------------------------------------------------------------------------------


def parse_recipe(text: str, *, file: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from its text; `file` is what problems call it. Raises what `load_recipe` does."""
    complaints = Complaints()
    top = Place(f"{file}:1", 1)
    root = parse(text, top, file, complaints)
    if root is None or root.value is None:
        complaints.tell()
        if not overrides:
            complaints.add(top, "the recipe is empty", "`luthier init` writes one to start from")
            complaints.tell()
        root = Node({}, top)
    if not isinstance(root.value, dict):
        hint = "write `key: value` lines, with a space after the colon: `model: bundled`"
        complaints.add(top, f"a recipe should be a mapping of keys, got {shown(root)}", hint)
        complaints.tell()
    root = spelled_out(root, ROOT)
    for number, override in enumerate(overrides):
        root = spelled_out(overridden(root, override, number, complaints), ROOT)
    recipe = validated(root, complaints)
    complaints.tell()
    assert recipe is not None
    return recipe


def parse(text: str, top: Place, file: str | None, complaints: Complaints) -> Node | None:
    """Return the text's tree. None, and a complaint, when it is no YAML.

    Args:
        text: YAML.
        top: Where it starts.
        file: Its name, when it has lines worth naming; without it everything stands at `top`.
        complaints: Where problems go.
    """
    try:
        loader = RecipeLoader(text.removeprefix("\ufeff"))
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        complaints.add(*yaml_problem(error, text, top, file))
        return None
    except RecursionError:
        complaints.add(top, "nested too deeply to be a recipe", "type `luthier explain` to see every key")
        return None
    except (ValueError, OverflowError):
        complaints.add(top, "an escape such as \\U in quotes names no character", "use single quotes")
        return None
    return Node(None, top) if node is None else built(node, top, file, complaints, "")


def yaml_problem(error: yaml.YAMLError, text: str, top: Place, file: str | None) -> tuple[Place, str, str]:
    """Return place, problem and hint of a YAML error, in our words where we have them."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        place = Place(f"{file}:{line}", line) if file else top
        return place, f"the character U+{ord(text[error.position]):04X} can't stand in YAML", "remove it"
    assert isinstance(error, yaml.MarkedYAMLError)
    said = f"{error.context}: {error.problem}"
    late = error.context_mark if "expected ':'" in said or "end of stream" in said else None
    mark = late or error.problem_mark or error.context_mark
    place = Place(f"{file}:{mark.line + 1}", mark.line + 1) if file and mark else top
    column = f" (column {mark.column + 1})" if file and mark else ""
    for fragment, (problem, hint) in YAML_PROBLEMS.items():
        if fragment in said:
            return place, f"not valid YAML: {problem}{column}", hint
    return (
        place,
        f"not valid YAML: {one_line(str(error.problem))}{column}",
        "put texts with special characters in quotes",
    )


def built(node: yaml.Node, place: Place, file: str | None, complaints: Complaints, name: str) -> Node:
    """Return our node of a PyYAML one; `name` is its key, for complaints."""
    if node.tag not in PLAIN_TAGS:
        complaints.add(place, f"a recipe has no tags such as `{one_line(node.tag, 40)}`", "remove it")
    if isinstance(node, yaml.MappingNode):
        return mapping(node, place, file, complaints, name)
    if isinstance(node, yaml.SequenceNode):
        items = [
            built(item, line_of(item, place, file), file, complaints, joined(name, str(number)))
            for number, item in enumerate(node.value)
        ]
        return Node(items, place)
    value = scalar(node)
    if isinstance(value, str) and (bad := UNSAFE.search(value)):
        problem = f"`{name}` holds the character U+{ord(bad.group()):04X}, which no key takes"
        complaints.add(place, problem, "remove it, or use single quotes if it was written as an escape")
        value = UNSAFE.sub("_", value)
    return Node(value, place, written=node.value)


def mapping(node: yaml.MappingNode, place: Place, file: str | None, complaints: Complaints, name: str) -> Node:
    """Return the node of a mapping, and complain of keys that are written twice or are no words."""
    entries: dict[str, Node] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        here = line_of(key, place, file)
        if not isinstance(key, yaml.ScalarNode):
            complaints.add(here, "a key should be a word, got a list or mapping", "write `key: value`")
            continue
        word, line = key.value, key.start_mark.line + 1
        full = joined(name, word)
        if word in entries:
            where = f", on lines {lines[word]} and {line}" if file and lines[word] != line else ""
            complaints.add(here, f"`{one_line(full, 60)}` is written twice{where}", "keep one of them")
        entries[word] = built(value, here, file, complaints, full)
        lines[word] = line
    return Node(entries, place)


def line_of(node: yaml.Node, place: Place, file: str | None) -> Place:
    """Return where a node begins."""
    line = node.start_mark.line + 1
    return Place(f"{file}:{line}", line) if file else place


def joined(name: str, part: str) -> str:
    """Return `name.part`."""
    return f"{name}.{part}" if name else part


def scalar(node: yaml.Node) -> Any:
    """Return a scalar's value. Numbers that Python can't hold stay text, and are refused as such."""
    text: str = node.value
    if node.tag == NULL:
        return None
    if node.tag == BOOL:
        return text.lower() == "true"
    with suppress(ValueError):
        if node.tag == INT:
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if node.tag == FLOAT and math.isfinite(number := float(text)):
            return number
    return text


# Short forms -----------------------------------------------------------------------------------------------


def spelled_out(node: Node, shape: Shape, default: Any = None) -> Node:
    """Return the node with short forms written out: named methods as mappings, single items as lists."""
    if shape.methods:
        return method_spelled_out(node, shape, default)
    if shape.item:
        if node.value is None and shape.optional:
            return node
        items = node.value if isinstance(node.value, list) else [] if node.value is None else [node]
        return replace(node, value=[spelled_out(item, shape.item) for item in items])
    if shape.section is None:
        return node
    value = {} if (node.value is None and not shape.optional) or (shape.off and node.value is True) else node.value
    if isinstance(value, str) and shape.section.short:
        value = {shape.section.short: node}
    if not isinstance(value, dict):
        return node
    known = keys_of(shape.section)
    entries = {
        name: spelled_out(entry, known[name].shape, known[name].default) if name in known else entry
        for name, entry in value.items()
    }
    return replace(node, value=entries)


def method_spelled_out(node: Node, shape: Shape, default: Any) -> Node:
    """Return `lora` as `{kind: lora}`, and `{rank: 8}` with the name of the method that is the default."""
    tag, value = shape.tag, node.value
    if isinstance(value, str):
        value = {tag: node}
    if not isinstance(value, dict):
        return node
    if tag not in value and isinstance(default, Method):
        value = {tag: Node(getattr(default, tag), node.place), **value}
    chosen = value.get(tag)
    if chosen and isinstance(chosen.value, str) and chosen.value in SHORT and chosen.value not in shape.methods:
        meant = {key: Node(option, chosen.place) for key, option in SHORT[chosen.value].items()}
        value = {**meant, **{key: entry for key, entry in value.items() if key != tag}}
        chosen = value[tag]
    section = shape.methods.get(chosen.value) if chosen and isinstance(chosen.value, str) else None
    return spelled_out(replace(node, value=value), Shape("", section=section))


# Overrides -------------------------------------------------------------------------------------------------


def overridden(root: Node, override: str, number: int, complaints: Complaints) -> Node:
    """Return the tree with one `--set` applied; unchanged, with a complaint, when it can't be."""
    key, equals, text = override.partition("=")
    key = key.strip()
    order = 10**9 + number
    parts = key.split(".")
    if not equals or not all(parts) or len(parts) > DEPTH_LIMIT:
        what = f"`{one_line(override, 60)}` " + ("names no key" if equals else "has no `=`")
        complaints.add(Place("--set", order), what, "write a key, `=` and a value: `--set train.epochs=2`")
        return root
    place = Place(f"--set {one_line(key, 60)}", order)
    value = parse(text, place, None, complaints)
    if value is None:
        return root
    try:
        return grafted(root, ROOT, parts, value, ())
    except RecipeError as error:
        complaints.found.append((order, error))
        return root


def grafted(node: Node, shape: Shape | None, parts: Sequence[str], new: Node, path: tuple[str, ...]) -> Node:
    """Return the node with `new` put at the key `parts`; sections and lists on the way are made."""
    if not parts:
        return new
    head, rest = parts[0], parts[1:]
    empty = Node({}, new.place)
    if isinstance(node.value, list) or (shape and shape.item):
        items = list(node.value) if isinstance(node.value, list) else []
        index = list_index(head, len(items), new.place, ".".join(path))
        items[index:] = items[index:] or [empty]
        items[index] = grafted(items[index], shape.item if shape else None, rest, new, (*path, head))
        return replace(node, value=items)
    entries = dict(node.value) if isinstance(node.value, dict) else {}
    entries[head] = grafted(entries.get(head, empty), shape_below(shape, head), rest, new, (*path, head))
    return Node(entries, node.place if isinstance(node.value, dict) else new.place)


def shape_below(shape: Shape | None, name: str) -> Shape | None:
    """Return the shape of a key below another, whatever method it belongs to; None when there is none."""
    if shape is None:
        return None
    options = [shape.section] if shape.section else list(shape.methods.values())
    return next((keys_of(option)[name].shape for option in options if name in keys_of(option)), None)


def list_index(part: str, length: int, place: Place, name: str) -> int:
    """Return the index an override names: an item that is there, or the next one.

    Raises:
        RecipeError: It is no such number.
    """
    if part.isdecimal() and len(part) < 6 and int(part) <= length:
        return int(part)
    if part.isdecimal():
        problem, hint = f"`{name}` has {plural(length, 'item')}", f"the next one is `{name}.{length}`"
    else:
        problem, hint = f"`{name}` is a list", f"name an item by its number, e.g. `{name}.0`"
    raise RecipeError(problem, hint=hint, place=place.text)


# Nodes to recipe -------------------------------------------------------------------------------------------


def bare(node: Node) -> Any:
    """Return a node's value without places, lists as the tuples that the schema wants."""
    if isinstance(node.value, dict):
        return {name: bare(entry) for name, entry in node.value.items()}
    if isinstance(node.value, list):
        return tuple(bare(item) for item in node.value)
    return node.value


def validated(root: Node, complaints: Complaints) -> Recipe | None:
    """Return the recipe, or None and a complaint for everything the schema refuses."""
    try:
        return Recipe.model_validate(bare(root))
    except ValidationError as refusal:
        errors = refusal.errors(include_url=False)
    meant: set[tuple[str, ...]] = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            meant.add(unknown_key(walked(root, error["loc"][:-1]), str(error["loc"][-1]), complaints))
    told: set[str] = set()
    for error in errors:
        if of_another_branch(root, error["loc"]):
            continue
        if error["type"] == "missing":
            missing_key(walked(root, error["loc"][:-1]), str(error["loc"][-1]), meant, complaints)
        elif error["type"] != "extra_forbidden":
            spot = walked(root, error["loc"])
            of_an_item = error["type"] == "too_short" and any(name.startswith(f"{spot.name}.") for name in told)
            if spot.name not in told and not of_an_item:
                wrong_value(spot, error.get("ctx", {}).get("error"), complaints)
            told.add(spot.name)
    return None


def walked(root: Node, loc: Sequence[int | str]) -> Spot:
    """Return the spot pydantic's location leads to, leaving out what it says about branches of unions."""
    spot = Spot((), root, ROOT)
    for part in loc:
        shape, value = spot.shape, spot.node.value
        if shape.methods:
            if part not in shape.methods:
                break
            spot = replace(spot, shape=Shape("", section=shape.methods[str(part)]))
        elif shape.off and shape.section and part == shape.section.__name__:
            continue
        elif shape.section and isinstance(value, dict) and part in value:
            key = keys_of(shape.section).get(str(part))
            if key is None:
                break
            spot = Spot((*spot.path, str(part)), value[str(part)], key.shape)
        elif shape.item and isinstance(part, int):
            spot = Spot((*spot.path, str(part)), value[part], shape.item)
        else:
            break
    return spot


def of_another_branch(root: Node, loc: Sequence[int | str]) -> bool:
    """Say whether pydantic complains that a section which may be `false` isn't, where keys were written for it."""
    return loc[-1:] == ("literal[False]",) and isinstance(walked(root, loc).node.value, dict)


def unknown_key(spot: Spot, name: str, complaints: Complaints) -> tuple[str, ...]:
    """Complain of a key nobody knows; return the path of the key that was probably meant, if any."""
    hint, meant = where_it_belongs(spot, name)
    full = one_line(".".join((*spot.path, name)), 80)
    complaints.add(spot.node.value[name].place, f"unknown key `{full}`", hint)
    return meant


def where_it_belongs(spot: Spot, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the hint for an unknown key, and the key it points to: elsewhere, nearby, anywhere, nowhere."""
    assert spot.shape.section is not None
    here = list(keys_of(spot.shape.section))
    if name == "<<":
        return "a recipe has no merge keys: write the keys out", ()
    same = [key for key in every_key() if key.short[-1] == name and key.short != key.path[:-1] and not is_method(key)]
    if same:
        return belongs(same, spot), same[0].short
    if near := did_you_mean(name, here):
        return f"did you mean `{near}`?", (*spot.path, near)
    far = [key for key in every_key() if not is_method(key)]
    if near := did_you_mean(name, {key.short[-1] for key in far}):
        same = [key for key in far if key.short[-1] == near]
        dotted = dict.fromkeys(f"`{'.'.join(key.short)}`" for key in same)
        return f"did you mean {' or '.join(dotted)}?", same[0].short
    place = f"`{spot.name}`" if spot.path else "a recipe"
    return f"{place} takes {', '.join(here)}" if here else f"{place} takes no options", ()


def is_method(key: Key) -> bool:
    """Return whether a key stands for a method itself, which no recipe writes as a key."""
    return key.shape.section is not None and issubclass(key.shape.section, Method)


def belongs(same: Sequence[Key], spot: Spot) -> str:
    """Return the hint for a key that exists, elsewhere."""
    owners = [key for key in same if key.method and key.short[:-1] == spot.short]
    if owners:
        return f"`{same[0].short[-1]}` is an option of {' and '.join(f'`{key.method}`' for key in owners)}"
    parents = dict.fromkeys(".".join(key.short[:-1]) for key in same)
    if "" in parents:
        return "write it at the left margin, outside of any section"
    return f"write it under {' or '.join(f'`{parent}`' for parent in parents)}"


def missing_key(spot: Spot, name: str, meant: set[tuple[str, ...]], complaints: Complaints) -> None:
    """Complain of a missing key, unless an unknown one was probably meant for it: one complaint a mistake."""
    path = (*spot.short, name)
    if any(other[: len(path)] == path for other in meant):
        return
    assert spot.shape.section is not None
    key = keys_of(spot.shape.section)[name]
    write = f"{name}:" if key.shape.section else f"{name}: …"
    problem = f"`{'.'.join((*spot.path, name))}` is missing"
    complaints.add(spot.node.place, problem, f"add `{write}`: {key.help}")


def named_in(problem: str, node: Node) -> Place:
    """Return where the first key of a section stands that a complaint about the whole section names."""
    keys = node.value if isinstance(node.value, dict) else {}
    named = (keys[name].place for name in re.findall(r"`(\w+)", problem) if name in keys)
    return next(named, node.place)


def wrong_value(spot: Spot, refusal: Exception | None, complaints: Complaints) -> None:
    """Complain of a value of the wrong type or out of range, or of keys that contradict each other."""
    explain = "see `" + f"luthier explain {'.'.join(spot.short)}".rstrip() + "`"
    if refusal is not None:
        said = f"`{spot.name}`: {refusal}" if spot.name else str(refusal)
        complaints.add(named_in(said, spot.node), said, f"{explain}; `null` clears a key")
        return
    node, shape = spot.node, spot.shape
    if shape.methods and isinstance(node.value, dict):
        if shape.tag not in node.value:
            problem = f"`{spot.name}.{shape.tag}` is missing"
            complaints.add(node.place, problem, f"add `{shape.tag}`: {one_of(shape.choices)}")
            return
        node = node.value[shape.tag]
    problem = f"`{spot.name}` should be {shape.words}, got {shown(node)}"
    complaints.add(node.place, problem, repair(shape, node) or explain)


def shown(node: Node) -> str:
    """Return a value in words, short enough for a message."""
    match node.value:
        case None:
            return "nothing"
        case str():
            return f"the text '{one_line(node.value, 60)}'"
        case dict():
            return "a mapping" if node.value else "an empty mapping"
        case list():
            return f"a list of {plural(len(node.value), 'item')}"
    return one_line(node.written or str(node.value), 60)


def repair(shape: Shape, node: Node) -> str | None:
    """Return what to write instead, when that is clear from the value."""
    value = node.value
    if shape.section:
        return f"write its keys below it, indented: {', '.join(keys_of(shape.section))}"
    if value is None:
        return "write a value, or remove the line to take the default"
    if isinstance(value, str):
        return text_repair(shape, value)
    if shape.scalar is str and not shape.choices and isinstance(value, bool | int | float):
        return f'put it in quotes: "{node.written}"'
    if shape.scalar is int and isinstance(value, float) and value.is_integer():
        return f"write {value:.0f}"
    return None


def text_repair(shape: Shape, value: str) -> str | None:
    """Return what to write instead of a text."""
    if near := did_you_mean(value, shape.choices):
        return f"did you mean `{near}`?"
    if shape.scalar is bool and value.lower() in ("yes", "on", "y", "true"):
        return "write `true`"
    if shape.scalar is bool and value.lower() in ("no", "off", "n", "false"):
        return "write `false`"
    if shape.optional and value.lower() in ("none", "nil", "null", "auto"):
        return "write `null`"
    digits = re.sub(r"(?<=[0-9])[_, ](?=[0-9]{3})", "", value)
    if shape.scalar in (int, float) and NUMBER.fullmatch(digits) and math.isfinite(float(digits)):
        return f"write {one_line(digits, 40)}, without {'quotes' if digits == value else 'separators'}"
    if "a list" in shape.noun and not shape.item and re.fullmatch(r"[\w./-]+", value):
        return f"write it as a list: [{value}]"
    return None
