"""Every format that is written reads back as the same examples, but for what is told as lost."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from data_files import Write, prepare_sources, read_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from luthier.core.example import TEXT, Example, Message, Source
from luthier.data.convert import Converter
from luthier.data.rows import RawRow
from luthier.data.write import WHOLE_ROW, Writer
from luthier.recipe.data import WRITTEN_AS, Data, Output
from luthier.recipe.methods import Classify, Rows
from luthier.recipe.schema import Recipe, Train

HERE = Source("f", 1)
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
PAIRS = [(rows, first, second) for rows, names in WRITTEN_AS.items() for first, second in product(names, repeat=2)]

texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["\n\nHuman: Q\n\nAssistant: A", '[{"role": "user"}]', '{"name": "f", "arguments": {}}', " ", "### Human: a", "0"]
)
filled = texts.filter(str.strip)
extras = st.fixed_dictionaries(
    {},
    optional={"name": filled, "weight": st.sampled_from([0, 1]), "train": st.booleans(), "reasoning_content": filled},
)
users = st.builds(Message, st.just("user"), texts, extras)
answers = st.builds(Message, st.just("assistant"), texts, extras)
systems = st.builds(Message, st.just("system"), filled)
calls = st.builds(
    Message, st.just("assistant"), st.just("") | texts, extras.map(lambda extra: {**extra, "tool_calls": [CALL]})
)
results = st.builds(
    Message, st.just("tool"), texts, st.sampled_from([{"tool_call_id": "c1", "name": "f"}, {"tool_call_id": "c1"}, {}])
)
exchanges = st.tuples(users, answers) | st.tuples(users, calls, results, answers) | st.tuples(answers)
prompts = st.builds(
    lambda system, earlier, last: (*system, *(message for turns in earlier for message in turns), last),
    st.lists(systems, max_size=1),
    st.lists(exchanges, max_size=2),
    users,
)
tags = st.dictionaries(
    st.sampled_from(["lang", "topic", "label", "text", "summary", "id"]), st.sampled_from(["en", "x y"]), max_size=2
)
tools = st.sampled_from([(), (TOOL,)])


def _pair(prompt: tuple[Message, ...], better: Message, worse: Message, **more: Any) -> Example:
    return Example((*prompt, better), HERE, rejected=(*prompt, worse), **more)


conversations = st.builds(lambda p, a, t, g: Example((*p, a), HERE, tags=g, tools=t), prompts, answers, tools, tags)
KINDS: dict[Rows, st.SearchStrategy[Example]] = {
    "conversation": conversations,
    "pair": st.builds(
        _pair, prompts, answers, answers, tools=tools, tags=tags, margin=st.none() | st.floats(-9, 9)
    ).filter(lambda pair: pair.messages[-1] != pair.rejected[-1]),
    "judged": st.builds(lambda one, good: replace(one, label=good), conversations, st.booleans()),
    "class": st.builds(
        lambda text, name, found: Example((Message("user", text),), HERE, tags=found, label=" ".join(name.split())),
        texts,
        filled,
        tags,
    ),
    "text": st.builds(lambda text, found: Example((Message(TEXT, text),), HERE, tags=found), texts, tags),
}


def read_back(row: dict[str, Any], rows: Rows) -> Example:
    """Return the example a file with this row gives."""
    plain = json.loads(json.dumps(row))
    found = Converter(Data(sources=("x",)), rows).convert(RawRow(plain, HERE))
    assert isinstance(found, Example), found
    return found


def without(example: Example, lost: list[str]) -> Example:
    """Return the example without what is told as lost."""
    kept = {"tags": {}, "tools": (), "label": None, "margin": None}
    example = replace(example, **{part: empty for part, empty in kept.items() if part in lost})
    if "turns" in lost:
        return replace(example, messages=(), rejected=())

    def bare(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(
            replace(m, extra={key: value for key, value in m.extra.items() if key not in lost}) for m in messages
        )

    return replace(example, messages=bare(example.messages), rejected=bare(example.rejected))


@pytest.mark.parametrize(("rows", "first", "second"), PAIRS)
def test_from_format_to_format_nothing_is_lost_but_what_is_told(rows: Rows, first: Output, second: Output) -> None:
    @settings(max_examples=20)
    @given(KINDS[rows])
    def holds(example: Example) -> None:
        row, lost = Writer(first, rows).row(example)
        if row is None:
            assert lost == [WHOLE_ROW]
            return
        once = read_back(row, rows)
        row, lost_again = Writer(second, rows).row(once)
        if row is None:
            assert lost_again == [WHOLE_ROW]
            return
        told = [*lost, *lost_again]
        assert without(read_back(row, rows), told) == without(example, told)

    holds()


@pytest.mark.parametrize(
    ("rows", "output"), [(rows, name) for rows, names in WRITTEN_AS.items() for name in names if name != "alpaca"]
)
def test_all_formats_but_alpaca_hold_everything_a_row_says(rows: Rows, output: Output) -> None:
    @settings(max_examples=60)
    @given(KINDS[rows])
    def holds(example: Example) -> None:
        assert Writer(output, rows).row(replace(example, tags={}))[1] == []

    holds()


def test_alpaca_holds_turns_and_system_and_tells_the_rest() -> None:
    turns = (Message("system", "S"), *(Message(r, t) for r, t in (("user", "q"), ("assistant", "a"), ("user", "Q"))))
    example = Example((*turns, Message("assistant", "A")), HERE, tags={"lang": "en"})
    row, lost = Writer("alpaca", "conversation").row(example)
    assert lost == []
    assert row == {
        "lang": "en", "instruction": "Q", "input": "", "system": "S", "history": [["q", "a"]], "output": "A",
    }  # fmt: skip
    weighted = replace(example, messages=(*turns, Message("assistant", "A", {"weight": 0})), tools=(TOOL,))
    assert Writer("alpaca", "conversation").row(weighted)[1] == ["tools", "weight"]
    called = replace(
        example, messages=(*turns, Message("assistant", "", {"tool_calls": [CALL]}), Message("tool", "6"), turns[2])
    )
    assert Writer("alpaca", "conversation").row(called) == (None, [WHOLE_ROW])


def test_other_programs_find_the_shapes_they_know() -> None:
    asked = (Message("user", "Q"),)
    pair = _pair(asked, Message("assistant", "A"), Message("assistant", "B"))
    assert Writer("preference", "pair").row(pair)[0] == {"prompt": "Q", "chosen": "A", "rejected": "B"}
    assert Writer("openai", "pair").row(pair)[0] == {
        "input": {"messages": [{"role": "user", "content": "Q"}]},
        "preferred_output": [{"role": "assistant", "content": "A"}],
        "non_preferred_output": [{"role": "assistant", "content": "B"}],
    }
    called = Example(
        (
            *asked,
            Message("assistant", "", {"tool_calls": [CALL]}),
            Message("tool", "6", {"tool_call_id": "c1", "name": "f"}),
            Message("assistant", "A"),
        ),
        HERE,
        tools=(TOOL,),
    )
    row, _ = Writer("sharegpt", "conversation").row(called)
    assert row is not None
    assert [turn["from"] for turn in row["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(row["conversations"][1]["value"]) == [{"id": "c1", "name": "f", "arguments": '{"a": 1}'}]


def test_the_splits_are_written_beside_luthiers_own_and_losses_are_counted(write: Write, tmp_path: Path) -> None:
    plain = [{"question": f"Q{n}", "answer": "A"} for n in range(20)]
    called = {"messages": [{"role": "user", "content": "C"}, {"role": "assistant", "content": "A", "weight": 1}]}
    source = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in [*plain, called]))
    found = prepare_sources(tmp_path, source, output="alpaca")
    assert (found.data["format"]["output"], found.data["format"]["lost"]) == ("alpaca", {"weight": 1})
    assert found.check("output")["status"] == "warning"
    for part in ("train", "valid", "test"):
        rows = read_jsonl(found.folder / "alpaca" / f"{part}.jsonl")
        assert [row["instruction"] for row in rows] == [row["messages"][0]["content"] for row in found.rows(part)]
        about = found.data["files"][f"alpaca/{part}"]
        assert about["bytes"] == (found.folder / "alpaca" / f"{part}.jsonl").stat().st_size


def test_an_output_that_cant_say_what_is_learned_is_refused() -> None:
    data = Data(sources=("x",), output="alpaca")
    with pytest.raises(ValidationError, match="`openai`, `classification` can"):
        Recipe(model="m", data=data, train=Train(objective=Classify()))
