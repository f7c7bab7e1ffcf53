"""Rows about pictures and sounds are refused: what is said of them can't be learned from the text alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Write, prepare_sources

from luthier.core.example import Example, Source
from luthier.data.convert import Converter
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.data import Data


def converted(row: dict[str, Any]) -> Example | Refusal:
    return Converter(Data(sources=("x",))).convert(RawRow(row, Source("x", 1)))


PICTURE = {"type": "image_url", "image_url": {"url": "https://x.invalid/cat.png"}}


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Q"}, PICTURE]},
                {"role": "assistant", "content": "A"},
            ]
        },
        {
            "messages": [{"role": "user", "content": "<image>Q"}, {"role": "assistant", "content": "A"}],
            "images": ["cat.png"],
        },
        {
            "conversations": [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "A"}],
            "image": "cat.png",
        },
        {"question": "Q", "answer": "A", "image": {"bytes": "…", "path": None}},
        {"question": "Q", "answer": "A", "Audio": [{"array": [0.0], "sampling_rate": 8000}]},
    ],
)
def test_a_row_about_a_picture_is_refused_by_name(row: dict[str, Any]) -> None:
    refusal = converted(row)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not_text"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q", "answer": "A", "image": "cat.png"},
        {"question": "Q", "answer": "A", "images": []},
        {"question": "What does <image> mean in LLaVA?", "answer": "A"},
        {"question": "Q", "answer": "A", "video": None},
    ],
)
def test_a_row_that_speaks_of_no_picture_is_learned(row: dict[str, Any]) -> None:
    assert isinstance(converted(row), Example)


def test_such_rows_are_counted_and_told(write: Write, tmp_path: Path) -> None:
    rows = [{"question": f"Q{n}", "answer": "A", "image": {"bytes": "x"} if n < 3 else None} for n in range(30)]
    prepared = prepare_sources(tmp_path, write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert prepared.data["rows"]["by_reason"] == {"not_text": 3}
    assert prepared.check("media")["status"] == "warning"
    assert "3 rows" in prepared.check("media")["details"]
