"""From what the user named (files, folders, globs) to the files to read, or everything wrong with it."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.core.errors import DataError, LuthierError, Problems
from luthier.core.text import did_you_mean, safe
from luthier.data.readers import DOCUMENTS, READERS
from luthier.recipe.methods import Rows

WRITTEN_BY_RUNS = ("events.jsonl", "manifest.json")

WHAT_IS_READ = "luthier reads " + ", ".join(kind for kind in READERS if kind not in DOCUMENTS)

AS_TEXT = "`--set train.objective=pretrain` learns"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read, and the name under which rows and messages speak of it."""

    path: Path
    name: str
    size: int


def find_files(
    sources: Sequence[str], shown_as: Mapping[Path, str] | None = None, *, rows: Rows = "conversation"
) -> list[SourceFile]:
    """Return the files behind `sources`, in the order named, folders and globs sorted, each file once.

    Args:
        sources: Files, folders (searched with their subfolders) and globs.
        rows: What the objective learns from. Only for plain text are text files data.
        shown_as: Other names for some paths, e.g. `bundled/tickets.csv` for a file inside the package.

    Raises:
        DataError: A source is missing, empty, of a kind that is not read, or holds no data file.
        Problems: Several of those.
    """
    names = {path.resolve(): name for path, name in (shown_as or {}).items()}
    found: dict[Path, SourceFile] = {}
    problems: list[LuthierError] = []
    for source in sources:
        try:
            for path in _expand(source, rows):
                real = path.resolve()
                name = printable(names.get(real, str(path)))
                if real not in found:
                    found[real] = SourceFile(path=path, name=name, size=_size(path, name))
        except LuthierError as problem:
            problems.append(problem)
        except (OSError, RuntimeError) as error:  # a name too long, a loop of links, a home nobody has
            told = getattr(error, "strerror", None) or str(error)
            problems.append(DataError(told, hint="check the path", place=printable(source)))
    raise_all(problems)
    return [*found.values()]


def raise_all(problems: Sequence[LuthierError]) -> None:
    """Raise nothing, the one problem, or all of them together."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)


def printable(name: str) -> str:
    """Return a file name that can be written as UTF-8 and shown: Linux allows any bytes in names."""
    return safe(name.encode("utf-8", "backslashreplace").decode())


def _expand(source: str, rows: Rows) -> list[Path]:
    if "\0" in source:
        raise DataError("a path can't hold a NUL character", hint="correct the path", place=printable(source))
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path, source, rows)
    if path.exists():
        _require_known_type(path, rows)
        return [path]
    if glob.has_magic(source):
        matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - any root
        files = [match for match in matches if match.is_file() and _is_data(match, rows)]
        if files:
            return files
        raise DataError(
            f"no data file matches this pattern ({len(matches)} other matches)",
            hint=f"correct the pattern; {WHAT_IS_READ}",
            place=printable(source),
        )
    raise _missing(path, source)


def _in_folder(folder: Path, source: str, rows: Rows) -> list[Path]:
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_data(path, rows)]
    runs = {parent for parent in {path.parent for path in inside} if _is_of_a_run(parent, below=folder)}
    files = [
        path
        for path in inside
        if path.parent not in runs and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        texts = any(path.suffix.lower() in DOCUMENTS for path in folder.rglob("*"))
        raise DataError(
            "no data file in this folder" + (", only plain text" if texts else ""),
            hint=f"{AS_TEXT} from each file" if texts else f"name another folder; {WHAT_IS_READ}",
            place=printable(source),
        )
    return files


def _is_of_a_run(folder: Path, *, below: Path) -> bool:
    """Say whether a folder belongs to a run directory: what luthier wrote is not what it learns from.

    Only run directories `below` the folder the user named count: who names one itself means it.
    """
    while folder != below:
        if (folder / "recipe.yaml").is_file() and any((folder / name).is_file() for name in WRITTEN_BY_RUNS):
            return True
        folder = folder.parent
    return False


def _is_data(path: Path, rows: Rows) -> bool:
    kind = path.suffix.lower()
    return kind in READERS and (rows == "text" or kind not in DOCUMENTS)


def _require_known_type(path: Path, rows: Rows) -> None:
    if _is_data(path, rows):
        return
    if path.suffix.lower() in DOCUMENTS:
        raise DataError(
            "this file is plain text, which the objective doesn't learn from",
            hint=f"{AS_TEXT} from it as one document",
            place=printable(str(path)),
        )
    kind = f"`{path.suffix}` files are not read" if path.suffix else "a file without an extension"
    raise DataError(
        kind,
        hint=f"convert it, or rename it if it is one of these: {WHAT_IS_READ}",
        place=printable(str(path)),
    )


def _missing(path: Path, source: str) -> DataError:
    near = did_you_mean(path.name, _names(path.parent))
    hint = f"did you mean `{printable(str(path.with_name(near)))}`?" if near else "check the path"
    if not near and not path.parent.is_dir():
        hint = f"the folder `{printable(str(path.parent))}` isn't there either; check the path"
    return DataError("no such file or folder", hint=hint, place=printable(source))


def _names(folder: Path) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _size(path: Path, name: str) -> int:
    if not path.is_file():
        raise DataError("not a regular file", hint="name a file or a folder", place=name)
    if not os.access(path, os.R_OK):
        raise DataError("no permission to read this file", hint="type `chmod +r` on it", place=name)
    size = path.stat().st_size
    if size == 0 and path.suffix.lower() not in DOCUMENTS:
        raise DataError("the file is empty", hint="remove it from `data.sources`, or name another", place=name)
    return size
