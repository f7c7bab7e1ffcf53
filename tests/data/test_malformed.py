"""Damaged and odd inputs: each either gives rows whose account adds up, or an error that names the place."""

# ruff: noqa: E501 - a table reads best with a case to a line

import json
import os
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from data_files import prepare_sources, read_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import zipped
from malformed_cases import CASES, CSV, FEATHER, GOOD, OTHER, PACK, PARQUET, SHEET, STREAM, Case

from luthier.core.errors import LuthierError
from luthier.core.example import Example
from luthier.core.files import sha256
from luthier.core.report import Report, Table
from luthier.data.rows import RawRow, Read, Unreadable
from luthier.recipe.methods import Rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_input_is_accounted_for_or_refused_with_its_place(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.content)
    if case.kept:
        prepared = prepare_sources(tmp_path, path, rows=case.rows)
        assert [row["reason"] for row in prepared.rows("dropped")] == [*case.dropped]
        assert len(prepared.kept()) == case.kept
        assert case.detail in told(prepared.report)
    else:
        with pytest.raises(LuthierError) as error:
            prepare_sources(tmp_path, path, rows=case.rows)
        assert error.value.exit_code == 2
        assert case.error
        assert case.error in error.value.problem
        assert error.value.hint
        assert (error.value.place or "").startswith(str(path))
        assert "\x1b" not in str(error.value)
        assert not (tmp_path / "data").exists()


def told(report: Report) -> str:
    tables = (block for section in report.sections for block in section.blocks if isinstance(block, Table))
    return "\n".join(str(cell) for table in tables for row in table.rows for cell in row)


def test_the_table_is_long_and_every_case_in_it_another() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len(CASES) + len(ODD_PATHS) >= 250


@dataclass(frozen=True)
class Odd:
    """A path that is no ordinary file, and what is said about it; `kept` where it is read after all."""

    name: str
    make: Callable[[Path, ExitStack], Path]
    error: str = ""
    kept: int = 0


def written(name: str | bytes, content: bytes = GOOD) -> Callable[[Path, ExitStack], Path]:
    def make(folder: Path, _: ExitStack) -> Path:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


def linked(name: str, target: str, content: bytes | None = None) -> Callable[[Path, ExitStack], Path]:
    def make(folder: Path, _: ExitStack) -> Path:
        if content is not None:
            (folder / target).write_bytes(content)
        (folder / name).symlink_to(target)
        return folder / name

    return make


def named(text: str) -> Callable[[Path, ExitStack], Path]:
    return lambda folder, _: folder / text


def piped(folder: Path, _: ExitStack) -> Path:
    os.mkfifo(folder / "a.jsonl")
    return folder / "a.jsonl"


def listened(folder: Path, handles: ExitStack) -> Path:
    handles.enter_context(socket.socket(socket.AF_UNIX)).bind(str(folder / "a.jsonl"))
    return folder / "a.jsonl"


def of_folder(*made: Callable[[Path, ExitStack], Path]) -> Callable[[Path, ExitStack], Path]:
    def make(folder: Path, handles: ExitStack) -> Path:
        (folder / "in").mkdir()
        for each in made:
            each(folder / "in", handles)
        return folder / "in"

    return make


def barred(folder: Path, handles: ExitStack) -> Path:
    path = written("a.jsonl")(folder, handles)
    path.chmod(0)
    handles.callback(path.chmod, stat.S_IRWXU)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    return path


