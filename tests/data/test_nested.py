"""Records that hold more than one row: what they become, and that every one of their rows is accounted for."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Prepared, Write, prepare_sources
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.core.example import Source
from luthier.data.convert import Converter
from luthier.data.nested import WORDS, unfold
from luthier.data.nested.forest import Forest, is_message
from luthier.data.nested.unfolding import Unfolding
from luthier.data.reasons import REASONS
from luthier.data.rows import RawRow, Refusal, Unparsed, Unreadable
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

Row = dict[str, Any]


def node(text: str, *replies: Row, rank: int | None = None, **more: Any) -> Row:
    role = more.pop("role", "assistant" if text[0].islower() else "prompter")
    return {"text": text, "role": role, "rank": rank, "replies": [*replies], **more}


TREE = node("Q", node("b", rank=1), node("a", node("R", node("c", rank=0), node("d", rank=1)), rank=0))


def prepared(write: Write, tmp_path: Path, kind: Rows, *rows: Row) -> Prepared:
    return prepare_sources(tmp_path, write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows)), rows=kind)


def said(turns: list[Row]) -> str:
    return " ".join(f"{turn['role'][0]}:{turn['content']}" for turn in turns)


@pytest.mark.parametrize("record", [TREE, {"message_tree_id": "t", "prompt": TREE}])
def test_the_conversation_of_a_tree_follows_the_best_replies(record: Row, write: Write, tmp_path: Path) -> None:
    found = prepared(write, tmp_path, "conversation", record)
    assert [said(row["messages"]) for row in found.kept()] == ["u:Q a:a u:R a:c"]
    assert found.data["format"]["unfolded"] == [
        {"shape": "message trees", "records": 1, "rows": 1, "left": {"messages off the best path": 2}}
    ]


def test_the_pairs_of_a_tree_are_its_best_answers_against_those_ranked_below(write: Write, tmp_path: Path) -> None:
    found = prepared(write, tmp_path, "pair", TREE)
    pairs = {(said(row["messages"]), said(row["rejected"])) for row in found.kept()}
    assert pairs == {("u:Q a:a", "u:Q a:b"), ("u:Q a:a u:R a:c", "u:Q a:a u:R a:d")}


def test_where_answers_are_judged_the_best_and_the_worst_come_once(write: Write, tmp_path: Path) -> None:
    tree = node("Q", node("a", rank=0), node("b", rank=1), node("c", rank=2))
    scored = {"prompt": "P", "responses": ["a", "b", "c"], "scores": [3, 2, 1]}
    judged = prepared(write, tmp_path, "judged", tree, scored).kept()
    assert sorted((row["messages"][-1]["content"], row["label"]) for row in judged) == [
        ("a", True),
        ("a", True),
        ("c", False),
        ("c", False),
    ]


def test_a_file_whose_records_hold_no_row_is_told_why(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        prepared(write, tmp_path, "pair", node("Q", node("a")))
    assert error.value.problem == "no row is left of 1: 1 unranked"


@pytest.mark.parametrize(
    ("tree", "kind", "reason"),
    [
        (node("Q"), "conversation", "no_answer"),
        (node("Q", node("a", deleted=True)), "conversation", "no_answer"),
        (node("Q", node("a"), review_result=False), "conversation", "no_prompt"),
        (node("Q", node("a", rank=0)), "pair", "unranked"),
        (node("Q", node("a"), node("b")), "pair", "unranked"),
        (node("Q", node("a", rank=0), node("b", rank=0)), "pair", "unranked"),
    ],
)
def test_a_tree_without_a_row_is_one_dropped_row(
    tree: Row, kind: Rows, reason: str, write: Write, tmp_path: Path
) -> None:
    found = prepared(write, tmp_path, kind, TREE, tree)
    assert found.data["rows"]["by_reason"] == {reason: 1}
    assert [row["line"] for row in found.rows("dropped")] == [2]


def message(name: str, parent: str | None, text: str, **more: Any) -> Row:
    role = "assistant" if text[0].islower() else "prompter"
    return {"message_id": name, "parent_id": parent, "text": text, "role": role, **more}


FLAT = [
    message("2", "1", "b", rank=1),
    message("1", None, "Q"),
    message("x", None, "X"),
    message("3", "1", "a", rank=0),
    message("y", "x", "z"),
]


def test_messages_that_stand_alone_become_trees_wherever_they_stand(write: Write, tmp_path: Path) -> None:
    found = prepared(write, tmp_path, "conversation", *FLAT)
    assert {(row["source"]["line"], said(row["messages"])) for row in found.kept()} == {(2, "u:Q a:a"), (3, "u:X a:z")}
    assert found.data["rows"]["in"] == 2


def test_messages_of_no_tree_and_with_an_id_that_is_taken_are_dropped(write: Write, tmp_path: Path) -> None:
    loop = [message("c", "d", "Q"), message("d", "c", "a")]
    odd = [message("9", "nobody", "q"), message("1", None, "Q"), message("it", "it", "a")]
    found = prepared(write, tmp_path, "conversation", *FLAT, *loop, *odd)
    assert found.data["rows"] == {
        "in": 7,
        "kept": 2,
        "dropped": 5,
        "by_reason": {"no_parent": 4, "does_not_fit": 1},
    }


def test_messages_may_hold_anything_json_can(write: Write, tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    odd = [message("o", None, "\ud800"), message("p", "o", "a", n=float("nan")), message("q", "gone", "\ud800")]
    chain = [message(f"m{n}", f"m{n - 1}" if n else None, "a" if n % 2 else "Q") for n in range(3000)]
    rows = [*FLAT, *odd, *chain, message("deep", None, "Q", labels=deep)]
    found = prepared(write, tmp_path, "conversation", *rows)
    assert found.data["rows"]["kept"] == 4
    assert prepared(write, tmp_path, "pair", *rows).data["rows"]["kept"] == 1


def test_other_rows_among_messages_are_rows(write: Write, tmp_path: Path) -> None:
    found = prepared(write, tmp_path, "conversation", {"question": "Q?", "answer": "A"}, *FLAT)
    assert found.data["rows"]["kept"] == 3


SQUAD = {
    "title": "T",
    "paragraphs": [
        {
            "context": "C",
            "qas": [
                {"id": "1", "question": "Q", "answers": [{"text": "A", "answer_start": 0}, {"text": "B"}]},
                {
                    "id": "2",
                    "question": "R",
                    "answers": [],
                    "is_impossible": True,
                    "plausible_answers": [{"text": "P"}],
                },
            ],
        }
    ],
}


def test_every_question_of_squad_is_a_row(write: Write, tmp_path: Path) -> None:
    source = write("squad.json", json.dumps({"version": "v2.0", "data": [SQUAD]}))
    found = prepare_sources(tmp_path, source)
    assert [said(row["messages"]) for row in found.kept()] == ["u:Q\n\nC a:A"]
    assert found.data["rows"]["by_reason"] == {"empty_answer": 1}
    assert found.data["format"]["unfolded"][0]["left"] == {"plausible answers": 1}
    assert found.kept()[0]["tags"] == {"title": "T", "id": "1"}


def test_every_instance_of_a_task_is_a_row(write: Write, tmp_path: Path) -> None:
    pairs = [{"input": "x", "output": "a"}, {"input": "", "output": "b"}]
    found = prepared(write, tmp_path, "conversation", {"instruction": "I", "instances": pairs, "name": "n"})
    assert {said(row["messages"]) for row in found.kept()} == {"u:I\n\nx a:a", "u:I a:b"}


RANKED = [
    {
        "instruction": "Q",
        "completions": [{"response": "b", "overall_score": 2}, {"response": "a", "overall_score": 4.5}],
    },
    {"prompt": "Q", "responses": ["b", "a"], "scores": [2, 4.5]},
]


@pytest.mark.parametrize("record", RANKED)
def test_of_scored_answers_the_best_is_learned_or_stands_against_the_others(
    record: Row, write: Write, tmp_path: Path
) -> None:
    (best,) = prepared(write, tmp_path, "conversation", record).kept()
    assert said(best["messages"]) == "u:Q a:a"
    (pair,) = prepared(write, tmp_path, "pair", record).kept()
    assert (said(pair["messages"]), said(pair["rejected"]), pair["margin"]) == ("u:Q a:a", "u:Q a:b", 2.5)
    judged = prepared(write, tmp_path, "judged", record).kept()
    assert {(said(row["messages"]), row["label"]) for row in judged} == {("u:Q a:a", True), ("u:Q a:b", False)}


def test_the_lowest_rank_is_best_and_has_no_margin() -> None:
    found = unfold({"prompt": "Q", "responses": ["b", "a"], "ranks": [2, 1]}, "pair")
    assert found is not None
    assert found[1].rows == [{"prompt": "Q", "chosen": "a", "rejected": "b"}]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Q", "response_a": "a", "response_b": "b", "winner": "model_a"},
        {"prompt": "Q", "response_0": "b", "response_1": "a", "better_response_id": 1},
        {"prompt": "Q", "output_1": "a", "output_2": "b", "preference": "1"},
        {"prompt": "Q", "answer_0": "b", "answer_1": "a", "score_0": -1, "score_1": 1},
        {"history": "Q", "human_ref_A": "a", "human_ref_B": "b", "labels": 1},
        {
            "conversation_a": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "a"}],
            "conversation_b": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "b"}],
            "winner": "model_a",
        },
    ],
)
def test_two_answers_of_which_one_won_are_a_pair(record: Row, write: Write, tmp_path: Path) -> None:
    (pair,) = prepared(write, tmp_path, "pair", record).kept()
    assert (said(pair["messages"]), said(pair["rejected"])) == ("u:Q a:a", "u:Q a:b")
    (best,) = prepared(write, tmp_path, "conversation", record).kept()
    assert said(best["messages"]) == "u:Q a:a"


@pytest.mark.parametrize("verdict", [{"winner": "tie"}, {"winner": "c"}, {"score_a": 1, "score_b": 1}])
def test_two_answers_of_which_none_won_are_a_dropped_row(verdict: Row) -> None:
    found = unfold({"prompt": "Q", "response_a": "a", "response_b": "b", **verdict}, "pair")
    assert found is not None
    assert found[1].refusal is not None
    assert found[1].refusal.reason == "unranked"


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Q", "response_a": "a", "response_b": "b"},
        {"prompt": "Q", "completions": ["a", "b"]},
        {"prompt": "Q", "completions": [{"response": "a", "score": "high"}, {"response": "b", "score": 1}]},
        {"prompt": "Q", "responses": ["a", "b"], "scores": [1]},
        {"prompt": {"text": "Q"}, "completion": "a"},
        {"instruction": "I", "instances": "none"},
        {"title": "T", "paragraphs": ["a text"]},
        {"text": "T", "replies": 3},
    ],
)
def test_what_only_looks_like_such_a_record_is_a_row(record: Row) -> None:
    assert unfold(record, "conversation") is None


def test_lists_of_texts_with_their_class_under_names_of_splits_are_rows(write: Write, tmp_path: Path) -> None:
    content = {"train": [["where is it", "find"], ["pay it", "pay"]], "oos_train": [["hm", "oos"]]}
    path = write("intents.json", json.dumps(content))
    found = prepare_sources(tmp_path, path, rows="class")
    assert {row["label"] for row in found.kept()} == {"find", "pay", "oos"}
    assert prepare_sources(tmp_path, path).data["rows"]["kept"] == 3


KEYS = [
    *WORDS,
    "prompt",
    "instruction",
    "text",
    "role",
    "context",
    "question",
    "input",
    "output",
    "response",
    "score",
    "rank",
    "winner",
    "score_0",
    "score_1",
    "response_a",
    "human_ref_A",
    "message_id",
    "parent_id",
    "deleted",
]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "1", "prompter", "assistant"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS), below, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), anything, max_size=6), max_size=4),
    st.sampled_from(["conversation", "pair", "judged", "class", "text"]),
)
def test_whatever_records_hold_each_of_them_is_accounted_for(records: list[Row], kind: Rows) -> None:
    pieces = [RawRow(record, Source("f", line)) for line, record in enumerate(records, 1)]
    given_ = {piece.source.line for piece in pieces if not is_message(piece.row) or kind in ("class", "text")}
    out = [*Unfolding("f", kind).apart(iter(pieces), "utf-8")]
    converter = Converter(Data(sources=("x",)), kind)
    for piece in out:
        assert not isinstance(piece, Unparsed)
        refusal = converter.convert(piece) if isinstance(piece, RawRow) else piece.refusal
        assert not isinstance(refusal, Refusal) or refusal.reason in REASONS
    assert {piece.source.line for piece in out if not isinstance(piece, Unparsed)} >= given_
    assert bool(out) is bool(pieces)


trees = st.recursive(
    st.builds(node, st.sampled_from(["Q", "a"]), rank=st.none() | st.integers(0, 3), deleted=st.booleans()),
    lambda below: st.builds(
        lambda replies, text, rank: node(text, *replies, rank=rank),
        st.lists(below, max_size=3),
        st.sampled_from(["Q", "a"]),
        st.none() | st.integers(0, 3),
    ),
    max_leaves=12,
)


@given(trees, st.randoms())
def test_a_tree_whose_messages_are_scattered_is_put_together_again(tree: Row, chance: Any) -> None:
    flat: list[Row] = []
    waiting: list[tuple[Row, str | None]] = [(tree, None)]
    while waiting:
        at, parent = waiting.pop(0)
        name = str(len(flat))
        flat.append({**{k: v for k, v in at.items() if k != "replies"}, "message_id": name, "parent_id": parent})
        waiting += [(reply, name) for reply in at["replies"]]
    # Replies keep their order among themselves only where they stand in it, so ranks decide alone.
    order = sorted(range(len(flat)), key=lambda index: (chance.random(), index))
    with Forest("f") as forest:
        assert [forest.add(RawRow(flat[index], Source("f", line))) for line, index in enumerate(order, 1)] == [
            None
        ] * len(flat)
        (whole,) = forest.trees()
    assert isinstance(whole, RawRow)
    assert _shape(whole.row) == _shape(tree)


def _shape(tree: Row) -> str:
    """Return a tree as text in which the order of replies makes no difference."""
    return f"{tree['text']}{tree['rank']}{tree.get('deleted')}[{','.join(sorted(map(_shape, tree['replies'])))}]"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "a", "b", "c"])), max_size=6))
def test_every_message_is_in_a_tree_or_dropped_whatever_they_reply_to(links: list[tuple[str, str | None]]) -> None:
    with Forest("f") as forest:
        taken = [
            forest.add(RawRow(message(name, parent, "Q"), Source("f", n))) for n, (name, parent) in enumerate(links)
        ]
        out = [*forest.trees()]
    inside = sum(_count(item.row) for item in out if isinstance(item, RawRow))
    assert inside + sum(isinstance(item, Unreadable) for item in (*out, *taken)) == len(links)


def _count(tree: Row) -> int:
    return 1 + sum(map(_count, tree["replies"]))
