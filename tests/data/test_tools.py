"""Tools, calls and spans of turns come through preparing unharmed."""

import json
from pathlib import Path

from luthier.core.example import Example
from luthier.data.prepare import prepare
from luthier.recipe.data import Clean, Data, Split

TOOL = {"type": "function", "function": {"name": "count", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "a", "type": "function", "function": {"name": "count", "arguments": "{}"}}


def prepared(tmp_path: Path, *rows: dict[str, object]) -> tuple[list[Example], list[dict[str, object]]]:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare(Data(sources=(str(source),), clean=Clean(), split=Split(valid=0.0)), tmp_path / "data")
    kept, dropped = ((tmp_path / "data" / f"{name}.jsonl").read_text().splitlines() for name in ("train", "dropped"))
    return [Example.from_dict(json.loads(line)) for line in kept], [json.loads(line) for line in dropped]


def turns(answer: str = "Six.", **extra: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": answer, **extra}]


def test_tools_come_as_a_list_as_json_text_bare_or_wrapped(tmp_path: Path) -> None:
    kept, dropped = prepared(
        tmp_path,
        {"messages": turns("1"), "tools": [TOOL]},
        {"messages": turns("2"), "tools": json.dumps([TOOL["function"]])},
        {"messages": turns("3"), "functions": [TOOL["function"]]},
        {"messages": turns("4"), "tools": None},
        {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "5"}], "tools": "[]"},
    )
    assert [example.tools for example in kept] == [(TOOL,), (TOOL,), (TOOL,), (), ()]
    assert dropped == []


def test_tools_that_are_none_cost_the_row_with_the_reason(tmp_path: Path) -> None:
    _, dropped = prepared(
        tmp_path,
        {"messages": turns("fine")},
        {"messages": turns("1"), "tools": "count"},
        {"messages": turns("2"), "tools": [{"type": "function"}]},
        {"messages": turns("3", tool_calls="count()")},
    )
    assert [row["reason"] for row in dropped] == ["does_not_fit"] * 3


def test_rows_that_differ_only_in_tools_or_calls_are_no_duplicates(tmp_path: Path) -> None:
    other = {"type": "function", "function": {**TOOL["function"], "name": "other"}}
    kept, _ = prepared(
        tmp_path,
        {"messages": turns()},
        {"messages": turns(), "tools": [TOOL]},
        {"messages": turns(), "tools": [other]},
        {"messages": turns("", tool_calls=[CALL])},
        {"messages": turns(), "tools": [TOOL]},
    )
    assert len(kept) == 4


def test_a_row_that_names_characters_is_not_cleaned(tmp_path: Path) -> None:
    kept, _ = prepared(tmp_path, {"messages": turns("  Six.  ", learn=[[2, 6]])}, {"messages": turns("  Seven.  ")})
    assert [example.messages[-1].text for example in kept] == ["  Six.  ", "Seven."]


def shared(*turns: tuple[str, object], **more: object) -> dict[str, object]:
    said = [{"from": who, "value": value if isinstance(value, str) else json.dumps(value)} for who, value in turns]
    return {"conversations": said, **more}


ASKED = ("human", "How many?")
COUNT = {"name": "count", "arguments": {"what": "Äpfel"}}


def test_a_function_call_of_sharegpt_is_a_call_and_its_observation_answers_it(tmp_path: Path) -> None:
    (example,), _ = prepared(
        tmp_path, shared(ASKED, ("function_call", COUNT), ("observation", "6"), ("gpt", "Six."), tools=[TOOL])
    )
    _, called, told, answer = example.messages
    (call,) = called.extra["tool_calls"]
    assert (called.role, called.text) == ("assistant", "")
    assert call["type"] == "function"
    assert call["function"] == {"name": "count", "arguments": '{"what": "Äpfel"}'}
    assert len(call["id"]) == 9
    assert call["id"].isalnum()
    assert call["id"].isascii()
    assert (told.role, told.text, told.extra) == ("tool", "6", {"tool_call_id": call["id"], "name": "count"})
    assert answer.extra == {}