ODD_PATHS = [
    Odd("a folder called like a file", of_folder(lambda folder, _: (folder / "a.jsonl").mkdir() or folder), "no data file in this folder"),
    Odd("a folder called like a file, with one", of_folder(written("a.jsonl/b.jsonl")), kept=1),
    Odd("a link to a file", linked("a.jsonl", "rows", GOOD), kept=1),
    Odd("a link to nothing", linked("a.jsonl", "gone.jsonl"), "a link to something that isn't there"),
    Odd("a link to itself", linked("a.jsonl", "a.jsonl"), "a link to something that isn't there"),
    Odd("a link to the folder it is in", of_folder(written("a.jsonl"), linked("again", ".")), kept=1),
    Odd("a link to nothing in a folder", of_folder(written("a.jsonl"), linked("b.jsonl", "gone")), kept=1),
    Odd("one file twice in a folder", of_folder(written("a.jsonl"), linked("b.jsonl", "a.jsonl")), kept=1),
    Odd("a pipe", piped, "not a regular file"),
    Odd("a pipe in a folder", of_folder(written("b.jsonl"), piped), kept=1),
    Odd("a socket", listened, "not a regular file"),
    Odd("a device that gives nothing", lambda *_: Path("/dev/null"), "not a regular file"),
    Odd("a device without end", lambda *_: Path("/dev/zero"), "not a regular file"),
    Odd("a file nobody may read", barred, "no permission to read this file"),
    Odd("a missing file", named("a.jsonl"), "no such file or folder"),
    Odd("a missing folder", named("gone/a.jsonl"), "no such file or folder"),
    Odd("a file for a folder", lambda folder, handles: written("a.jsonl")(folder, handles) / "b.jsonl", "no such file or folder"),
    Odd("a NUL in the name", named("a\0.jsonl"), "a path can't hold a NUL character"),
    Odd("a name too long", named("x" * 300 + ".jsonl"), "ame too long"),
    Odd("a pattern that nothing matches", named("*.jsonl"), "no data file matches this pattern (0 other matches)"),
    Odd("a pattern that no data matches", lambda folder, handles: written("a.png")(folder, handles).with_name("*.png"), "no data file matches this pattern (1 other matches)"),
    Odd("a pattern that is wrong", named("[.jsonl"), "no data file matches this pattern (0 other matches)"),
    Odd("an empty folder", of_folder(), "no data file in this folder"),
    Odd("a folder of pictures", of_folder(written("a.png")), "no data file in this folder"),
    Odd("a folder of texts", of_folder(written("a.txt")), "no data file in this folder, only plain text"),
    Odd("a folder of hidden files", of_folder(written(".a.jsonl"), written(".b/c.jsonl")), "no data file in this folder"),
    Odd("a folder of an archive and a table", of_folder(written("a.zip", zipped({"b.jsonl": OTHER})), written("c.CSV", CSV)), kept=2),
    Odd("a newline in the name", written("a\nb.jsonl"), kept=1),
    Odd("an escape in the name", written("\x1b[2Ja.jsonl"), kept=1),
    Odd("a bad file with an escape in its name", written("\x1b[2Ja.jsonl", b"bad"), "none of the 1 rows can be read"),
    Odd("bytes in the name that are no text", of_folder(written(b"\xff\xfe.jsonl")), kept=1),
    Odd("bytes in the name of a Parquet file that are no text", of_folder(written(b"\xff\xfe.parquet", PARQUET)), kept=2),
    Odd("bytes in the name of a workbook that are no text", of_folder(written(b"\xff.xlsx", SHEET)), kept=2),
    Odd("a Parquet file called like a pattern", written("[a]*?.parquet", PARQUET), kept=2),
    Odd("a Feather file called like an address", written("s3:/a=b/c.feather", FEATHER), kept=2),
    Odd("a name of brackets", written("{[a]}*.jsonl"), kept=1),
    Odd("a name in Chinese", written("数据.jsonl"), kept=1),
    Odd("a name with a bidi override", written("a\u202elnosj.jsonl"), kept=1),
    Odd("an upper-case extension", written("A.JSONL"), kept=1),
    Odd("a name that is only an extension", written(".jsonl"), kept=1),
    Odd("a name that ends in a dot", written("a.jsonl."), kept=1),
    Odd("a name with a blank behind it", written("a.jsonl "), kept=1),
    Odd("a copy that an editor made", written("a.jsonl~"), kept=1),
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_PATHS, ids=lambda odd: odd.name)
def test_odd_paths_are_read_or_refused_in_words_and_nothing_hangs(odd: Odd, tmp_path: Path) -> None:
    with ExitStack() as handles:
        path = odd.make(tmp_path, handles)
        if odd.kept:
            prepared = prepare_sources(tmp_path, path)
            assert len(prepared.kept()) == odd.kept
            assert "\x1b" not in told(prepared.report)
        else:
            with pytest.raises(LuthierError) as error:
                prepare_sources(tmp_path, path)
            assert odd.error in error.value.problem
            assert error.value.exit_code == 2
            assert not {"\x1b", "\0"} & {*str(error.value)}


quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
WHOLE = {
    "a.csv": CSV,
    "a.tsv": CSV.replace(b",", b"\t"),
    "a.json": b"[" + GOOD + b"," + OTHER + b"]",
    "a.jsonl": GOOD + OTHER,
    "a.html": b"<html><p>Once</p></html>",
    "a.zip": zipped({"a.jsonl": GOOD, "b.csv": CSV}),
    "a.parquet": PARQUET,
    "a.feather": FEATHER,
    "a.arrow": STREAM,
    "a.xlsx": SHEET,
    **{f"a.jsonl{name}": pack(GOOD + OTHER) for name, pack in PACK.items()},
}
pieces = st.lists(
    st.sampled_from([b'"', b",", b";", b"\n", b"\r\n", b"\t", b"\xff", b"\0", b"Q", b"prompt", b"answer", b"{", b"}", b"[", b"]", b":", GOOD, CSV]),
    max_size=40,
).map(b"".join)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a file with a part of it replaced, or only its name and any bytes."""
    name = draw(st.sampled_from([*WHOLE]))
    content = WHOLE[name]
    start = draw(st.integers(0, len(content)))
    end = draw(st.one_of(st.just(len(content)), st.integers(start, min(start + 9, len(content)))))
    changed = content[:start] + draw(st.binary(max_size=9)) + content[end:]
    return name, draw(st.one_of(st.just(changed), st.binary(max_size=200), pieces))


@settings(quiet, max_examples=250)
@given(file=damaged())
def test_any_bytes_give_rows_or_a_problem_in_words(file: tuple[str, bytes], tmp_path: Path) -> None:
    name, content = file
    path = tmp_path / name
    path.write_bytes(content)
    problem = None
    items: list[Read] = []
    try:
        items = read_files(path)
    except LuthierError as error:
        problem = error
    assert problem is None or (problem.exit_code == 2 and problem.hint)
    assert all(isinstance(item, RawRow | Unreadable) for item in items)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
columns = st.sampled_from(["prompt", "answer", "messages", "conversations", "instruction", "output", "input", "x"])
columns |= st.sampled_from(["text", "label", "kto_tag", "chosen", "rejected", "margin", "system", "history", "tools"])
roles = st.sampled_from(["user", "assistant", "system", "tool", "narrator"])
turn = st.fixed_dictionaries({"role": roles, "content": values})
rows = st.one_of(
    st.dictionaries(columns, values, max_size=4),
    st.fixed_dictionaries({"prompt": st.text(max_size=9), "answer": st.text(max_size=9)}),
    st.fixed_dictionaries({"messages": st.lists(turn, max_size=4)}),
)
endings = st.one_of(values, st.lists(turn, max_size=4), st.text(max_size=9).map("\n\nHuman: Q\n\nAssistant: {}".format))
unusual: dict[Rows, st.SearchStrategy[dict[str, object]]] = {
    "pair": st.fixed_dictionaries({"prompt": endings, "chosen": endings, "rejected": endings}),
    "judged": st.fixed_dictionaries({"prompt": endings, "answer": endings, "label": values}),
    "class": st.fixed_dictionaries({"text": values, "label": values}),
    "text": st.fixed_dictionaries({"text": values}),
}


@pytest.mark.slow
@quiet
@given(table=st.lists(rows, max_size=8))
def test_any_rows_are_kept_or_dropped_with_a_reason(table: list[dict[str, object]], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [{"prompt": "Q0", "answer": "A0"}, *table]))
    prepared = prepare_sources(tmp_path, path)
    assert prepared.data["rows"]["in"] == len(table) + 1
    assert prepared.data["files"]["train"]["sha256"] == sha256(prepared.folder / "train.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("kind", unusual)
def test_any_rows_are_kept_or_dropped_for_every_objective(kind: Rows, tmp_path: Path) -> None:
    good = {"prompt": "Q", "answer": "A", "chosen": "A", "rejected": "B", "text": "T", "label": True}
    path = tmp_path / "rows.jsonl"

    @quiet
    @given(table=st.lists(unusual[kind] | rows, max_size=8))
    def holds(table: list[dict[str, object]]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in [good, *table]))
        prepared = prepare_sources(tmp_path, path, rows=kind)
        for row in prepared.kept():
            example = Example.from_dict(row)
            assert example.as_dict() == row
            assert bool(example.rejected) == (kind == "pair")
            assert type(example.label) is {"judged": bool, "class": str}.get(kind, type(None))
            assert not example.rejected or 0 < example.shared < min(len(example.messages), len(example.rejected))

    holds()
