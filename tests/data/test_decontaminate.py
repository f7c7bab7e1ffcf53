import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Prepared, Write, prepare_sources
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.core.errors import DataError, Problems

TESTED = [
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many in all?",
    "What is the capital of France?",
    "Who?",
]


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def asked(*questions: str) -> str:
    return jsonl(*({"question": question, "answer": f"A{number}"} for number, question in enumerate(questions)))


def decontaminated(write: Write, folder: Path, *questions: str, **options: Any) -> tuple[Prepared, Path]:
    """Prepare rows with these questions against a test set of three items."""
    tests = write("gsm8k/test.jsonl", asked(*TESTED))
    rows = write("rows.jsonl", asked(*questions))
    return prepare_sources(folder, rows, decontaminate={"against": (str(tests),), **options}), tests


def test_a_leaked_row_is_dropped_with_the_item_it_holds(write: Write, tmp_path: Path) -> None:
    prepared, tests = decontaminated(write, tmp_path, "Who?", f"Solve: {TESTED[0].upper()}", "Something else")
    [dropped] = prepared.rows("dropped")
    assert dropped["reason"] == "leaked"
    assert dropped["line"] == 2
    assert dropped["matched"] == {"source": str(tests), "line": 1}
    assert dropped["detail"].startswith(f"holds 24 of 24 words of the question at {tests}:1: natalia sold clips")
    assert prepared.data["rows"]["by_reason"] == {"leaked": 1}


def test_the_report_says_of_each_test_set_what_was_looked_for_and_what_was_found(write: Write, tmp_path: Path) -> None:
    prepared, tests = decontaminated(write, tmp_path, "Else", *TESTED, "And what is the capital of France, please?")
    assert prepared.data["leaks"] == [
        {
            "against": str(tests),
            "items": 3,
            "checked": 2,
            "not_understood": 0,
            "rows": 3,
            "items_found": 2,
            "rows_partly": 0,
            "often": [],
            "samples": [
                {
                    "row": f"{tmp_path / 'rows.jsonl'}:{line}",
                    "item": f"{tests}:{item}",
                    "part": "question",
                    "coverage": 1.0,
                    "span": span,
                }
                for line, item, span in (
                    (2, 1, TESTED[0].lower().replace(",", "").replace(".", "").replace("?", "")),
                    (3, 2, "what is the capital of france"),
                    (5, 2, "what is the capital of france"),
                )
            ],
        }
    ]
    check = prepared.check("leaked_test_items")
    assert check["status"] == "note"
    assert check["details"].startswith("2 of 3 test items looked for, 2 found in 3 rows")
    page = (prepared.folder / "report.md").read_text(encoding="utf-8").splitlines()
    assert ["3", "2", "3", "2", "0"] in [[cell.strip() for cell in line.split("|")[2:-1]] for line in page]


def test_nothing_found_differs_from_nothing_looked_for(write: Write, tmp_path: Path) -> None:
    prepared, _ = decontaminated(write, tmp_path, "Why is the sky blue?", "Else")
    assert prepared.data["leaks"][0]["checked"] == 2
    assert prepared.check("leaked_test_items")["details"].startswith("2 of 3 test items looked for, none found")

    short = write("short.jsonl", asked("Who?", "Why?"))
    prepared = prepare_sources(tmp_path, tmp_path / "rows.jsonl", decontaminate={"against": (str(short),)})
    check = prepared.check("leaked_test_items")
    assert (check["status"], check["details"]) == (
        "warning",
        "none of the 2 test items has words enough to be looked for",
    )

    prepared = prepare_sources(tmp_path, tmp_path / "rows.jsonl")
    assert prepared.data["leaks"] == []
    assert prepared.check("leaked_test_items")["details"].startswith("not looked for")


def test_leaks_can_be_told_instead_of_dropped(write: Write, tmp_path: Path) -> None:
    prepared, _ = decontaminated(write, tmp_path, *TESTED, action="tell")
    assert len(prepared.kept()) == 3
    assert prepared.data["leaks"][0]["rows"] == 2
    assert prepared.check("leaked_test_items")["status"] == "warning"


def test_an_item_that_very_many_rows_hold_is_told_as_perhaps_a_phrase(write: Write, tmp_path: Path) -> None:
    prepared, tests = decontaminated(write, tmp_path, "Else", *(f"{TESTED[1]} {number}" for number in range(30)))
    assert prepared.data["leaks"][0]["often"] == [{"item": f"{tests}:2", "rows": 30}]
    assert prepared.check("leaked_test_items")["status"] == "warning"


def test_a_row_is_dropped_whatever_the_cleaning_of_it_removes(write: Write, tmp_path: Path) -> None:
    hidden = TESTED[0].replace("friends", "fri\u200bends").replace(" half", " <b>half</b>")
    prepared, _ = decontaminated(write, tmp_path, hidden, "Else")
    assert prepared.data["rows"]["by_reason"] == {"leaked": 1}


@pytest.mark.parametrize("rows", ["pair", "judged", "text", "class"])
def test_rows_of_every_kind_are_looked_at(rows: Any, write: Write, tmp_path: Path) -> None:
    of_kind = {
        "pair": {"prompt": "Ask", "chosen": "No", "rejected": TESTED[0]},
        "judged": {"prompt": "Ask", "chosen": "No", "rejected": TESTED[0]},
        "text": {"text": TESTED[0]},
        "class": {"text": TESTED[0], "label": "x"},
    }
    other = {key: value.replace(TESTED[0], "Yes") for key, value in of_kind[rows].items()}
    tests = write("test.jsonl", asked(*TESTED))
    source = write("rows.jsonl", jsonl(of_kind[rows], other))
    prepared = prepare_sources(tmp_path, source, rows=rows, decontaminate={"against": (str(tests),)})
    assert prepared.data["rows"]["by_reason"] == {"leaked": 1}


@given(st.lists(st.sampled_from([*TESTED, "x", "y", f"z {TESTED[1]}"]), min_size=1, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_rows_in_are_rows_kept_and_dropped(tmp_path: Path, write: Write, questions: list[str]) -> None:
    prepared, _ = decontaminated(write, tmp_path, "one that stays", *questions)
    clean = [question for question in questions if not any(tested in question for tested in TESTED[:2])]
    assert prepared.data["rows"]["by_reason"].get("leaked", 0) == len(questions) - len(clean)


def test_a_test_set_that_is_not_there_is_told_before_a_row_is_read(write: Write, tmp_path: Path) -> None:
    rows = write("rows.jsonl", asked("Q"))
    with pytest.raises(Problems) as error:
        prepare_sources(tmp_path, rows, decontaminate={"against": ("gsm8k", str(tmp_path / "no.jsonl"))})
    assert [problem.place for problem in error.value.problems] == ["gsm8k", str(tmp_path / "no.jsonl")]
    assert not (tmp_path / "data").exists()


def test_questions_in_columns_nobody_knows_can_be_named(write: Write, tmp_path: Path) -> None:
    rows = write("rows.jsonl", asked(TESTED[0], "Else"))
    tests = write("test.jsonl", jsonl({"frage": TESTED[0], "nummer": 1}))
    with pytest.raises(DataError, match="no question found"):
        prepare_sources(tmp_path, rows, decontaminate={"against": (str(tests),)})
    options = {"against": (str(tests),), "fields": ("frage",)}
    assert prepare_sources(tmp_path, rows, decontaminate=options).data["rows"]["by_reason"] == {"leaked": 1}
