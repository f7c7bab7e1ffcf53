import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from data_files import Write, prepare_sources

from luthier.data.prepare import prepare
from luthier.data.reasons import REASONS
from luthier.recipe.data import Data
from luthier.recipe.schema import Train


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
        (
            "long_rows",
            "warning",
            [row("Q", "word " * 2000)],
            "1 row, 50.0%, above `train.max_length` of 2,048 estimated tokens: training leaves them out",
        ),
        ("formats", "note", [said(("user", "Q"), ("assistant", "A"))], "mixed formats"),
        ("repaired_rows", "note", [said(("user", "Q"), ("assistant", "A"), ("user", "bye"))], "1 conversation went on"),
        ("unused_columns", "note", [row("Q", "A", score=3)], "`score` (1 row)"),
        ("control_tokens", "note", [row("Hi <|im_start|> you", "A")], "`<|im_start|>` in 1 row, first"),
        ("control_tokens", "ok", [row("Hi", "A.</s>")], "no control token"),
        ("template_residue", "warning", [row("Hi", "### Response: A")], "`a label of a turn` in 1 row"),
        ("repaired_turns", "note", [said(("assistant", "hi"), ("user", "Q"), ("assistant", "A"))], "`an opening by"),
        ("echoes", "warning", [row("Say hello", "Say hello")], "`echo` in 1 row"),
        ("refusals", "note", [row("Hi", "I'm sorry, but I can't help with that.")], "`refusal` in 1 row"),
        ("loops", "warning", [row("Hi", "so it is that way. " * 20)], "`repetition` in 1 row"),
        ("turn_order", "warning", [said(("system", "S"), ("assistant", "A"))], "don't take turns"),
        ("turn_order", "ok", [said(("system", "S"), ("user", "Q"), ("assistant", "A"))], "take turns"),
        ("unreadable_rows", "warning", ["broken"], "rows.jsonl:2: a JSON text"),
        ("required_fields", "warning", [{"messages": 7}, {"messages": [1]}], "2 rows dropped (does_not_fit"),
        ("roles", "warning", [said(("narrator", "Q"), ("assistant", "A"))], "1 row dropped (unknown_role)"),
        ("min_length", "warning", [row("Q", " ")], "1 row dropped (empty_answer)"),
        ("size", "warning", [], "1 row of single answers, and fewer than 100"),
        ("held_out", "warning", [], "no row is held back"),
        ("openai_rules", "note", [], "1 row to train on, and 10 are the fewest"),
    ],
)
def test_a_check_tells_what_it_saw_and_where(
    write: Write, tmp_path: Path, name: str, status: str, rows: list[Any], told: str
) -> None:
    text = "".join(json.dumps(item) + "\n" for item in [row("first", "one"), *rows])
    check = prepare_sources(tmp_path, write("rows.jsonl", text)).check(name)
    assert check["status"] == status
    assert told in check["details"]


def jsonl(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(item) + "\n" for item in rows)


def many(count: int, answer: str = "{word} is what number {number} is called in this list.") -> list[dict[str, Any]]:
    words = [
        f"{first}{second}" for first in "bdfghklmnprstvz" for second in ("a", "e", "i", "o", "u", "ay", "or", "in")
    ]
    return [
        row(f"{words[i % 120]} {words[i // 120]}: {i}?", answer.format(word=words[i % 120] + words[-i % 7], number=i))
        for i in range(count)
    ]


def test_good_rows_raise_no_warning(write: Write, tmp_path: Path) -> None:
    prepared = prepare_sources(tmp_path, write("rows.jsonl", jsonl(many(600))))
    assert {check["status"] for check in prepared.data["checks"]} == {"ok"}
    assert prepared.data["warnings"] == []
    assert prepared.report.findings == ()


