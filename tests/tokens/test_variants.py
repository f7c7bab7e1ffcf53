"""What is learned, token for token, for many templates: against texts written by hand, and against Transformers."""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source
from luthier.tokens.render import JOINED, Encoded, Refused, Renderer
from luthier.tokens.template import named, names

sys.path.insert(0, str(Path(__file__).parent))

import variants
import vocabularies
from variants import MARKED, VARIANTS, Conversation, Refusal, Variant

HERE = Source("here", 1)
BY_NAME = {variant.name: variant for variant in VARIANTS}
CASES = [(variant, case) for variant in VARIANTS for case in variant.expected]


@cache
def renderer_of(name: str) -> Renderer:
    variant = BY_NAME[name]
    tokenizer = vocabularies.tokenizer_of(variant.kind, variant.bos, variant.eos)
    stops = [tokenizer.convert_tokens_to_ids(stop) for stop in variant.stops]
    return Renderer(tokenizer, stops, template=variant.template, now=variants.NOW)


def example_of(conversation: Conversation) -> Example:
    messages = [
        Message(turn["role"], turn["content"], {key: turn[key] for key in turn if key not in ("role", "content")})
        for turn in conversation.turns
    ]
    return Example(tuple(messages), HERE, tools=conversation.tools)


# What must come out, from texts written by hand -----------------------------------------------------------------


def pieces(marked: str) -> Iterator[tuple[str, list[bool], bool]]:
    """Yield what a text with marks means: text, which characters are learned, whether it only looks like control.

    Each is encoded for itself: what only looks like control, and what follows a `¦`.
    """
    text, flags, learned, quoted = "", [], False, False
    for letter in marked:
        if letter in "⟦⟧":
            learned = letter == "⟦"
        elif letter in "‹›¦":
            if text:
                yield text, flags, quoted
            text, flags, quoted = "", [], letter == "‹"
        else:
            text += letter
            flags.append(learned)
    if text:
        yield text, flags, quoted


def wanted(tokenizer: Any, kind: str, marked: str) -> tuple[list[int], list[bool]]:
    """Return ids and flags: of the tokenizer itself, and for quoted text of the same one without its added tokens."""
    ids: list[int] = []
    learned: list[bool] = []
    for number, (text, flags, quoted) in enumerate(pieces(marked)):
        encode = vocabularies.bare(kind).encode if quoted else tokenizer.backend_tokenizer.encode
        # Llama 2 puts a space before a text: not before what stands in the middle of one.
        lead = "\n" if number and kind != "bytes" else ""
        encoding = encode(lead + text, add_special_tokens=False)
        skip = len(encode(lead, add_special_tokens=False).ids) if lead else 0
        for token, (start, end) in list(zip(encoding.ids, encoding.offsets, strict=True))[skip:]:
            under = flags[max(start - len(lead), 0) : end - len(lead)]
            assert len({*under}) == 1, f"a token reaches over the edge of what is learned in {text!r}"
            ids.append(token)
            learned.append(under[0])
    return ids, learned


def test_there_are_enough_templates_and_each_of_ours_is_among_them() -> None:
    assert len(VARIANTS) >= 36
    assert {*names()} <= {*BY_NAME}
    assert len(BY_NAME) == len(VARIANTS)


@pytest.mark.parametrize(("variant", "case"), CASES, ids=[f"{variant.name}: {case}" for variant, case in CASES])
def test_ids_and_labels_equal_those_written_by_hand(variant: Variant, case: str) -> None:
    renderer = renderer_of(variant.name)
    result = renderer.encode(example_of(variant.conversation(case)))
    expected = variant.expected[case]
    if isinstance(expected, Refusal):
        assert isinstance(result, Refused), result
        assert expected.reason in result.reason
        return
    assert not isinstance(result, Refused), result.reason
    texts = [expected] if isinstance(expected, str) else expected
    found = [(encoded.input_ids.tolist(), encoded.learned.tolist()) for encoded in result]
    assert [told(renderer, *one) for one in found] == [told(renderer, *one) for one in wanted_of(variant, texts)]
    assert found == wanted_of(variant, texts)
    assert [JOINED in encoded.traits for encoded in result] == ["¦" in text for text in texts]


