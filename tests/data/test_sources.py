from pathlib import Path

import pytest
from data_files import Write

from luthier.core.errors import DataError, Problems
from luthier.data.sources import find_files


def test_a_missing_file_names_the_nearest_one(write: Write, tmp_path: Path) -> None:
    write("tickets.csv", "a,b\n1,2\n")
    with pytest.raises(DataError) as error:
        find_files([str(tmp_path / "tikets.csv")])
    assert error.value.place == str(tmp_path / "tikets.csv")
    assert error.value.hint == f"did you mean `{tmp_path / 'tickets.csv'}`?"


def test_every_bad_source_is_told_at_once(write: Write, tmp_path: Path) -> None:
    write("empty.csv", "")
    write("notes.pdf", "x")
    (tmp_path / "folder").mkdir()
    sources = [str(tmp_path / name) for name in ("gone.csv", "empty.csv", "notes.pdf", "folder", "*.tsv")]
    with pytest.raises(Problems) as error:
        find_files(sources)
    assert [problem.place for problem in error.value.problems] == sources
    assert error.value.exit_code == 2


def test_an_unknown_kind_of_file_is_told_what_it_is(write: Write) -> None:
    with pytest.raises(DataError, match="this is a PDF, which is not read"):
        find_files([str(write("rows.csv", b"%PDF-1.7 "))])
    with pytest.raises(DataError, match="this is no text and no kind of file that is read"):
        find_files([str(write("rows.dat", bytes(range(256))))])


def test_a_folder_without_data_lists_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.csv, \.tsv, \.tab, \.jsonl, .*\.parquet"):
        find_files([str(tmp_path)])


def test_a_folder_of_texts_is_told_the_objective_that_learns_from_them(write: Write, tmp_path: Path) -> None:
    write("chapter.txt", "Once upon a time")
    with pytest.raises(DataError, match="only plain text") as error:
        find_files([str(tmp_path)])
    assert "--set train.objective=pretrain" in error.value.hint


def test_folders_and_globs_give_each_data_file_once_in_order(write: Write, tmp_path: Path) -> None:
    for name in ("b.jsonl", "sub/a.CSV", "notes.txt", ".hidden/c.csv", ".d.csv"):
        write(name, "x")
    found = find_files([str(tmp_path), str(tmp_path / "*.jsonl"), str(tmp_path / "**" / "*.CSV")])
    assert [file.path for file in found] == [tmp_path / "b.jsonl", tmp_path / "sub" / "a.CSV"]


def test_a_file_with_brackets_in_its_name_is_a_file_not_a_pattern(write: Write) -> None:
    path = write("rows[1].csv", "a")
    assert [file.path for file in find_files([str(path)])] == [path]


def test_a_file_goes_by_the_name_it_is_shown_as(write: Write) -> None:
    path = write("tickets.csv", "a")
    [file] = find_files([str(path)], {path: "bundled/tickets.csv"})
    assert file.name == "bundled/tickets.csv"


def test_a_path_that_can_not_exist_is_told_without_traceback() -> None:
    with pytest.raises(DataError):
        find_files(["a\0b.csv"])


@pytest.mark.parametrize("name", ["x" * 5000 + ".csv", "~nobody-of-this-name/rows.csv"])
def test_a_path_the_system_refuses_is_told_without_traceback(name: str) -> None:
    with pytest.raises(DataError) as error:
        find_files([name])
    assert error.value.place == name


def test_what_a_run_left_is_not_read_as_data(write: Write, tmp_path: Path) -> None:
    rows = write("rows.jsonl", "x")
    for name in ("recipe.yaml", "events.jsonl", "data/train.jsonl", "checkpoints/step-1/state.json"):
        write(f"runs/first/{name}", "x")
    assert [file.path for file in find_files([str(tmp_path)])] == [rows]
