import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.data.fetched import fetch


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_what_is_piped_in_is_kept_for_when_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"first")
    resolved, names = fetch(["-", "other.csv"], tmp_path)
    assert resolved == [str(tmp_path / "stdin"), "other.csv"]
    assert names == {tmp_path / "stdin": "stdin"}
    assert fetch(["-"], tmp_path) == ([str(tmp_path / "stdin")], names)  # read to its end by now
    assert (tmp_path / "stdin").read_bytes() == b"first"
    pipe(monkeypatch, b"second")
    fetch(["-"], tmp_path)
    assert (tmp_path / "stdin").read_bytes() == b"second"


def test_nothing_piped_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    with pytest.raises(DataError, match="nothing is piped in"):
        fetch(["-"], tmp_path)
    assert not [*tmp_path.iterdir()]


def test_rows_are_prepared_from_a_pipe_and_the_run_goes_on_without_it(tmp_path: Path) -> None:
    rows = "prompt,answer\n" + "".join(f"Q{number},A{number}\n" for number in range(20))
    asked = ["prepare", "--data", "-", "--model", "bundled", "--out", str(tmp_path / "run"), "--json"]
    first, again = (
        subprocess.run(
            [sys.executable, "-m", "luthier", *asked], input=piped, capture_output=True, text=True, check=True
        )
        for piped in (rows, "")
    )
    prepared = json.loads(first.stdout)
    assert prepared["rows"]["kept"] == 20
    assert prepared["told"] == {"stdin": ["no extension: read as `.csv` by its content"]}
    assert (tmp_path / "run" / "stdin").read_text() == rows
    assert json.loads(again.stdout)["rows"] == prepared["rows"]


def test_what_was_prepared_before_is_shown_as_it_was(tmp_path: Path) -> None:
    rows = '{"question": "Q", "answer": "A"}\n' * 3
    path = tmp_path / "rows.jsonl"
    path.write_text(rows)
    command = [sys.executable, "-m", "luthier", "prepare", "--data", str(path), "--out", str(tmp_path / "run"), "-q"]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    titles = ("What was dropped, and why", "Token statistics", "Output files")
    assert all(title in first and first.partition(title)[2] == again.partition(title)[2] for title in titles)
    assert "nothing was done again" in again


def luthier(run: Path, piped: str, *asked: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "luthier", "prepare", "--data", "-", "--out", str(run), "--json", *asked]
    return subprocess.run(command, input=piped, capture_output=True, text=True, check=False)


def test_private_pieces_that_had_to_go_are_nowhere_in_the_run(tmp_path: Path) -> None:
    rows = "prompt,answer\n" + "".join(f"Q{number},write to jane{number}@mail.org\n" for number in range(20))
    mask = ("--set", "data.clean.privacy.action=mask")
    first, again, piped_again = (luthier(tmp_path, piped, *mask) for piped in (rows, "", rows))
    assert json.loads(first.stdout)["rows"]["kept"] == 20
    assert "is removed from the run" in first.stdout
    assert json.loads(again.stdout)["rows"] == json.loads(piped_again.stdout)["rows"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"@mail.org" in path.read_bytes()]
    other = luthier(tmp_path, "", *mask, "--set", "data.split.valid=0.2")
    assert (other.returncode, "pipe it in again" in other.stderr) == (2, True)


def test_plain_text_that_is_piped_in_is_learned_as_such(tmp_path: Path) -> None:
    prepared = luthier(tmp_path, "Once upon a time there was a luthier.\n\nShe made violins.\n" * 500)
    assert json.loads(prepared.stdout)["learned_from"] == "text"
    assert "pretrain" in prepared.stderr