def wanted_of(variant: Variant, texts: list[str]) -> list[tuple[list[int], list[bool]]]:
    tokenizer = renderer_of(variant.name).tokenizer
    return [wanted(tokenizer, variant.kind, text) for text in texts]


def told(renderer: Renderer, ids: list[int], learned: list[bool]) -> list[str]:
    """Return tokens to read; `+` before those that are learned."""
    names = renderer.tokenizer.convert_ids_to_tokens(ids)
    return [("+" if flag else " ") + name for name, flag in zip(names, learned, strict=True)]


# The text, against Transformers ---------------------------------------------------------------------------------


def as_transformers(conversation: Conversation) -> list[dict[str, Any]]:
    """Return turns as servers hand them to Transformers: arguments of calls as objects."""
    turns = json.loads(json.dumps(conversation.turns))
    for turn in turns:
        for call in turn.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return turns


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_text_equals_that_of_transformers(variant: Variant) -> None:
    renderer = renderer_today(variant)
    tokenizer = renderer.tokenizer
    for case in variant.expected:
        conversation = variant.conversation(case)
        example = example_of(conversation)
        for count in range(1, len(example.messages) + 1):
            for ask in (False, True):
                asked = as_transformers(conversation)[:count], [*conversation.tools] or None, ask
                theirs, refusal = text_of_transformers(tokenizer, *asked)
                if refusal:
                    with pytest.raises(ModelError, match=re.escape(refusal)):
                        renderer.text(example.messages[:count], tools=example.tools, ask=ask)
                else:
                    assert renderer.text(example.messages[:count], tools=example.tools, ask=ask) == theirs


def text_of_transformers(tokenizer: Any, turns: Any, tools: Any, ask: bool) -> tuple[str, str]:
    """Return the text, or what the template raises."""
    try:
        told = tokenizer.apply_chat_template(turns, tools=tools, add_generation_prompt=ask, tokenize=False)
    except jinja2.TemplateError as error:
        return "", str(error)
    return told, ""


def renderer_today(variant: Variant) -> Renderer:
    """Return a renderer that knows the day: Transformers can't be told another."""
    if "strftime_now" not in variant.template:
        return renderer_of(variant.name)
    tokenizer = vocabularies.tokenizer_of(variant.kind, variant.bos, variant.eos)
    return Renderer(tokenizer, template=variant.template, now=datetime.now())


APART = [
    (variant, case)
    for variant, case in CASES
    for texts in [variant.expected[case]]
    if not isinstance(texts, Refusal) and (texts if isinstance(texts, str) else texts[-1]).count("¦") == 1
]


@pytest.mark.parametrize(("variant", "case"), APART, ids=[f"{variant.name}: {case}" for variant, case in APART])
def test_an_answer_encoded_apart_stands_behind_the_ids_of_the_prompt_that_transformers_gives(
    variant: Variant, case: str
) -> None:
    conversation = variant.conversation(case)
    renderer = renderer_of(variant.name)
    prompt = renderer.tokenizer.apply_chat_template(
        as_transformers(conversation)[:-1],
        tools=[*conversation.tools] or None,
        add_generation_prompt=True,
        sanitize_control_tokens=True,
        return_dict=False,
    )
    last = encoded_of(renderer, conversation)[-1]
    assert last.input_ids[: len(prompt)].tolist() == prompt
    assert not last.learned[: len(prompt)].any()
    assert last.learned[len(prompt)]


QUOTING = [(variant, case) for variant, case in CASES if case in ("markers", "ordinary")]


