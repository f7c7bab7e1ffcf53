"""The doctor: silent about a good template, and each check finds the fault it is for."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import vocabularies

from luthier.core.errors import ModelError
from luthier.core.report import Check
from luthier.model.load import load_tokenizer
from luthier.tokens.render import Renderer
from luthier.tokens.verify import verify

TOOLS = "{% if tools %}{{ '<|im_start|>system\n' + tools|tojson + '<|im_end|>\n' }}{% endif %}"
CALLS = "{% for call in m.tool_calls or [] %}{{ call.function|tojson }}{% endfor %}"
TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content }}" + CALLS + "{{ '<|im_end|>\n' }}"
OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def each(turn: str = TURN, before: str = TOOLS, opening: str = OPENING) -> str:
    return before + "{% for m in messages %}" + turn + "{% endfor %}" + opening


THOUGHTS = "{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}"
GOOD = each("{{ '<|im_start|>' + m.role + '\n' }}" + THOUGHTS + "{{ m.content }}" + CALLS + "{{ '<|im_end|>\n' }}")


def checks(folder: Path, template: Any, **more: Any) -> dict[str, Check]:
    room = more.pop("room", None)
    renderer = Renderer(load_tokenizer(folder), template=template, now=datetime(2026, 3, 9), **more)
    return {check.name: check for check in verify(renderer, room=room)}


def test_a_good_template_is_fine_in_every_respect(tiny_llama: Path) -> None:
    found = checks(tiny_llama, GOOD, room=10_000)
    assert {name: check.status for name, check in found.items()} == dict.fromkeys(found, "ok")
    assert len(found) == 13


def test_every_warning_and_failure_has_a_hint(tiny_llama: Path) -> None:
    for template, name, _ in BROKEN.values():
        check = checks(tiny_llama, template)[name]
        assert check.hint or check.status == "note"


BROKEN: dict[str, tuple[str, str, tuple[str, str]]] = {
    "writes the date": (each(before=TOOLS + "{{ strftime_now('%d %b %Y') }}"), "template", ("note", "2026-03-09")),
    "opens answers otherwise": (
        each(opening="{% if add_generation_prompt %}{{ '<|im_start|>bot\n' }}{% endif %}"),
        "generation_prompt",
        ("failure", "changes earlier text"),
    ),
    "opens no answer": (
        each(opening="{% if add_generation_prompt %}{{ raise_exception('no') }}{% endif %}"),
        "generation_prompt",
        ("failure", "no"),
    ),
    "drops answers": (
        each(TURN.replace("m.content", "('' if m.role == 'assistant' else m.content)")),
        "generation_prompt",
        ("failure", "drops a part of the text of turn 2"),
    ),
    "refuses everything": ("{{ raise_exception('never') }}", "generation_prompt", ("failure", "never")),
    "ends without a stop token": (
        each(TURN.replace("<|im_end|>", "")),
        "stop_learned",
        ("warning", "answers don't end with a stop token (`<|im_end|>`)"),
    ),
    "ends with another token": (
        each(TURN.replace("<|im_end|>", "<|endoftext|>")),
        "stop_learned",
        ("warning", "the model may never end"),
    ),
    "strips thoughts of earlier turns": (
        each(
            GOOD.split("{% for m in messages %}")[1]
            .split("{% endfor %}" + OPENING)[0]
            .replace("m.reasoning_content %}", "m.reasoning_content and loop.index0 >= messages|length - 1 %}")
        ),
        "history",
        ("note", "rewrites earlier turns"),
    ),
    "writes only one question": (
        "{% if messages|length > 2 %}{{ raise_exception('one question only') }}{% endif %}" + each(),
        "history",
        ("note", "one question only"),
    ),
    "leaves system prompts out": (
        each("{% if m.role != 'system' %}" + TURN + "{% endif %}"),
        "system",
        ("warning", "leaves system prompts out"),
    ),
    "refuses system prompts": (
        each("{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURN),
        "system",
        ("note", "system prompts are refused: the chat template refuses this conversation: no system"),
    ),
    "wants turns to alternate": (
        each(
            "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}" + TURN
        ),
        "roles",
        ("note", "two questions in a row, two answers in a row, an answer first"),
    ),
    "knows no tools": (each(TURN.replace(CALLS, "")), "tools", ("note", "does not write the tool call")),
    "does not list tools": (each(before=""), "tools", ("note", "the list of tools is not")),
    "marks the answer without its stop token": (
        each(
            "{{ '<|im_start|>' + m.role + '\n' }}{% generation %}{{ m.content }}{% endgeneration %}{{ '<|im_end|>\n' }}"
        ),
        "generation_marks",
        ("note", "cover other tokens"),
    ),
}


@pytest.mark.parametrize(("template", "name", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_each_fault_is_found_by_its_check(
    tiny_llama: Path, template: str, name: str, expected: tuple[str, str]
) -> None:
    check = checks(tiny_llama, template)[name]
    assert check.status == expected[0], check
    assert expected[1] in check.details


def test_a_mark_over_the_same_tokens_is_fine(tiny_llama: Path) -> None:
    turn = (
        "{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
        "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    )
    check = checks(tiny_llama, each(turn))["generation_marks"]
    assert (check.status, check.details) == ("ok", "the template's own `{% generation %}` marks cover the same tokens")


def test_a_model_without_a_template_is_told(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = None
    found = {check.name: check for check in verify(Renderer(tokenizer))}
    assert found["template"].status == "note"
    assert "brings no chat template" in found["template"].details


@pytest.mark.parametrize(("count", "status"), [(0, "note"), (1, "ok"), (2, "warning")])
def test_start_tokens_are_counted(count: int, status: str) -> None:
    tokenizer = vocabularies.tokenizer_of("bytes", "<s>", "</s>", starts=True)
    template = "{{ bos_token * " + str(count) + " }}" + each(TURN.replace("<|im_end|>", "</s>"))
    check = {check.name: check for check in verify(Renderer(tokenizer, template=template))}["start_token"]
    assert check.status == status


def test_a_tokenizer_that_puts_no_start_token_needs_none() -> None:
    tokenizer = vocabularies.tokenizer_of("bytes", "<s>", "</s>", starts=False)
    template = each(TURN.replace("<|im_end|>", "</s>"))
    check = {check.name: check for check in verify(Renderer(tokenizer, template=template))}["start_token"]
    assert (check.status, check.details) == ("ok", "no start token, as the template writes it")


def test_ids_that_do_not_say_what_the_text_said_are_found(tiny_llama: Path) -> None:
    from tokenizers import normalizers

    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    check = {check.name: check for check in verify(Renderer(tokenizer, template=GOOD))}["round_trip"]
    assert check.status == "warning"


def test_spaces_a_tokenizer_adds_are_a_note() -> None:
    tokenizer = vocabularies.tokenizer_of("llama2", "<s>", "</s>")
    template = each(
        "{{ '[INST] ' + m.content + '</s>' }}", before="", opening="{% if add_generation_prompt %}[INST] {% endif %}"
    )
    check = {check.name: check for check in verify(Renderer(tokenizer, template=template))}["round_trip"]
    assert check.status in ("ok", "note")


def test_control_tokens_that_a_template_builds_from_text_are_found(tiny_llama: Path) -> None:
    template = each(TURN.replace("m.content", "m.content|replace('pad', 'pad')|replace('\uf8ff', '')"))
    assert checks(tiny_llama, template)["control_tokens"].status == "ok"
    joined = each(TURN.replace("m.content", "m.content|replace('many', '<|im_' ~ 'end|>')"))
    assert checks(tiny_llama, joined)["control_tokens"].status == "ok"  # the same in both: the template's own


def test_a_pad_token_that_stops_is_told(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    found = {check.name: check for check in verify(Renderer(tokenizer, [tokenizer.pad_token_id], template=GOOD))}
    assert found["padding"].details.startswith("the pad token is a stop token")


def test_tokens_without_an_embedding_are_told(tiny_llama: Path) -> None:
    size = len(load_tokenizer(tiny_llama))
    assert checks(tiny_llama, GOOD, room=size)["vocabulary"].status == "ok"
    check = checks(tiny_llama, GOOD, room=size - 2)["vocabulary"]
    assert check.status == "warning"
    assert "2 more tokens" in check.details


@pytest.mark.parametrize("learn", ["last", "all"])
@pytest.mark.parametrize("template", [GOOD, *[told[0] for told in BROKEN.values()]])
def test_every_way_to_learn_is_looked_at_without_a_fault(tiny_llama: Path, template: str, learn: str) -> None:
    assert len(checks(tiny_llama, template, learn=learn)) == 13


@pytest.mark.parametrize(
    ("template", "reason"), [("{{ messages[0].role * 10**9 }}", "256 MB"), ("{% for %}", "can't be used")]
)
def test_a_template_that_reaches_a_limit_is_an_error(tiny_llama: Path, template: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        checks(tiny_llama, template)
