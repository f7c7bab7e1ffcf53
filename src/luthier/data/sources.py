"""From what the user named (files, folders, globs) to the files to read, or everything wrong with it."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from luthier.core.errors import DataError, LuthierError, Problems
from luthier.core.text import did_you_mean, printable
from luthier.data.readers import DOCUMENTS, READERS, TABLES, WORKBOOKS
from luthier.data.readers.packed import UNPACKERS, DamagedError, entries
from luthier.data.readers.packed import SourceFile as SourceFile
from luthier.data.readers.sniff import ALIKE, ARCHIVE, look
from luthier.recipe.data import Data, Part
from luthier.recipe.methods import Rows

WRITTEN_BY_RUNS = ("events.jsonl", "manifest.json")

WHAT_IS_READ = (
    f"luthier reads {', '.join(kind for kind in READERS if kind not in DOCUMENTS)}, "
    f"each also packed as {', '.join(UNPACKERS)} or in a {ARCHIVE}"
)

AS_TEXT = "`--set train.objective=pretrain` learns"

NOT_MEANT = ("__MACOSX",)
"""Folders in archives that no person put there."""


def find_files(
    sources: Sequence[str], shown_as: Mapping[Path, str] | None = None, *, rows: Rows = "conversation"
) -> list[SourceFile]:
    """Return the files behind `sources`, in the order named, folders and globs sorted, each file once.

    Args:
        sources: Files, folders (searched with their subfolders), globs. A zip stands for the data files in it.
        rows: What the objective learns from. Only for plain text are text files data.
        shown_as: Other names for some paths, e.g. `bundled/tickets.csv` for a file inside the package.

    Raises:
        DataError: A source is missing, empty, of a kind that is not read, or holds no data file.
        Problems: Several of those.
    """
    names = {path.resolve(): name for path, name in (shown_as or {}).items()}
    found: dict[Path, list[SourceFile]] = {}
    problems: list[LuthierError] = []
    for source in sources:
        try:
            for path, named in _expand(source, rows):
                real = path.resolve()
                if real not in found:
                    name = printable(names.get(real, str(path)))
                    file = SourceFile(path=path, name=name, size=_size(path, name), kind="")
                    found[real] = _inside(file, rows, named=named)
        except LuthierError as problem:
            problems.append(problem)
        except (OSError, RuntimeError) as error:  # a name too long, a loop of links, a home nobody has
            told = getattr(error, "strerror", None) or str(error)
            problems.append(DataError(told, hint="check the path", place=printable(source)))
    raise_all(problems)
    return [file for files in found.values() for file in files]


def files_of(
    data: Data, shown_as: Mapping[Path, str] | None = None, *, rows: Rows = "conversation"
) -> list[tuple[Part, SourceFile]]:
    """Return the files of all sources, each once, with the part of its rows: first those for tests, then validation.

    So of rows that are equal, one that is held out is the first. Rows of `train` are still to be split.

    Raises:
        DataError: As `find_files`, or no file is left to train on, or an option is about files of which there is none.
        Problems: Several of those.
    """
    found: dict[tuple[Path, int | None], tuple[Part, SourceFile]] = {}
    problems: list[LuthierError] = []
    named: tuple[tuple[Part, tuple[str, ...]], ...]
    named = (("test", data.test_sources), ("valid", data.valid_sources), ("train", data.sources))
    for part, sources in named:
        try:
            for file in find_files(sources, shown_as, rows=rows):
                found.setdefault((file.path.resolve(), file.member), (part, file))
        except LuthierError as problem:
            problems.append(problem)
    problems += _ignored(data, [file for _, file in found.values()]) if not problems else []
    raise_all(problems)
    if all(part != "train" for part, _ in found.values()):
        raise DataError(
            "all files of `data.sources` are held out, so none is left to train on",
            hint="name others, or take some out of `data.valid_sources` and `data.test_sources`",
            place="data.sources",
        )
    return [*found.values()]


def _ignored(data: Data, files: Sequence[SourceFile]) -> list[LuthierError]:
    """Return what options ask of files of which there are none."""
    kinds = {file.kind for file in files}
    asked = (
        ("header", data.header != "auto" and kinds.isdisjoint(TABLES), "a table (CSV, TSV, a sheet)"),
        ("sheets", data.sheets != "all" and kinds.isdisjoint(WORKBOOKS), "a workbook"),
    )
    return [
        DataError(
            f"no source is {what}, so there is nothing to do with it", hint="leave it out", place=f"data.{option}"
        )
        for option, ignored, what in asked
        if ignored
    ]


def raise_all(problems: Sequence[LuthierError]) -> None:
    """Raise nothing, the one problem, or all of them together."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)


