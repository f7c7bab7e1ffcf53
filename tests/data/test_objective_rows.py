"""Rows of every shape that objectives other than SFT learn from, and what becomes of those that don't fit."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_files import Prepared, Write, prepare_sources
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from luthier.core.errors import DataError
from luthier.core.example import TEXT, Example, Message, Source
from luthier.data.convert import Converter
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.data import Data, Fields
from luthier.recipe.methods import Dpo, Rows
from luthier.recipe.schema import Recipe, Train

Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def bot(text: str) -> Row:
    return {"role": "assistant", "content": text}


def convert(row: Row, rows: Rows, **options: Any) -> Example | Refusal:
    return Converter(Data(sources=("x",), **options), rows).convert(RawRow(row, Source("x", 1)))


def example(row: Row, rows: Rows, **options: Any) -> Example:
    found = convert(row, rows, **options)
    assert isinstance(found, Example), found
    return found


def said(messages: tuple[Message, ...]) -> str:
    return " ".join(f"{message.role[0]}:{message.text}" for message in messages)


def prepared(write: Write, tmp_path: Path, kind: Rows, *rows: Row, **options: Any) -> Prepared:
    path = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return prepare_sources(tmp_path, path, rows=kind, **options)


# Pairs -----------------------------------------------------------------------------------------------------

HH = "\n\nHuman: Q\n\nAssistant: {}"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"question": "Q", "chosen": "A", "rejected": "B"},
        {"instruction": "Q", "input": "", "Chosen": "A", "Rejected": "B"},
        {"input": "Q", "accepted": "A", "rejected": "B"},
        {"prompt": "Q", "preferred": "A", "dispreferred": "B"},
        {"prompt": "Q", "chosen_response": "A", "rejected_response": "B"},
        {"prompt": [user("Q")], "chosen": "A", "rejected": "B"},
        {"prompt": [user("Q")], "chosen": [bot("A")], "rejected": [bot("B")]},
        {"prompt": "Q", "chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]},
        {"prompt": "Q", "chosen": bot("A"), "rejected": bot("B")},
        {"chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]},
        {"chosen": json.dumps([user("Q"), bot("A")]), "rejected": json.dumps([user("Q"), bot("B")])},
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "A"},
            "rejected": {"from": "gpt", "value": "B"},
        },
        {"messages": [user("Q")], "chosen": bot("A"), "rejected": bot("B")},
        {
            "input": {"messages": [user("Q")]},
            "preferred_completion": [bot("A")],
            "non_preferred_completion": [bot("B")],
        },
        {"chosen": HH.format("A"), "rejected": HH.format("B")},
        {"prompt": HH.format(""), "chosen": " A", "rejected": " B"},
        {
            "input": {"messages": [user("Q")], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [bot("A")],
            "non_preferred_output": [bot("B")],
        },
    ],
)
def test_a_pair_is_recognised_however_it_is_written(row: Row, write: Write, tmp_path: Path) -> None:
    [kept] = prepared(write, tmp_path, "pair", row).rows("train")
    pair = Example.from_dict(kept)
    assert (said(pair.messages), said(pair.rejected), pair.shared) == ("u:Q a:A", "u:Q a:B", 1)


def test_system_history_and_context_stand_before_both_endings() -> None:
    row = {"instruction": "Q", "input": "I", "system": "S", "history": [["q", "a"]], "chosen": "A", "rejected": "B"}
    pair = example(row, "pair")
    assert said(pair.messages) == "s:S u:q a:a u:Q\n\nI a:A"
    assert said(pair.rejected) == "s:S u:q a:a u:Q\n\nI a:B"


def test_a_system_prompt_beside_whole_conversations_comes_first() -> None:
    row = {"system": "S", "chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]}
    assert said(example(row, "pair").rejected) == "s:S u:Q a:B"


def test_earlier_turns_of_a_transcript_are_the_prompt() -> None:
    row = {"chosen": HH.format("a") + HH.format("A"), "rejected": HH.format("a") + HH.format("B")}
    pair = example(row, "pair")
    assert (said(pair.messages), pair.shared) == ("u:Q a:a u:Q a:A", 3)


def test_the_tools_beside_openais_input_are_offered() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    row = {
        "input": {"messages": [user("Q")], "tools": [tool]},
        "preferred_output": [bot("A")],
        "non_preferred_output": [bot("B")],
    }
    assert example(row, "pair").tools == (tool,)


@pytest.mark.parametrize(
    ("columns", "margin"),
    [
        ({"margin": 2}, 2.0),
        ({"margin": "0.5"}, 0.5),
        ({"margin": None}, None),
        ({"margin": ""}, None),
        ({"score_chosen": 4, "score_rejected": 1.5}, 2.5),
        ({"chosen_rating": "4", "rejected_rating": "5"}, -1.0),
        ({"score_chosen": 4}, None),
        ({"margin": 1, "score_chosen": 4, "score_rejected": 1}, 1.0),
    ],
)
def test_the_margin_is_the_rows_or_the_difference_of_the_scores(columns: Row, margin: float | None) -> None:
    assert example({"prompt": "Q", "chosen": "A", "rejected": "B", **columns}, "pair").margin == margin


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Q", "chosen": "A", "rejected": "A "}, "equal_endings"),
        ({"prompt": "Q", "chosen": "", "rejected": "B"}, "empty_answer"),
        ({"prompt": "Q", "chosen": "A", "rejected": None}, "empty_answer"),
        ({"prompt": "Q", "chosen": "A", "rejected": []}, "empty_answer"),
        ({"chosen": [user("Q"), bot("A")], "rejected": [user("R"), bot("B")]}, "different_prompts"),
        ({"chosen": "A", "rejected": "B"}, "no_prompt"),
        ({"prompt": "", "chosen": "A", "rejected": "B"}, "no_prompt"),
        (
            {"prompt": "Q", "chosen": "A", "rejected": "B", "score_chosen": 1e308, "score_rejected": -1e308},
            "does_not_fit",
        ),
        ({"prompt": "P", "chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]}, "different_prompts"),
        (
            {"chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("A"), user("R"), bot("B")]},
            "different_prompts",
        ),
        ({"prompt": "Q", "chosen": [user("Q")], "rejected": [user("Q"), bot("B")]}, "no_answer"),
        ({"prompt": "Q", "chosen": ["A"], "rejected": ["B"]}, "does_not_fit"),
        ({"prompt": 3.5, "chosen": {"text": "A"}, "rejected": "B"}, "does_not_fit"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B", "margin": "much"}, "does_not_fit"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B", "margin": True}, "does_not_fit"),
        ({"prompt": "Q", "completion": "A", "label": True}, "unknown_format"),
    ],
)
def test_a_broken_pair_is_dropped_with_its_reason(row: Row, reason: str, write: Write, tmp_path: Path) -> None:
    good = {"prompt": "Q0", "chosen": "A", "rejected": "B"}
    dropped = prepared(write, tmp_path, "pair", good, row).rows("dropped")
    assert [(row["reason"], row["line"]) for row in dropped] == [(reason, 2)]


def test_an_answer_that_is_json_stays_text() -> None:
    assert example({"prompt": "Q", "chosen": '[{"a": 1}]', "rejected": "[]"}, "pair").messages[1].text == '[{"a": 1}]'


def test_pairs_of_one_prompt_stay_on_one_side(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n % 20}", "chosen": f"A{n}", "rejected": f"B{n}"} for n in range(100)]
    found = prepared(write, tmp_path, "pair", *rows, split={"valid": 0.4})
    train, valid = ({row["messages"][0]["content"] for row in found.rows(part)} for part in ("train", "valid"))
    assert train
    assert valid
    assert not train & valid


def test_a_pair_again_is_a_duplicate_and_one_the_other_way_round_a_contradiction(write: Write, tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "Q", "chosen": "B", "rejected": "A"},
        {"prompt": "Q", "chosen": "A", "rejected": "C"},
    ]
    found = prepared(write, tmp_path, "pair", *rows)
    assert found.data["rows"]["by_reason"] == {"duplicate": 1}
    check = found.check("contradictions")
    assert check["status"] == "warning"
    assert "1 row with the endings of an earlier row" in check["details"]
    assert "rows.jsonl:1 and" in check["details"]
    assert "rows.jsonl:3" in check["details"]


def test_both_endings_count_in_the_lengths(write: Write, tmp_path: Path) -> None:
    found = prepared(write, tmp_path, "pair", {"prompt": "Q" * 4, "chosen": "A" * 8, "rejected": "B" * 40})
    lengths = {part: found.data["tokens"][part]["max"] for part in found.data["tokens"]}
    assert lengths == {"prompt": 1, "answer": 2, "rejected": 10, "total": 11}


def test_cleaning_leaves_both_endings_with_one_prompt(write: Write, tmp_path: Path) -> None:
    row = {"prompt": "<p>What?</p>", "chosen": "write `<b>`", "rejected": "no \u200bidea"}
    [kept] = prepared(write, tmp_path, "pair", row).rows("train")
    assert kept["messages"][0] == kept["rejected"][0]
    assert kept["rejected"][1]["content"] == "no idea"


# Judged answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "good", [True, 1, 1.0, "true", "True", "1", "yes", "thumbs up", "Thumbs-Up", "👍", "desirable"]
)
def test_a_good_answer_is_said_in_many_words(good: object) -> None:
    assert example({"prompt": "Q", "completion": "A", "label": good}, "judged").label is True


@pytest.mark.parametrize(
    "bad", [False, 0, -1, "false", "0", "-1", "NO", "thumbs_down", "👎", "undesirable", "rejected"]
)
def test_a_bad_one_too(bad: object) -> None:
    assert example({"prompt": "Q", "completion": "A", "label": bad}, "judged").label is False


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "completion": "A", "label": True},
        {"question": "Q", "answer": "A", "thumbs": "up"},
        {"instruction": "Q", "input": "", "output": "A", "kto_tag": True},
        {"messages": [user("Q"), bot("A")], "label": 1},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "kto_tag": "true"},
        {"prompt": [user("Q")], "completion": [bot("A")], "label": True},
    ],
)
def test_a_judged_answer_is_recognised_in_every_shape_of_a_conversation(row: Row) -> None:
    found = example(row, "judged")
    assert (said(found.messages), found.label) == ("u:Q a:A", True)


@pytest.mark.parametrize(
    ("label", "reason"), [(None, "no_label"), ("", "no_label"), (3, "does_not_fit"), ([], "does_not_fit")]
)
def test_a_verdict_that_says_nothing_is_refused(label: object, reason: str) -> None:
    refusal = convert({"prompt": "Q", "completion": "A", "label": label}, "judged")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_a_pair_gives_a_good_and_a_bad_row_and_the_report_says_so(write: Write, tmp_path: Path) -> None:
    found = prepared(write, tmp_path, "judged", {"prompt": "Q", "chosen": "A", "rejected": "B", "margin": 2})
    rows = [(row["messages"][1]["content"], row["label"], "rejected" in row, "margin" in row) for row in found.kept()]
    assert rows == [("A", True, False, False), ("B", False, False, False)]
    assert "each of 1 pair gives two rows" in found.check("pairs")["details"]
    assert found.data["labels"] == {"good": 1, "bad": 1}


def test_an_answer_called_good_and_bad_is_a_contradiction(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "completion": "A", "label": label} for label in (True, False, True)]
    found = prepared(write, tmp_path, "judged", *rows)
    assert found.data["rows"]["by_reason"] == {"duplicate": 1}
    assert found.check("contradictions")["status"] == "warning"


def test_only_good_answers_are_warned_of(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "completion": f"A{n}", "label": True} for n in range(3)]
    check = prepared(write, tmp_path, "judged", *rows).check("labels")
    assert (check["status"], "`good`" in check["details"]) == ("warning", True)


def test_the_same_answer_again_and_again_is_warned_of(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "completion": "Sorry." if n % 2 else f"A{n}", "label": n % 2} for n in range(20)]
    check = prepared(write, tmp_path, "judged", *rows).check("canned_answers")
    assert check["status"] == "warning"
    assert "100% of the good answers are 1 text" in check["details"]
    assert "bad answers" not in check["details"]


# Texts with a class ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "text", "label"),
    [
        ({"text": "T", "label": "card"}, "T", "card"),
        ({"text": "T", "category": " card "}, "T", "card"),
        ({"sentence": "T", "label": 3}, "T", "3"),
        ({"text": "T", "label": 2.0}, "T", "2"),
        ({"text": "T", "label": False}, "T", "false"),
        ({"text": "T", "labels": ["card"]}, "T", "card"),
        ({"text": "T", "label": 0, "label_text": "neg"}, "T", "neg"),
        ({"utterance": "T", "intent": "card"}, "T", "card"),
        ({"premise": "P", "hypothesis": "H", "label": "entails"}, "P\n\nH", "entails"),
        ({"question1": "P", "question2": "H", "label": 1}, "P\n\nH", "1"),
        ({"id": 4, "content": "T", "class": "c"}, "T", "c"),
    ],
)
def test_a_text_with_its_class_is_one_turn_of_the_user(row: Row, text: str, label: str) -> None:
    found = example(row, "class")
    assert (found.messages, found.label) == ((Message("user", text),), label)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "T", "label": None}, "no_label"),
        ({"text": "T", "label": " "}, "no_label"),
        ({"text": "T", "label": []}, "no_label"),
        ({"text": "T", "label": ["a", "b"]}, "does_not_fit"),
        ({"text": "T", "label": {"a": 1}}, "does_not_fit"),
        ({"text": ["T"], "label": "a"}, "does_not_fit"),
        ({"text": " ", "label": "a"}, "empty_text"),
        ({"text": "T"}, "unknown_format"),
    ],
)
def test_a_text_without_a_class_or_a_class_without_text_is_dropped(
    row: Row, reason: str, write: Write, tmp_path: Path
) -> None:
    dropped = prepared(write, tmp_path, "class", {"text": "T0", "label": "a"}, row).rows("dropped")
    assert [row["reason"] for row in dropped] == [reason]


@pytest.mark.parametrize(
    ("labels", "status", "told"),
    [
        ("aaaa", "warning", "every row is `a`"),
        ("ab" * 5, "ok", "2 labels"),
        ("a" * 20 + "bb", "warning", "uneven classes: `a` has 20 rows, `b` 2"),
        (["Card", "card"], "warning", "differ only in case"),
    ],
)
def test_labels_are_looked_at(labels: str, status: str, told: str, write: Write, tmp_path: Path) -> None:
    rows = [{"text": f"T{number}", "label": label} for number, label in enumerate(labels)]
    found = prepared(write, tmp_path, "class", *rows)
    assert found.check("labels")["status"] == status
    assert told in found.check("labels")["details"]
    assert found.data["labels"] == Counter(labels)


def test_a_text_in_two_classes_is_a_contradiction(write: Write, tmp_path: Path) -> None:
    rows = [{"text": "T", "label": "a"}, {"text": "t ", "label": "b"}, {"text": "U", "label": "a"}]
    assert "1 row" in prepared(write, tmp_path, "class", *rows).check("contradictions")["details"]


# Plain text ------------------------------------------------------------------------------------------------


def test_a_text_file_is_one_document(write: Write, tmp_path: Path) -> None:
    folder = write("docs/a.txt", "\ufeffFirst.\n\nSecond.\r\n").parent
    write("docs/b.md", "# Title\n")
    write("docs/c.jsonl", '{"text": "Third."}\n{"text": ""}\n{"messages": []}\n')
    found = prepare_sources(tmp_path, folder, rows="text")
    assert {row["messages"][0]["content"] for row in found.kept()} == {"First.\n\nSecond.", "# Title", "Third."}
    assert {row["messages"][0]["role"] for row in found.kept()} == {TEXT}
    assert found.data["rows"]["by_reason"] == {"empty_text": 1, "unknown_format": 1}


def test_one_document_leaves_nothing_to_hold_back_and_that_is_told(write: Write, tmp_path: Path) -> None:
    found = prepare_sources(tmp_path, write("a.txt", "word " * 5000), rows="text")
    assert found.check("held_out")["status"] == "warning"
    assert found.check("long_rows")["status"] == "ok"


def test_text_files_beside_the_data_are_left_alone_by_other_objectives(write: Write, tmp_path: Path) -> None:
    folder = write("set/rows.jsonl", '{"question": "Q", "answer": "A"}\n').parent
    write("set/README.md", "About these rows.")
    assert prepare_sources(tmp_path, folder).data["rows"]["in"] == 1
    with pytest.raises(DataError) as error:
        prepare_sources(tmp_path, folder / "README.md")
    assert "pretrain" in error.value.hint


def test_a_damaged_document_and_an_empty_one_are_dropped_not_the_others(write: Write, tmp_path: Path) -> None:
    files = {"a.txt": b"fine", "b.txt": b"\xef\xbb\xbfgood \xff\xfe\xfa bad", "c.txt": b"", "d.md": b"\n\n"}
    found = prepare_sources(tmp_path, *(write(name, content) for name, content in files.items()), rows="text")
    assert [row["messages"][0]["content"] for row in found.kept()] == ["fine"]
    assert found.data["rows"]["by_reason"] == {"invalid_encoding": 1, "empty_text": 2}


# What suits what -------------------------------------------------------------------------------------------

SHAPES: dict[Rows, Row] = {
    "conversation": {"question": "Q", "answer": "A"},
    "pair": {"prompt": "Q", "chosen": "A", "rejected": "B"},
    "judged": {"prompt": "Q", "completion": "A", "label": True},
    "class": {"sentence": "T", "label": "a"},
    "text": {"text": "T"},
}
OBJECTIVES = {"conversation": "sft", "pair": "dpo", "judged": "kto", "class": "classify", "text": "pretrain"}
FITS = {
    ("conversation", "pair"),
    ("conversation", "judged"),
    ("conversation", "class"),  # the class is the answer
    ("judged", "pair"),
    ("class", "judged"),  # a prompt with a label
}


@pytest.mark.parametrize("wanted", SHAPES)
@pytest.mark.parametrize("given_", SHAPES)
def test_rows_of_another_kind_are_refused_with_the_objective_they_suit(
    wanted: Rows, given_: Rows, write: Write, tmp_path: Path
) -> None:
    if wanted == given_ or (wanted, given_) in FITS:
        assert prepared(write, tmp_path, wanted, SHAPES[given_]).data["rows"]["dropped"] == 0
        return
    with pytest.raises(DataError) as error:
        prepared(write, tmp_path, wanted, SHAPES[given_])
    assert f"train.objective={OBJECTIVES[given_]}" in error.value.hint


def test_sft_learns_the_chosen_ending_and_the_report_says_so(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B"}, {"prompt": "R", "chosen": "C", "rejected": ""}]
    found = prepared(write, tmp_path, "conversation", *rows)
    assert sorted(row["messages"][1]["content"] for row in found.kept()) == ["A", "C"]
    assert "only the chosen ending" in found.check("pairs")["details"]
    assert found.check("pairs")["status"] == "warning"


def test_sft_on_answers_marked_bad_is_warned_of(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "completion": "A", "label": bool(n % 2)} for n in range(4)]
    check = prepared(write, tmp_path, "conversation", *rows).check("bad_answers")
    assert check["status"] == "warning"
    assert "2 rows marked as bad" in check["details"]


@pytest.mark.parametrize(
    ("kind", "fields", "row"),
    [
        ("pair", {"prompt": "f", "chosen": "gut", "rejected": "schlecht"}, {"f": "Q", "gut": "A", "schlecht": "B"}),
        ("judged", {"prompt": "f", "answer": "a", "label": "ok"}, {"f": "Q", "a": "A", "ok": "yes"}),
        ("class", {"text": "satz", "label": "art"}, {"satz": "T", "art": "x", "text": "not this"}),
        ("text", {"text": "inhalt"}, {"inhalt": "T", "text": "not this"}),
    ],
)
def test_fields_name_the_columns_of_every_kind(kind: Rows, fields: Row, row: Row) -> None:
    found = example(row, kind, fields=fields)
    assert "not this" not in said(found.messages)
    assert found.messages[0].text in ("Q", "T")


def test_fields_that_make_no_row_are_refused() -> None:
    with pytest.raises(ValidationError, match="`chosen`, `rejected`"):
        Data(sources=("x",), format="preference", fields=Fields(prompt="p"))


def test_a_format_the_objective_cant_learn_from_is_refused_in_the_recipe() -> None:
    data = Data(sources=("x",), format="classification")
    with pytest.raises(ValidationError, match="nothing to learn from; `preference` would"):
        Recipe(model="m", data=data, train=Train(objective=Dpo()))


# The row that is written -----------------------------------------------------------------------------------

words = st.text(max_size=8)
extras = st.dictionaries(st.sampled_from(["name", "weight", "tool_call_id"]), words | st.integers(), max_size=2)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", TEXT]), words, extras), max_size=4
)
examples = st.builds(
    Example,
    messages=messages.map(tuple),
    source=st.builds(Source, words, st.integers(1, 10**9)),
    tags=st.dictionaries(words, words, max_size=2),
    tools=st.lists(st.dictionaries(words, words, max_size=2), max_size=2).map(tuple),
    rejected=messages.map(tuple),
    label=st.none() | st.booleans() | words,
    margin=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(examples)
def test_an_example_comes_back_from_its_row_as_it_was(item: Example) -> None:
    row = item.as_dict()
    assert Example.from_dict(json.loads(json.dumps(row))) == item
    assert 0 <= item.shared <= min(len(item.messages), len(item.rejected))
    assert item.messages[: item.shared] == item.rejected[: item.shared]


def test_rows_of_another_kind_among_those_learned_from_are_warned_of(write: Write, tmp_path: Path) -> None:
    question = {"question": "Q", "answer": "A"}
    check = prepared(write, tmp_path, "pair", {"prompt": "Q", "chosen": "A", "rejected": "B"}, question).check(
        "other_rows"
    )
    assert check["status"] == "warning"
    assert "learns from pairs of a better and a worse ending; 1 row dropped" in check["details"]