def test_the_ids_of_calls_are_the_same_each_time_and_differ_within_a_row(tmp_path: Path) -> None:
    talk = shared(
        ASKED, ("function_call", [COUNT, COUNT]), ("observation", "6"), ("function_call", COUNT), ("gpt", "6")
    )
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (example,), _ = prepared(tmp_path / name, talk)
        ids.append([call["id"] for message in example.messages for call in message.extra.get("tool_calls", ())])
        # Of two open calls nobody knows which is answered.
        assert example.messages[2].extra == {}
    assert ids[0] == ids[1]
    assert len({*ids[0]}) == 3


def test_arguments_may_be_json_text_and_an_id_of_the_row_stays(tmp_path: Path) -> None:
    call = {"id": "mine", "type": "function", "name": "count", "arguments": '{"n":1}'}
    (example,), _ = prepared(tmp_path, shared(ASKED, ("function_call", call), ("tool", "6"), ("gpt", "Six.")))
    assert example.messages[1].extra["tool_calls"] == [
        {"id": "mine", "type": "function", "function": {"name": "count", "arguments": '{"n":1}'}}
    ]
    assert example.messages[2].extra["tool_call_id"] == "mine"


def test_an_answer_that_names_its_call_keeps_the_name(tmp_path: Path) -> None:
    row = shared(ASKED, ("function_call", COUNT))
    row["conversations"] += [
        {"from": "observation", "value": "6", "tool_call_id": "x"},
        {"from": "gpt", "value": "Six."},
    ]
    (example,), _ = prepared(tmp_path, row)
    assert example.messages[2].extra == {"tool_call_id": "x"}


def test_a_function_call_that_is_no_such_json_stays_text(tmp_path: Path) -> None:
    texts = [
        *("count(6)", "{", "[]", "7", '{"name": "f"}', '{"name": 1, "arguments": {}}', '{"name": "f", "arguments": 1}'),
        *('{"name": "f", "arguments": "x"}', '{"name": "f", "arguments": {}, "note": 1}'),
        '[{"name": "f", "arguments": {}}, 1]',
        '{"name": "f", "arguments": {"a": NaN}}',
    ]
    kept, dropped = prepared(tmp_path, *(shared(ASKED, ("function_call", text)) for text in texts))
    assert [example.messages[-1].text for example in kept] == texts
    assert dropped == []
    assert not any(example.messages[-1].extra for example in kept)


def test_a_turn_that_brings_calls_or_is_an_answer_in_json_is_left_alone(tmp_path: Path) -> None:
    row = shared(ASKED, ("gpt", COUNT))
    own = shared(ASKED, ("function_call", COUNT))
    own["conversations"][1]["tool_calls"] = [CALL]  # type: ignore[index]
    kept, _ = prepared(tmp_path, row, own)
    assert [example.messages[-1].text for example in kept] == [json.dumps(COUNT)] * 2
    assert [example.messages[-1].extra for example in kept] == [{}, {"tool_calls": [CALL]}]


def test_a_function_call_is_rendered_and_learned_as_a_call(tmp_path: Path, tiny_llama: Path) -> None:
    from luthier.model.load import load_tokenizer
    from luthier.tokens.render import Renderer
    from luthier.tokens.template import named

    (example,), _ = prepared(
        tmp_path, shared(ASKED, ("function_call", COUNT), ("observation", "6"), ("gpt", "Six."), tools=[TOOL])
    )
    tokenizer = load_tokenizer(tiny_llama)
    renderer = Renderer(tokenizer, template=named("chatml", tokenizer))
    (encoded,) = renderer.encode(example)
    learned = tokenizer.decode(encoded.input_ids[encoded.learned])
    call = '<tool_call>\n{"name": "count", "arguments": {"what": "Äpfel"}}\n</tool_call>'
    assert learned == f"{call}<|im_end|>Six.<|im_end|>"
    assert "<tool_response>\n6\n</tool_response>" in tokenizer.decode(encoded.input_ids)