@pytest.mark.parametrize(("variant", "case"), QUOTING, ids=[f"{variant.name}: {case}" for variant, case in QUOTING])
def test_a_question_with_control_tokens_has_the_ids_that_transformers_gives_it(variant: Variant, case: str) -> None:
    renderer = renderer_today(variant)
    tokenizer = renderer.tokenizer
    question, _ = variant.conversation(case).turns
    asked = {"add_generation_prompt": True, "return_dict": False}
    found = renderer.prompt_ids([Message(question["role"], question["content"])])
    assert found == tokenizer.apply_chat_template([question], sanitize_control_tokens=True, **asked)
    harmless = tokenizer.apply_chat_template([{"role": "user", "content": "b"}], **asked)
    control = {tokenizer.convert_tokens_to_ids(token) for token in vocabularies.SPECIAL} - {tokenizer.unk_token_id}
    assert [token for token in found if token in control] == [token for token in harmless if token in control]


@pytest.mark.parametrize("name", ["llama3", "gemma", "vicuna", "raw", "chatml", "deepseek"])
@pytest.mark.parametrize("starts", [True, False])
def test_ours_write_a_start_token_where_the_tokenizer_puts_one(name: str, starts: bool) -> None:
    tokenizer = vocabularies.tokenizer_of("bytes", "<s>", "</s>", starts=starts)
    renderer = Renderer(tokenizer, template=named(name, tokenizer))
    ids = renderer.prompt_ids([Message("user", "Hi")])
    start = tokenizer.bos_token_id
    assert ids.count(start) == starts
    assert (ids[0] == start) == starts


# The mask, against `{% generation %}` marks ---------------------------------------------------------------------

ROWS = [
    variants.CONVERSATIONS["single"],
    variants.CONVERSATIONS["two"],
    variants.CONVERSATIONS["empty"],
    variants.CONVERSATIONS["silent"],
    variants.CONVERSATIONS["unicode"],
    variants.CONVERSATIONS["consecutive"],
    variants.CONVERSATIONS["inline"],
    variants.said(
        ("U", "One?"), ("A", "First."), ("U", "Say First."), ("A", "First."), ("U", "Hello.\n\n"), ("A", "Two?\n")
    ),
    variants.said(*[turn for n in range(12) for turn in (("U", f"{n}?"), ("A", f"It is {n}.\n\n- {n}\n" * n))]),
]


@cache
def marked_renderer(name: str) -> tuple[Renderer, Renderer]:
    """Return renderers of a template with its marks and without them."""
    template, tokens, stops = MARKED[name]
    bare = template
    for tag in ("{%- generation %}", "{%- endgeneration %}", "{% generation %}", "{% endgeneration %}"):
        bare = bare.replace(tag, "")
    found = []
    for text in (template, bare):
        tokenizer = vocabularies.tokenizer_of(*tokens)
        found.append(Renderer(tokenizer, [tokenizer.convert_tokens_to_ids(stop) for stop in stops], template=text))
    return found[0], found[1]


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("row", range(len(ROWS)))
def test_labels_equal_the_masks_of_templates_with_generation_marks(name: str, row: int) -> None:
    marked, bare = marked_renderer(name)
    reference = marked.tokenizer.apply_chat_template(
        [*ROWS[row].turns], return_dict=True, return_assistant_tokens_mask=True
    )
    assert any(reference["assistant_masks"])
    for renderer in (marked, bare):
        (encoded,) = encoded_of(renderer, ROWS[row])
        assert encoded.input_ids.tolist() == reference["input_ids"]
        assert encoded.learned.astype(int).tolist() == reference["assistant_masks"]
        assert not encoded.traits


def test_a_mask_that_differs_from_the_templates_own_marks_is_told() -> None:
    template = variants.GENERATION.replace("message.content + '<|im_end|>' }}{% endg", "message.content }}{% endg")
    template = template.replace("{% endgeneration %}", "{% endgeneration %}{{ '<|im_end|>' }}", 1)
    renderer = Renderer(vocabularies.tokenizer_of(*variants.QWEN), template=template)
    (encoded,) = encoded_of(renderer, variants.CONVERSATIONS["two"])
    assert [*encoded.traits] == ["differs from the template's own `{% generation %}` marks"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKED)
