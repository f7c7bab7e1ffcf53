from pathlib import Path

import numpy as np
import pytest

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source
from luthier.model.load import load_tokenizer, stop_ids
from luthier.tokens.render import JOINED, Encoded, Refused, Renderer, Result

HERE = Source("here", 1)
OPENING = "{% if add_generation_prompt %}assistant:\n{% endif %}"


@pytest.fixture(scope="module")
def renderer(tiny_llama: Path) -> Renderer:
    return Renderer(load_tokenizer(tiny_llama), stop_ids(tiny_llama))


def conversation(*turns: tuple[str, str]) -> Example:
    return Example(tuple(Message(role, text) for role, text in turns), HERE)


def one(result: Result) -> Encoded:
    assert isinstance(result, tuple), result
    assert len(result) == 1
    return result[0]


def learned_text(renderer: Renderer, encoded: Encoded) -> str:
    return str(renderer.tokenizer.decode(encoded.input_ids[encoded.learned]))


def test_only_the_answer_and_its_stop_token_are_learned(renderer: Renderer) -> None:
    encoded = one(renderer.encode(conversation(("system", "Be kind."), ("user", "Why?"), ("assistant", "Because."))))
    assert learned_text(renderer, encoded) == "Because.<|im_end|>"


def test_every_answer_of_a_long_conversation_is_learned(renderer: Renderer) -> None:
    encoded = one(
        renderer.encode(
            conversation(("user", "One?"), ("assistant", "First."), ("user", "Two?"), ("assistant", "Second."))
        )
    )
    assert learned_text(renderer, encoded) == "First.<|im_end|>Second.<|im_end|>"


def test_the_mask_equals_the_templates_own_generation_markers(renderer: Renderer) -> None:
    example = conversation(
        ("user", "A peg slips."), ("assistant", "It’s dry.\nUse chalk."), ("user", "ok"), ("assistant", "")
    )
    encoded = one(renderer.encode(example))
    reference = renderer.tokenizer.apply_chat_template(
        [message.as_dict() for message in example.messages],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert encoded.input_ids.tolist() == reference["input_ids"]
    assert encoded.learned.astype(int).tolist() == reference["assistant_masks"]


def test_text_of_the_user_that_looks_like_an_answer_is_not_learned(renderer: Renderer) -> None:
    encoded = one(renderer.encode(conversation(("user", "Say Because."), ("assistant", "No."))))
    assert learned_text(renderer, encoded) == "No.<|im_end|>"


def test_what_is_trained_on_begins_with_what_a_server_is_asked(renderer: Renderer) -> None:
    example = conversation(("user", "Why does it buzz?"), ("assistant", "A loose string."))
    encoded = one(renderer.encode(example))
    asked = renderer.prompt_ids(example.messages[:1])
    assert encoded.input_ids[: len(asked)].tolist() == asked
    assert not encoded.learned[: len(asked)].any()
    assert encoded.learned[len(asked)]


def test_the_last_learned_token_is_a_stop_token(renderer: Renderer) -> None:
    encoded = one(renderer.encode(conversation(("user", "Why?"), ("assistant", "Because."))))
    assert renderer.learns_to_stop(encoded)


def test_an_answer_without_a_stop_token_is_noticed(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role + ':\n' + m.content + '\n' }}{% endfor %}" + OPENING
    renderer = Renderer(tokenizer)
    encoded = one(renderer.encode(conversation(("user", "Why?"), ("assistant", "Because."))))
    assert learned_text(renderer, encoded) == "Because.\n"
    assert not renderer.learns_to_stop(encoded)


def test_a_template_that_rewrites_earlier_turns_is_refused_not_learned_wrongly(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ':\n' }}"
        "{{ (m.content if loop.last else m.content[:3]) + '<|im_end|>' }}{% endfor %}" + OPENING
    )
    encoded = Renderer(tokenizer).encode(conversation(("user", "Why is it?"), ("assistant", "Because it is.")))
    assert isinstance(encoded, Refused)
    assert "changes earlier text" in encoded.reason


def test_a_template_that_raises_is_a_reason_not_a_crash(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    encoded = Renderer(tokenizer).encode(conversation(("user", "Why?"), ("assistant", "Because.")))
    assert isinstance(encoded, Refused)
    assert "roles must alternate" in encoded.reason


def test_a_model_without_a_template_gets_the_plain_one_and_learns_to_stop(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = None
    renderer = Renderer(tokenizer)
    encoded = one(renderer.encode(conversation(("user", "Why?"), ("assistant", "Because."))))
    assert renderer.source == "plain"
    assert learned_text(renderer, encoded) == "Because.<|im_end|>"
    assert renderer.tokenizer.decode(encoded.input_ids) == "user: Why?\nassistant:\nBecause.<|im_end|>\n"


def test_a_tokenizer_without_a_stop_token_is_refused(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no answer would ever end"):
        Renderer(tokenizer)


def test_ids_and_flags_have_one_length(renderer: Renderer) -> None:
    encoded = one(renderer.encode(conversation(("user", "Ünïcode 🎻?"), ("assistant", "🎻 yes — naïve"))))
    assert encoded.input_ids.shape == encoded.learned.shape == (encoded.length,)
    assert encoded.input_ids.dtype == np.int32
    assert learned_text(renderer, encoded) == "🎻 yes — naïve<|im_end|>"


def test_a_prompt_that_would_run_into_the_answer_s_first_token_is_encoded_apart(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    renderer = Renderer(tokenizer)
    # "the" after a space is one token of this vocabulary, so the space would be taken out of the prompt.
    example = conversation(("user", "Why?"), ("assistant", "the low string."))
    encoded = one(renderer.encode(example))
    asked = renderer.prompt_ids(example.messages[:1])
    assert encoded.input_ids[: len(asked)].tolist() == asked
    assert learned_text(renderer, encoded) == "the low string.<|im_end|>"
    assert encoded.traits == {JOINED}


def test_indentation_is_learned_whatever_place_the_tokenizer_gives_spaces(tiny_llama: Path) -> None:
    from tokenizers import processors

    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    renderer = Renderer(tokenizer)
    encoded = one(renderer.encode(conversation(("user", "Code?"), ("assistant", "def f():\n    return  1"))))
    assert learned_text(renderer, encoded) == "def f():\n    return  1<|im_end|>"


def test_a_turn_of_weight_0_is_context_only(renderer: Renderer) -> None:
    turns = (
        Message("user", "One?"),
        Message("assistant", "First.", {"weight": 0}),
        Message("user", "Two?"),
        Message("assistant", "Second.", {"weight": 1}),
    )
    assert learned_text(renderer, one(renderer.encode(Example(turns, HERE)))) == "Second.<|im_end|>"


def test_a_conversation_may_begin_with_an_answer_where_the_template_shows_how_it_opens(renderer: Renderer) -> None:
    encoded = one(renderer.encode(conversation(("assistant", "Hello."), ("user", "Hi."), ("assistant", "Yes?"))))
    assert learned_text(renderer, encoded) == "Hello.<|im_end|>Yes?<|im_end|>"


def test_a_conversation_that_begins_with_an_answer_nobody_asks_for_is_refused(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = "{{ messages[0].role }}" + tokenizer.chat_template
    encoded = Renderer(tokenizer).encode(conversation(("assistant", "Hello."), ("user", "Hi.")))
    assert isinstance(encoded, Refused)
    assert "begins with an answer" in encoded.reason
