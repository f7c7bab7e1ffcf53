"""What can be measured, by name: found in the harness's task files without importing it, which takes seconds."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from luthier.core.errors import DataError, RecipeError
from luthier.core.text import did_you_mean

NAMED = re.compile(r'^"?(?:task|group|tag)"?:[ \t]*"?([\w.:+-]+)', re.MULTILINE)
TAGGED = re.compile(r'^"?tag"?:[ \t]*\n((?:[ \t]*-[ \t]*[\w."+-]+[ \t]*\n?)+)', re.MULTILINE)

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One task: something with questions of its own."""

    name: str
    config: Config
    """What its file says, what that includes with it; Python it names is text."""

    @property
    def dataset(self) -> str:
        """Return the name of its data set on the hub."""
        return str(self.config.get("dataset_path") or self.name)

    @property
    def part(self) -> str:
        """Return which part of the data set it asks from, where there are several."""
        return str(self.config.get("dataset_name") or "")

    @property
    def asked(self) -> str:
        """Return the split whose rows are asked."""
        return str(self.config.get("test_split") or self.config.get("validation_split") or "")

    @property
    def runs_code(self) -> bool:
        """Say whether the harness would run programs that the model wrote."""
        return bool(self.config.get("unsafe_code"))

    @property
    def brings_its_own(self) -> bool:
        """Say whether the task itself names files of this machine."""
        named = (self.config.get("dataset_kwargs") or {}).get("data_files")
        return named is not None and "://" not in str(named)

    @property
    def splits(self) -> list[str]:
        """Return every split it may read, the asked one first."""
        shown = (self.config.get(f"{name}_split") for name in ("fewshot", "training", "validation", "test"))
        return [*dict.fromkeys(str(split) for split in (self.asked, *shown) if split)]


class Catalog:
    """The tasks of the installed harness, and of folders of the user's.

    Args:
        include: Folders with tasks of the user's own; where both have a name, theirs counts.

    Raises:
        DataError: One is no folder.
    """

    def __init__(self, include: Iterable[str] = ()) -> None:
        self.own = [Path(named).expanduser().resolve() for named in include]
        for folder in self.own:
            if not folder.is_dir():
                raise DataError("no such folder of tasks", hint="correct `evaluate.include`", place=str(folder))

    def folders(self, name: str) -> list[Path]:
        """Return the folders whose files define a name and all it consists of, the user's last.

        Raises:
            RecipeError: Nobody knows the name.
        """
        self._known(name)
        wanted, done = [name], set[str]()
        found: dict[Path, None] = {}
        while wanted:
            done.add(one := wanted.pop())
            for folder in _places(home()).get(one, ()):
                found.setdefault(folder)
            entry = self._index(tuple(found)).get(one)
            wanted += [part for part in _members(entry) if part not in done]
        return [*found, *self.own]

    def leaves(self, name: str) -> list[Leaf]:
        """Return the tasks that a name stands for: itself, or those of a group or a tag, each once.

        Raises:
            RecipeError: Nobody knows the name, or what it stands for runs programs that the model wrote.
        """
        index = self._index(tuple(self.folders(name)[: -len(self.own) or None]))
        found = {leaf.name: leaf for leaf in _leaves(name, index)}
        for leaf in found.values():
            if leaf.runs_code:
                raise RecipeError(
                    f"`{leaf.name}` runs programs that the model wrote, which luthier lets no task of the harness do",
                    hint="leave it out; `humaneval` and `mbpp` are asked, walled in",
                    place="evaluate.benchmarks",
                )
        return [*found.values()]

    def _known(self, name: str) -> None:
        known = {*_places(home()), *self._index(())}
        if name in known:
            return
        near = did_you_mean(name, known)
        raise RecipeError(
            f"lm-evaluation-harness knows no task, group or tag `{name}`",
            hint=f"did you mean `{near}`?" if near else "`lm-eval ls tasks` lists what there is",
            place="evaluate.benchmarks",
        )

    def _index(self, folders: tuple[Path, ...]) -> "dict[str, Config | list[str]]":
        index: dict[str, Config | list[str]] = {}
        for folder in (*folders, *self.own):
            for config in _configs(folder):
                group = config.get("group")
                name = config.get("task") if group is None else group
                if isinstance(name, str):
                    index[name] = config
                if group is None and isinstance(name, str):
                    for tag in _texts(config.get("tag")):
                        tagged = index.setdefault(tag, [])
                        if isinstance(tagged, list) and name not in tagged:
                            tagged.append(name)
        return index


