"""Which template: none asked, one of ours, a file; and options written into it."""

from pathlib import Path
from typing import Any

import pytest
import vocabularies
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import RecipeError
from luthier.core.example import Example, Message, Source
from luthier.tokens.render import Renderer
from luthier.tokens.template import LARGEST, chosen, named, names

OWN = "{{ messages[0].content }}|{{ flag }}<eos>"


def tokenizer(template: Any = OWN, *, starts: bool = False) -> Any:
    made = vocabularies.tokenizer_of("bytes", "<bos>", "<eos>", starts=starts)
    made.chat_template = template
    return made


def text(template: Any, tools: Any = ()) -> str:
    made = tokenizer()
    return Renderer(made, template=template).text([Message("user", "x")], tools=tools)


def test_nothing_asked_is_the_tokenizers_own_as_it_is() -> None:
    assert chosen(None, {}, tokenizer()) is None
    assert chosen(None, {}, tokenizer(None)) is None


def test_options_are_written_into_the_tokenizers_own() -> None:
    told = chosen(None, {"flag": "on"}, tokenizer())
    assert text(told) == "x|on<eos>"


def test_options_are_written_into_each_of_several() -> None:
    told = chosen(None, {"flag": 1}, tokenizer({"default": OWN, "tool_use": "tools " + OWN}))
    assert isinstance(told, dict)
    assert text(told) == "x|1<eos>"
    assert text(told, tools=[{"type": "function"}]) == "tools x|1<eos>"


def test_options_without_a_template_go_into_the_plain_one() -> None:
    assert "user: x" in text(chosen(None, {"flag": True}, tokenizer(None)))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "True"), (False, "False"), (None, "None"), (3, "3"), (-0.5, "-0.5"), ('o\'n "e"', 'o\'n "e"')],
)
def test_an_option_keeps_its_value(value: Any, shown: str) -> None:
    assert text(chosen(None, {"flag": value}, tokenizer())) == f"x|{shown}<eos>"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_any_value_that_yaml_can_hold_is_written_as_it_is(value: Any) -> None:
    from datetime import datetime

    from luthier.tokens.sandbox import environment

    told = chosen(None, {"flag": value}, tokenizer("{{ flag|tojson }}"))
    made = environment(datetime(2026, 1, 1))
    assert isinstance(told, str)
    assert made.from_string(told).render() == made.from_string("{{ flag|tojson }}").render(flag=value)


def test_an_option_holds_for_every_server() -> None:
    from datetime import datetime

    from luthier.tokens.sandbox import environment

    told = chosen(None, {"flag": "on"}, tokenizer("{{ flag }}"))
    assert isinstance(told, str)
    assert environment(datetime(2026, 1, 1)).from_string(told).render(flag="off") == "on"


@pytest.mark.parametrize("start", ["\n", "\n\n", "\r\n", "  \n", "x", "{% if true %}\ny{% endif %}", "{#- n #}\n"])
def test_options_do_not_change_the_beginning_of_a_template(start: str) -> None:
    own = start + "{{ messages[0].content }}"
    assert text(chosen(None, {"flag": 1}, tokenizer(own))) == text(own)


@pytest.mark.parametrize("name", names())
def test_each_of_ours_renders_and_teaches_to_stop(name: str) -> None:
    made = tokenizer(None)
    renderer = Renderer(made, template=chosen(name, {}, made), source=name)
    turns = (Message("user", "Why?"), Message("assistant", "Because."))
    result = renderer.encode(Example(turns, Source("here", 1)))
    assert isinstance(result, tuple), result
    assert "Because." in made.decode(result[0].input_ids[result[0].learned])


@pytest.mark.parametrize("name", ["llama3", "gemma", "raw"])
def test_ours_write_no_start_token_where_the_tokenizer_writes_none(name: str) -> None:
    turns = [Message("user", "x")]
    for starts in (True, False):
        made = tokenizer(None, starts=starts)
        told = Renderer(made, template=named(name, made)).text(turns)
        assert told.startswith("<bos>") == starts


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("ä{{ messages[0].content }}", encoding="utf-8")
    assert chosen(str(tmp_path / "mine.jinja"), {}, tokenizer()) == "ä{{ messages[0].content }}"


def test_a_name_that_is_nearly_one_of_ours_is_told() -> None:
    with pytest.raises(RecipeError, match="did you mean `chatml`") as error:
        chosen("chatlm", {}, tokenizer())
    assert "neither a file nor one of alpaca, chatml" in error.value.problem


@pytest.mark.parametrize(
    ("content", "reason"), [(b"x" * (LARGEST + 1), "larger than a megabyte"), (b"\xff\xfe{{", "not UTF-8")]
)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file.jinja"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=reason) as error:
        chosen(str(path), {}, tokenizer())
    assert error.value.place == str(path)


def test_a_folder_is_no_template(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="neither a file"):
        chosen(str(tmp_path), {}, tokenizer())
