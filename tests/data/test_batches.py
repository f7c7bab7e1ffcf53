import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Write

from luthier.data.batches import Limits
from luthier.data.prepare import prepare
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

MIXED = [
    {"question": "Q1", "answer": "A"},
    {"question": "q1 ", "answer": "a"},
    {"question": "Q1", "answer": "another", "topic": "t"},
    "not json",
    '["a list"]',
    {"instruction": "do", "input": "this", "output": "done", "weight": 3},
    {"messages": [{"role": "user", "content": "mail a@b.org"}, {"role": "assistant", "content": "<p>yes</p>"}]},
    {"foreign": 1},
    {"question": "Q2", "answer": ""},
    {"question": "Q3", "answer": "half \\ud800"},
    *(
        {"question": "Tell me " + "more " * 30 + end, "answer": "This is " + "all " * 30 + end}
        for end in ("now", "then")
    ),
    {"question": "How do I write <b>bold</b> text in HTML?", "answer": "So: <b>bold</b>"},
    {"question": "<p>Who is Ada&nbsp;L.?</p>", "answer": "<p>Call 555-010-1234</p>"},
]
PAIRS = [
    {"prompt": "P1", "chosen": "good", "rejected": "bad"},
    {"prompt": "P1", "chosen": "bad", "rejected": "good", "score_chosen": 1, "score_rejected": 2},
    {"prompt": "P1", "chosen": "Good", "rejected": "bad"},
    {"prompt": "P2", "completion": "fine", "label": True},
    {"prompt": "P2", "completion": "fine", "label": False},
    {"prompt": "P3", "chosen": "same", "rejected": "same"},
]
TEXTS = [{"text": f"text {number % 7}", "label": "abc"[number % 3]} for number in range(30)]


def lines(rows: list[object]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def everything(folder: Path) -> dict[str, Any]:
    """Return what the stage wrote, but for what it took."""
    written: dict[str, Any] = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    report = json.loads((folder / "report.json").read_text())
    assert report.pop("effort")["rows_per_second"] > 0
    return {**written, "report": report}


@pytest.mark.parametrize(
    ("rows", "content"),
    [("conversation", MIXED), ("pair", PAIRS), ("judged", PAIRS), ("class", TEXTS)],
)
def test_what_comes_out_does_not_depend_on_how_rows_are_cut_into_batches_or_by_whom_they_are_refined(
    write: Write, tmp_path: Path, rows: Rows, content: list[object]
) -> None:
    sources = [
        write("a.jsonl", lines(content * 2)),
        write("b.json", json.dumps([r for r in content if r != "not json"])),
    ]

    def written(limits: Limits, processes: int = 1) -> dict[str, Any]:
        data = Data(sources=tuple(map(str, sources)), processes=processes)
        prepare(data, tmp_path / "data", rows=rows, limits=limits)
        return everything(tmp_path / "data")

    whole = written(Limits())
    for limits in (Limits(rows=1), Limits(rows=3), Limits(rows=7), Limits(size=40)):
        assert written(limits) == whole
    if rows in ("conversation", "judged"):
        assert written(Limits(rows=2), processes=2) == whole


def test_rows_that_are_nested_too_deep_to_travel_are_refined_all_the_same(write: Write, tmp_path: Path) -> None:
    deep = "[" * 900 + "]" * 900
    rows = [f'{{"question": "Q{number}", "answer": "A", "more": {deep}}}' for number in range(3)]
    path = write("rows.json", f'[{{"question": "Q", "answer": "A"}}, {",".join(rows)}]')
    report = prepare(Data(sources=(str(path),), processes=2), tmp_path / "data", limits=Limits(rows=2))
    assert report.data["rows"]["kept"] == 4