@cache
def home() -> Path:
    """Return the folder of the installed harness's tasks."""
    spec = find_spec("lm_eval")
    assert spec is not None, "`needs` looked"
    assert spec.submodule_search_locations, "lm_eval is a package"
    return Path(spec.submodule_search_locations[0]) / "tasks"


@cache
def _places(root: Path) -> dict[str, tuple[Path, ...]]:
    """Return for each name the folders, directly below the root, in whose files it stands."""
    found: dict[str, dict[Path, None]] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for name in _names(folder):
            found.setdefault(name, {})[folder] = None
    return {name: tuple(folders) for name, folders in found.items()}


@cache
def _names(folder: Path) -> frozenset[str]:
    """Return the names of tasks, groups and tags that a folder's files hold."""
    names: set[str] = set()
    for path in folder.rglob("*"):
        if path.suffix in (".yaml", "") and path.is_file():  # what is only included has no ending
            text = path.read_text("utf-8", errors="replace")
            names.update(NAMED.findall(text))
            for tags in TAGGED.findall(text):
                names.update(tag.strip("- \t\"'") for tag in tags.splitlines())
    return frozenset(names)


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which Python stays the text it is."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@cache
def _configs(folder: Path) -> list[Config]:
    """Return what the files of a folder say, those that make no sense left out, as the harness does."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            found.append(_config(path, ()))
        except (OSError, ValueError, yaml.YAMLError):
            continue
    return found


@cache
def _config(path: Path, above: tuple[Path, ...]) -> Config:
    """Return what a file says, over what it includes."""
    if path in above:
        message = "it includes itself"
        raise ValueError(message)
    loader = _Loader(path.read_bytes())
    try:
        said = loader.get_single_data()
    finally:
        loader.dispose()
    if not isinstance(said, dict):
        message = "no mapping"
        raise ValueError(message)
    merged: dict[str, Any] = {}
    for other in _texts(said.pop("include", None)):
        merged.update(_config((path.parent / other).resolve(), (*above, path)))
    return {**merged, **said}


def _leaves(name: str, index: "Mapping[str, Config | list[str]]", over: Config | None = None) -> Iterator[Leaf]:
    entry = index.get(name)
    if isinstance(entry, list):
        for task in sorted(entry):
            yield from _leaves(task, index, over)
    elif entry is not None and "group" in entry:
        yield from _of_group(entry, index)
    elif entry is not None:
        yield Leaf(name, {**entry, **(over or {})})


def _of_group(group: Config, index: "Mapping[str, Config | list[str]]") -> Iterator[Leaf]:
    for item in group.get("task") or ():
        if isinstance(item, str):
            yield from _leaves(item, index)
        elif "group" in item and item["group"] not in index:
            yield from _of_group(item, index)
        elif "group" in item:
            yield from _leaves(item["group"], index)
        elif item.get("task") in index:
            yield from _leaves(item["task"], index, item)
        else:
            yield Leaf(f"{group['group']}::{item.get('task')}", item)


def _members(entry: "Config | list[str] | None") -> list[str]:
    """Return the names that something consists of."""
    if isinstance(entry, list):
        return entry
    if entry is None or "group" not in entry:
        return []
    found = []
    for item in entry.get("task") or ():
        if isinstance(item, str):
            found.append(item)
        elif "group" in item:
            found += [item["group"], *_members(item)]
        else:
            found.append(str(item.get("task")))
    return found


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [item for item in value or () if isinstance(item, str)]