def _expand(source: str, rows: Rows) -> list[tuple[Path, bool]]:
    """Return the paths behind a source, each with whether it was named itself."""
    if "\0" in source:
        raise DataError("a path can't hold a NUL character", hint="correct the path", place=printable(source))
    path = Path(source).expanduser()
    if path.is_dir():
        return [(inside, False) for inside in _in_folder(path, source, rows)]
    if path.exists():
        return [(path, True)]
    if glob.has_magic(source):
        matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - any root
        files = [match for match in matches if match.is_file() and is_data(match.name, rows)]
        if files:
            return [(file, False) for file in files]
        raise DataError(
            f"no data file matches this pattern ({len(matches)} other matches)",
            hint=f"correct the pattern; {WHAT_IS_READ}",
            place=printable(source),
        )
    raise _missing(path, source)


def _in_folder(folder: Path, source: str, rows: Rows) -> list[Path]:
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file() and is_data(path.name, rows)]
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


def is_data(name: str, rows: Rows) -> bool:
    """Say by its name whether a file that nobody named itself is data."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    while suffixes and suffixes[-1] in UNPACKERS:
        suffixes.pop()
    kind = ALIKE.get(suffixes[-1], suffixes[-1]) if suffixes else ""
    return kind == ARCHIVE or (kind in READERS and _is_learned(kind, rows))


def _is_learned(kind: str, rows: Rows) -> bool:
    return rows == "text" or kind not in DOCUMENTS


def _inside(file: SourceFile, rows: Rows, *, named: bool) -> list[SourceFile]:
    """Return the file with its kind found, or the data files in a zip."""
    file = look(file, READERS)
    if file.kind == ARCHIVE:
        return _in_archive(file, rows)
    if _is_learned(file.kind, rows):
        return [file]
    if not named:
        return []
    raise DataError(
        "this file is plain text, which the objective doesn't learn from",
        hint=f"{AS_TEXT} from it as one document",
        place=file.name,
    )


def _in_archive(file: SourceFile, rows: Rows) -> list[SourceFile]:
    if not file.plain:
        raise DataError("a zip inside another file", hint="unpack the outer one", place=file.name)
    try:
        inside = [(number, entry) for number, entry in enumerate(entries(file.path)) if not entry.is_dir()]
    except DamagedError as error:
        raise DataError(f"a damaged zip: {error}", hint="get the file again", place=file.name) from error
    meant = [(n, e) for n, e in inside if not any(p.startswith((".", *NOT_MEANT)) for p in _parts(e.filename))]
    data = [(n, e) for n, e in meant if is_data(e.filename, rows)] or meant[: len(meant) == 1]
    found: list[SourceFile] = []
    for number, entry in data:
        name = f"{file.name}/{printable(entry.filename)}"
        if entry.flag_bits & 1:
            raise DataError("encrypted, which luthier can't read", hint="unpack it with its password", place=name)
        if not entry.file_size and not _parts(entry.filename)[-1].lower().endswith(DOCUMENTS):
            raise _empty(name)
        member = SourceFile(path=file.path, name=name, size=entry.compress_size, kind="", member=number)
        found += _inside(member, rows, named=len(data) == 1)
    if not found:
        raise DataError("no data file in this zip", hint=f"name another; {WHAT_IS_READ}", place=file.name)
    return found


def _parts(name: str) -> list[str]:
    """Return the steps of a path in an archive; `..` leads nowhere, as nothing is written."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")] or [""]


def _missing(path: Path, source: str) -> DataError:
    if path.is_symlink():
        return DataError("a link to something that isn't there", hint="correct the link", place=printable(source))
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
        raise DataError("not a regular file", hint="name a file or a folder; `-` reads what is piped in", place=name)
    if not os.access(path, os.R_OK):
        raise DataError("no permission to read this file", hint="type `chmod +r` on it", place=name)
    size = path.stat().st_size
    if size == 0 and path.suffix.lower() not in DOCUMENTS:
        raise _empty(name)
    return size


def _empty(name: str) -> DataError:
    return DataError("the file is empty", hint="remove it, or name another", place=name)
