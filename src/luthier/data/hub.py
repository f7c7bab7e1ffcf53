"""Data sets on the hub: which of their files hold the rows, and fetching these. No code of theirs is run."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from luthier.core.errors import DataError, MissingExtra
from luthier.core.text import did_you_mean, printable
from luthier.data.readers import READERS

PREFIX = "hub:"

NAME = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})(?:@([^:\s]{1,200}))?(?::([^/\s]{0,200})(?:/(\S{1,200}))?)?")
"""`owner/name@revision:config/split`, of which the last three may be missing."""

SPLITS = {"train": "train", "training": "train", "test": "test", "validation": "validation", "valid": "validation"}
SPLITS |= {"val": "validation", "dev": "validation"}
"""Words in the names of files that say which split they hold, and the split."""

ABOUT = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "config.json")
"""Files that say something about a data set and hold no rows."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as the user named it."""

    source: str
    repository: str
    revision: str | None
    config: str | None
    split: str | None


def named(source: str) -> DataSet | None:
    """Return the data set a source names: with the prefix, or a bare `owner/name` where nothing of that name is.

    Raises:
        DataError: It has the prefix and names none.
    """
    found = NAME.fullmatch(source.removeprefix(PREFIX))
    if source.startswith(PREFIX):
        if found is None:
            raise DataError(
                "this names no data set on the hub",
                hint="write `hub:owner/name`, or `hub:owner/name@revision:config/split`",
                place=printable(source),
            )
    elif found is None or source[0] in ".~" or Path(source).exists() or Path(source).parent.is_dir():
        return None
    elif PurePosixPath(found[1]).suffix.lower() in READERS:
        return None  # a file that isn't there
    return DataSet(source, found[1], found[2], found[3] or None, found[4])


def listed(wanted: DataSet) -> dict[str, Any]:
    """Return `commit` and `files` of a data set as it is now on the hub.

    Raises:
        DataError: The hub can't be reached, or has no such data set, config or split.
        MissingExtra: huggingface_hub is not installed.
    """
    with _reached(wanted):
        about = _hub().dataset_info(wanted.repository, revision=wanted.revision)
    card = about.card_data.to_dict() if about.card_data else {}
    files = [file.rfilename for file in about.siblings or []]
    data = [name for name in files if _is_data(name)]
    if not data:
        raise DataError("no data file in this data set", hint="name another", place=wanted.source)
    return {"commit": about.sha, "files": chosen(wanted, data, card.get("configs") or [])}


def fetched(wanted: DataSet, commit: str, files: Sequence[str]) -> dict[Path, str]:
    """Return where the files of a data set are, downloaded where they weren't, with the names they are shown under.

    Raises:
        DataError: The hub can't be reached.
        MissingExtra: huggingface_hub is not installed.
    """
    with _reached(wanted):
        return {
            Path(
                _hub().hf_hub_download(wanted.repository, name, repo_type="dataset", revision=commit)
            ): f"{PREFIX}{wanted.repository}/{printable(name)}"
            for name in files
        }


def chosen(wanted: DataSet, files: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the files of the config and split asked for: by what the data set says of itself, else by their names.

    Without a split, it is the one to train on where the data set tells its splits apart.

    Raises:
        DataError: There is no such config or split, or one of several configs must be named.
    """
    if configs:
        splits = _splits_of(_config(wanted, configs), files)
    else:
        inside = [name for name in files if wanted.config is None or wanted.config in PurePosixPath(name).parts]
        if not inside:
            raise _no_such(wanted, "config", wanted.config, [PurePosixPath(name).parts[0] for name in files])
        splits = {}
        for name in inside:
            splits.setdefault(_split_of(name), []).append(name)
    split = wanted.split or ("train" if "train" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if split is None:
        return sorted(name for names in splits.values() for name in names)
    if split not in splits:
        raise _no_such(wanted, "split", split, splits)
    return splits[split]


def _config(wanted: DataSet, configs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    known = {str(config.get("config_name")): config for config in configs}
    name = wanted.config or ("default" if "default" in known else next(iter(known)) if len(known) == 1 else None)
    if name is None:
        names = ", ".join(f"`{name}`" for name in [*known][:12])
        raise DataError(
            f"this data set has {len(known)} configs: {names}",
            hint=f"name one: `{PREFIX}{wanted.repository}:{next(iter(known))}`",
            place=wanted.source,
        )
    if name not in known:
        raise _no_such(wanted, "config", name, known)
    return known[name]


def _splits_of(config: Mapping[str, Any], files: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each split of a config, whose card gives patterns for all or for each."""
    given = config.get("data_files", [])
    given = [given] if isinstance(given, str | Mapping) else given
    splits: dict[str, list[str]] = {}
    for entry in given:
        split, patterns = ("train", entry) if isinstance(entry, str) else (str(entry.get("split")), entry.get("path"))
        patterns = [patterns] if isinstance(patterns, str) else patterns or []
        splits.setdefault(split, []).extend(
            name for name in files if any(fnmatchcase(name, pattern.replace("**", "*")) for pattern in patterns)
        )
    return {split: names for split, names in splits.items() if names}


def _split_of(name: str) -> str:
    words = re.split(r"[/._-]", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def _is_data(name: str) -> bool:
    from luthier.data.sources import is_data

    return PurePosixPath(name).name not in ABOUT and is_data(name, "conversation")


def _no_such(wanted: DataSet, what: str, name: str | None, known: Sequence[str] | Mapping[str, Any]) -> DataError:
    near = did_you_mean(str(name), known)
    there = ", ".join(f"`{each}`" for each in [*dict.fromkeys(known)][:12] if each) or "none that is named"
    hint = f"did you mean `{near}`?" if near else f"there is {there}"
    return DataError(f"this data set has no {what} `{name}`", hint=hint, place=wanted.source)


def _hub() -> Any:
    if find_spec("huggingface_hub") is None:
        raise MissingExtra("huggingface_hub", extra="data")
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


@contextmanager
def _reached(wanted: DataSet) -> Iterator[None]:
    """Turn what the hub, or the lack of it, says into an error in words."""
    if find_spec("huggingface_hub") is None:
        raise MissingExtra("huggingface_hub", extra="data")
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        what = "revision of this data set" if isinstance(error, errors.RevisionNotFoundError) else "such data set"
        raise DataError(
            f"the hub has no {what}, or shows it to some people only",
            hint="check the name; for what is not public, log in with `hf auth login`",
            place=wanted.source,
        ) from error
    except (errors.HTTPError, errors.HFValidationError, OSError) as error:  # type: ignore[attr-defined]  # httpx's
        raise DataError(
            "no such file or folder, and the hub can't be asked for a data set of this name",
            hint="check the path; or, if it is a data set, the network (and `HF_HUB_OFFLINE`)",
            place=wanted.source,
        ) from error