@pytest.mark.parametrize(
    ("name", "status", "rows", "told"),
    [
        (
            "same_openings",
            "warning",
            many(100, "Sure, here is {word}: {number}"),
            "100% of the answers begin with `sure,",
        ),
        (
            "same_openings",
            "note",
            [row(f"Write a poem on {i}", f"{i} is it.") for i in range(60)],
            "of the prompts begin",
        ),
        (
            "short_answers",
            "note",
            many(60, "{word} {number}"),
            "60 rows, 100.0%, whose last answer has fewer than five",
        ),
        (
            "variety",
            "note",
            many(400, "the order is on its way to you, thank you for waiting {number}"),
            "words of answers",
        ),
        (
            "length_balance",
            "note",
            [*many(90), *(row(f"long {i}", f"{i} " + "many words " * 200) for i in range(10))],
            "the tenth of the rows with the longest answers holds 8",
        ),
        (
            "system_prompts",
            "note",
            [*many(30), *(said(("system", "S"), ("user", f"Q{i}"), ("assistant", f"A{i}")) for i in range(30))],
            "1 system prompt in 50% of the rows, none in the others",
        ),
        ("size", "note", many(150), "150 rows of single answers: enough to begin with; 500 are better"),
        (
            "size",
            "warning",
            [
                said(*((role, f"{role} {i} {turn}") for turn in range(2) for role in ("user", "assistant")))
                for i in range(120)
            ],
            "120 rows of conversations of several turns, and fewer than 500",
        ),
        ("size", "warning", many(120, "```python\n{word} = {number}\n```"), "120 rows of code, and fewer than 200"),
        ("openai_rules", "ok", many(20), "would take these rows"),
        (
            "openai_rules",
            "note",
            [
                *many(20),
                {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "weight": 0}]},
            ],
            "1 row with wrong weights",
        ),
    ],
)
def test_what_rows_have_in_common_is_told(
    write: Write, tmp_path: Path, name: str, status: str, rows: list[Any], told: str
) -> None:
    check = prepare_sources(tmp_path, write("rows.jsonl", jsonl(rows))).check(name)
    assert told in check["details"]
    assert check["status"] == status
    assert check["hint"] or status == "ok" or name == "size"


def test_pairs_whose_longer_ending_wins_teach_length(write: Write, tmp_path: Path) -> None:
    pairs = [
        {
            "prompt": f"Q{i}",
            "chosen": f"a longer answer {i}",
            "rejected": f"no {i}" if i % 5 else f"no, by far the longer {i}",
        }
        for i in range(60)
    ]
    prepared = prepare_sources(tmp_path, write("rows.jsonl", jsonl(pairs)), rows="pair")
    assert prepared.check("length_bias")["status"] == "warning"
    assert prepared.check("length_bias")["details"].startswith("in 80% of the pairs")
    assert prepared.check("size")["details"].startswith("60 rows of preferences")


@pytest.mark.parametrize(
    ("train", "fate"),
    [
        (
            {"max_length": 50},
            "2 rows, 20.0%, above `train.max_length` of 50 estimated tokens: training leaves them out",
        ),
        ({"max_length": 50, "too_long": "left"}, "training cuts their beginnings, 69.6% of all tokens"),
        ({"max_length": 500}, "the longest row has 201 estimated tokens"),
    ],
)
def test_what_is_too_long_is_what_this_training_takes(
    write: Write, tmp_path: Path, train: dict[str, Any], fate: str
) -> None:
    # 8 rows of 4 tokens, 2 of 201: beyond 50 lie 302 of 434 tokens.
    rows = [row(f"Q{i}", "a" * (800 if i < 2 else 12)) for i in range(10)]
    data = Data(sources=(str(write("rows.jsonl", jsonl(rows))),))
    report = prepare(data, tmp_path / "data", train=Train.model_validate(train))
    (check,) = [check for check in report.data["checks"] if check["name"] == "long_rows"]
    assert fate in check["details"]
    assert report.data["max_length"]["rows"] == (0 if train["max_length"] == 500 else 2)


ROOT = Path(__file__).parents[2]


def test_every_check_stands_in_the_reference(write: Write, tmp_path: Path) -> None:
    sources = {
        "conversation": many(60),
        "pair": [{"prompt": f"Q{i}", "chosen": f"a longer answer {i}", "rejected": f"no {i}"} for i in range(60)],
        "judged": [{"prompt": f"Q{i}", "completion": f"A{i}", "label": i % 2 == 0} for i in range(9)],
        "class": [{"text": f"T{i}", "label": "ab"[i % 2]} for i in range(9)],
        "text": [{"text": f"T{i}"} for i in range(9)],
    }
    reference = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")
    for kind, rows in sources.items():
        prepared = prepare_sources(tmp_path, write(f"{kind}.jsonl", jsonl(rows)), rows=kind)
        missing = [check["name"] for check in prepared.data["checks"] if f"`{check['name']}`" not in reference]
        assert missing == []
        for check in prepared.data["checks"]:
            assert f"| {check['name'].replace('_', ' ')} " in (prepared.folder / "report.md").read_text()


def test_every_reason_stands_in_the_reference_as_it_is_told() -> None:
    page = (ROOT / "docs/reference/reasons.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    assert table == [f"| `{name}` | {reason.means} | {reason.remedy} |" for name, reason in REASONS.items()]
