import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Write, prepare_sources


def row(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, **more}


def said(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


@pytest.mark.parametrize(
    ("name", "status", "rows", "told"),
    [
        ("empty_prompts", "warning", [row("", "A")], "1 row with an empty prompt"),
        ("different_answers", "warning", [row("Q", "A"), row("q", "B")], "rows.jsonl:2 and"),
        ("personal_data", "warning", [row("Q", "me@example.com"), row("Q2", "A")], "1 row with an e-mail"),
        ("personal_data", "warning", [row("call 555-0123", "A")], "a phone number, first"),
        ("secrets", "warning", [row("login", "password: 'Tr0ub4dor&3'")], "1 row with a secret, first"),
        ("profanity", "note", [row("well", "oh shit")], "profanity is not toxicity"),
        ("duplicates", "warning", [row("Q", "A"), row("Q", "A")], "rows.jsonl:3 is equal to"),
        ("long_rows", "warning", [row("Q", "word " * 2000)], "1 row above 2,048 estimated tokens"),
        ("formats", "note", [said(("user", "Q"), ("assistant", "A"))], "mixed formats"),
        ("repaired_rows", "note", [said(("user", "Q"), ("assistant", "A"), ("user", "bye"))], "1 conversation went on"),
        ("unused_columns", "note", [row("Q", "A", score=3)], "`score` (1 row)"),
        ("turn_order", "warning", [said(("system", "S"), ("assistant", "A"))], "don't take turns"),
        ("turn_order", "ok", [said(("system", "S"), ("user", "Q"), ("assistant", "A"))], "take turns"),
        ("unreadable_rows", "warning", ["broken"], "rows.jsonl:2: a JSON text"),
    ],
)
def test_a_check_tells_what_it_saw_and_where(
    write: Write, tmp_path: Path, name: str, status: str, rows: list[Any], told: str
) -> None:
    text = "".join(json.dumps(item) + "\n" for item in [row("first", "one"), *rows])
    check = prepare_sources(tmp_path, write("rows.jsonl", text)).check(name)
    assert check["status"] == status
    assert told in check["details"]


def test_good_rows_raise_no_warning(write: Write, tmp_path: Path) -> None:
    rows = [row(f"Question {number}?", f"Answer {number}.", topic="x") for number in range(30)]
    prepared = prepare_sources(tmp_path, write("rows.jsonl", "".join(json.dumps(item) + "\n" for item in rows)))
    assert {check["status"] for check in prepared.data["checks"]} == {"ok"}
    assert prepared.data["warnings"] == []
    assert prepared.report.findings == ()
