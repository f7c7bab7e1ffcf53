import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Write, prepare_sources

from luthier.data.checks import EMAIL, PHONE


@pytest.mark.parametrize("text", ["write to a.b+c@example.co.uk now", "x@y.org"])
def test_email_addresses_are_seen(text: str) -> None:
    assert EMAIL.search(text)


@pytest.mark.parametrize("text", ["@user said", "a@b", "x @ y.com", "price@5.00"])
def test_other_uses_of_the_at_sign_are_not(text: str) -> None:
    assert not EMAIL.search(text)


@pytest.mark.parametrize(
    "text",
    ["+44 20 7946 0958", "(555) 010-1234", "555-010-1234", "555.010.1234", "Tel. 0171 1234567", "call 555-0123."],
)
def test_phone_numbers_are_seen(text: str) -> None:
    assert PHONE.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "2000-1360=640",
        "<<48/2=24>>",
        "2026-11-20",
        "1,204,555",
        "12:30-14:00",
        "100 200 300",
        "1999-2004",
        "3.14159265",
    ],
)
def test_sums_dates_and_figures_are_not(text: str) -> None:
    assert not PHONE.search(text)


def row(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, **more}


def said(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


@pytest.mark.parametrize(
    ("name", "status", "rows", "told"),
    [
        ("empty_prompts", "warning", [row("", "A")], "1 row with an empty prompt"),
        ("different_answers", "warning", [row("Q", "A"), row("q", "B")], "rows.jsonl:2 and"),
        ("email_addresses", "warning", [row("Q", "me@example.com"), row("Q2", "A")], "1 row with an e-mail"),
        ("phone_numbers", "warning", [row("call 555-0123", "A")], "rows.jsonl:2"),
        ("duplicates", "warning", [row("Q", "A"), row("Q", "A")], "rows.jsonl:3 is equal to"),
        ("long_rows", "warning", [row("Q", "word " * 2000)], "1 row above 2,048 estimated tokens"),
        ("formats", "note", [said(("user", "Q"), ("assistant", "A"))], "mixed formats"),
        ("repaired_rows", "note", [said(("user", "Q"), ("assistant", "A"), ("user", "bye"))], "1 conversation went on"),
        ("unused_columns", "note", [row("Q", "A", score=3)], "`score` (1 row)"),
        ("turn_order", "warning", [said(("assistant", "hi"), ("user", "Q"), ("assistant", "A"))], "don't take turns"),
        ("turn_order", "warning", [said(("user", "Q"), ("system", "S"), ("assistant", "A"))], "don't take turns"),
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