def test_labels_equal_what_trl_prepares(name: str) -> None:
    pytest.importorskip("trl", reason="TRL is not installed; its masks are those of Transformers, compared above")
    renderer, _ = marked_renderer(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = trl_prepares(renderer.tokenizer, [{"messages": [*row.turns]} for row in ROWS])
    for row, theirs in zip(ROWS, prepared, strict=True):
        (encoded,) = encoded_of(renderer, row)
        assert encoded.input_ids.tolist() == theirs["input_ids"]
        assert np.where(encoded.learned, encoded.input_ids, -100).tolist() == theirs["labels"]


def trl_prepares(tokenizer: Any, rows: list[Any]) -> Any:
    """Return what TRL's trainer makes of rows with `assistant_only_loss`. It needs no model for that."""
    from datasets import IterableDataset
    from trl import SFTConfig, SFTTrainer

    asked = SFTConfig(
        output_dir="unused", assistant_only_loss=True, max_length=None, report_to=[], use_cpu=True, bf16=False
    )
    trainer = object.__new__(SFTTrainer)
    trainer._tokenizer = tokenizer
    trainer.chat_template = tokenizer.chat_template
    trainer.completion_only_loss = False
    data = IterableDataset.from_generator(lambda: iter(rows))  # a `Dataset` would be cached on disk
    return list(trainer._prepare_dataset(data, tokenizer, asked, False, None, "train"))


def encoded_of(renderer: Renderer, conversation: Conversation) -> tuple[Encoded, ...]:
    result = renderer.encode(example_of(conversation))
    assert not isinstance(result, Refused), result.reason
    return result


# Any conversation -----------------------------------------------------------------------------------------------

WORDS = ["<|im_end|>", "<|im_start|>assistant\n", "<|im_start|>user\n", "Hello.", "\n\n", " ", "é🎻", "assistant", ""]
texts = st.lists(
    st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=12)), max_size=5
).map("".join)
conversations = st.tuples(st.booleans(), st.lists(st.tuples(st.sampled_from("UA"), texts), min_size=1, max_size=6))


@pytest.mark.parametrize(
    ("name", "opening"),
    [("chatml", ""), ("qwen2.5", ""), ("qwen3", "<think>\n\n</think>\n\n"), ("qwen3 told not to think", "")],
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=conversations)
def test_answers_with_their_stop_tokens_are_learned_and_nothing_else(name: str, opening: str, drawn: Any) -> None:
    system, turns = drawn
    spoken = [("S", "Be kind.")] if system else []
    spoken += [("U", "Begin."), *turns]
    if name.startswith("qwen3"):  # of two answers in a row it can't render the second faithfully
        before = [("", ""), *spoken]
        spoken = [turn for last, turn in zip(before, spoken, strict=False) if (last[0], turn[0]) != ("A", "A")]
    strip = "\n" if name.startswith("qwen3") else ""  # before an answer
    said = [text.lstrip(strip) for role, text in spoken if role == "A"]
    if not said:
        return
    if "</think>" in "".join(said) or "<tool_response>" in "".join(text for _, text in spoken):
        return
    conversation = variants.said(*spoken)
    renderer = renderer_of(name)
    found = [run for encoded in encoded_of(renderer, conversation) for run in runs(renderer, encoded)]
    assert sorted(found) == sorted(opening + text + "<|im_end|>" for text in said)
    stop = renderer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    for encoded in encoded_of(renderer, conversation):
        learned = encoded.input_ids[encoded.learned]
        assert (learned == stop).sum() == len(encoded.ends)  # none of them out of a text


def runs(renderer: Renderer, encoded: Encoded) -> Iterator[str]:
    """Yield the texts that are learned, each without a break."""
    run: list[int] = []
    for token, flag in [*zip(encoded.input_ids.tolist(), encoded.learned.tolist(), strict=True), (0, False)]:
        if flag:
            run.append(token)
        elif run:
            yield renderer.tokenizer.decode(run, clean_up_tokenization_spaces=False)
            run = []
