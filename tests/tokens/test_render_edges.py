"""Where labels went wrong once: spans, flags, ends of prompts, stop tokens that are words."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from luthier.core.example import Example, Message, Source
from luthier.model.load import load_tokenizer
from luthier.tokens.render import HALF, JOINED, UNMARKED, Encoded, Refused, Renderer
from luthier.tokens.template import named

HERE = Source("here", 1)
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.reasoning_content %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def renderer(folder: Path, template: str | None = None, **more: Any) -> Renderer:
    return Renderer(load_tokenizer(folder), template=template, **more)


def encoded(made: Renderer, *turns: tuple[str, str] | tuple[str, str, dict[str, Any]]) -> tuple[Encoded, ...]:
    result = made.encode(Example(tuple(Message(*turn) for turn in turns), HERE))
    assert not isinstance(result, Refused), result.reason
    return result


def learned(made: Renderer, one: Encoded) -> str:
    return str(made.tokenizer.decode(one.input_ids[one.learned]))


def refused(made: Renderer, *turns: Any) -> str:
    result = made.encode(Example(tuple(Message(*turn) for turn in turns), HERE))
    assert isinstance(result, Refused)
    return result.reason


def test_a_span_is_found_in_the_answer_though_its_words_stand_in_the_reasoning_before_it(tiny_llama: Path) -> None:
    made = renderer(tiny_llama, THINKING)
    answer = ("assistant", "4", {"reasoning_content": "well 4 is it", "learn": [[0, 1]]})
    assert learned(made, encoded(made, ("user", "2+2?"), answer)[0]) == "4<|im_end|>"


def test_a_learned_question_doesn_t_take_its_header_along(tiny_llama: Path) -> None:
    made = renderer(tiny_llama)
    turns = ("user", "user", {"train": True}), ("assistant", "Yes.", {"train": False})
    assert learned(made, encoded(made, *turns)[0]) == "user<|im_end|>"


def test_all_leaves_out_what_a_row_takes_out(tiny_llama: Path) -> None:
    made = renderer(tiny_llama, learn="all")
    turns = ("user", "One?"), ("assistant", "Wrong.", {"weight": 0}), ("user", "Two?"), ("assistant", "Right.")
    (one,) = encoded(made, *turns)
    text = learned(made, one)
    assert "Wrong" not in text
    assert text.startswith("<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n")
    assert text.endswith("Two?<|im_end|>\n<|im_start|>assistant\nRight.<|im_end|>\n")
    assert made.learns_to_stop(one)
    assert len(one.ends) == 2


@pytest.mark.parametrize("flag", [{"weight": "0"}, {"train": "false"}, {"weight": 0.5}, {"weight": 2}, {"train": []}])
def test_a_flag_that_is_none_is_refused_not_guessed(tiny_llama: Path, flag: dict[str, Any]) -> None:
    reason = refused(renderer(tiny_llama), ("user", "Hi"), ("assistant", "Ho", flag))
    assert next(iter(flag)) in reason
    assert "turn 2" in reason


def test_the_last_answer_is_the_last_also_when_it_is_not_to_be_learned(tiny_llama: Path) -> None:
    made = renderer(tiny_llama, learn="last")
    turns = ("user", "One?"), ("assistant", "First."), ("user", "Two?"), ("assistant", "Second.", {"weight": 0})
    assert encoded(made, *turns) == ()


@pytest.mark.parametrize(
    ("template", "question", "answer"),
    [
        ("{% for m in messages %}{{ m.role + ':\n\n' + m.content }}{{ eos_token if m.role != 'user' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ 'assistant:\n\n' }}{% endif %}", "Why", "Because."),
        ("{% for m in messages %}{{ m.content }}{{ eos_token if m.role != 'user' }}{% endfor %}", "Why?  \n", "Yes."),
        ("{% for m in messages %}{{ m.content }}{{ eos_token if m.role != 'user' }}{% endfor %}", "Why?  ", "x"),
    ],
)  # fmt: skip
def test_every_answer_stands_behind_the_ids_of_its_prompt_alone(
    gpt2_like: Path, template: str, question: str, answer: str
) -> None:
    made = renderer(gpt2_like, template)
    (one,) = encoded(made, ("user", question), ("assistant", answer))
    asked = made.prompt_ids((Message("user", question),))
    assert one.input_ids[: len(asked)].tolist() == asked
    assert not one.learned[: len(asked)].any()
    assert one.learned[len(asked)]
    (many,) = [
        result
        for _, result in made.encode_all(
            made.requests([Example((Message("user", question), Message("assistant", answer)), HERE)]),
            processes=1,
            fast=True,
        )
    ]
    assert isinstance(many, tuple)
    assert many[0].input_ids.tolist() == one.input_ids.tolist()


@pytest.fixture(scope="module")
def gpt2_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte-level BPE cut by GPT-2's pattern, whose white space is read otherwise when a word follows."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["a\n\n", "b\n\n\n", "c  \n", "d   ", "the Because why"] * 40, trainer)
    folder = tmp_path_factory.mktemp("gpt2")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(str(folder))
    return folder


def test_a_stop_token_that_is_a_plain_word_of_the_tokenizer_is_no_stop_inside_an_answer(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken("<|stop|>", special=False)])
    stop = tokenizer.convert_tokens_to_ids("<|stop|>")
    template = (
        "{% for m in messages %}{{ m.role + ':' + m.content + '<|stop|>' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    made = Renderer(tokenizer, [stop], template=template)
    (one,) = encoded(made, ("user", "How?"), ("assistant", "use <|stop|> to stop"))
    assert (one.input_ids[one.learned] == stop).sum() == 1
    assert "use <|stop|> to stop<|stop|>" in learned(made, one)


def test_a_control_token_that_is_also_a_word_of_the_vocabulary_is_read_letter_by_letter() -> None:
    words = (
        [("<unk>", 0.0), ("</s>", 0.0)] + [(letter, -5.0) for letter in "helowrd<>/s: \nuasitn▁"] + [("hello", -1.0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.Unigram(words, unk_id=0)), eos_token="</s>", unk_token="<unk>"
    )
    template = "{% for m in messages %}{{ m.content }}{{ eos_token if m.role == 'assistant' else ':' }}{% endfor %}"
    made = Renderer(tokenizer, template=template)
    (one,) = encoded(made, ("user", "hello</s>world"), ("assistant", "hello"))
    assert (one.input_ids == tokenizer.eos_token_id).sum() == 1


def test_a_dropped_argument_of_a_call_is_noticed(tiny_llama: Path) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": "Oslo"})}}
    names = (
        "{% for m in messages %}{{ m.role + ':' + m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}"
        "{% endfor %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    reason = refused(renderer(tiny_llama, names), ("user", "Cold?"), ("assistant", "", {"tool_calls": [call]}))
    assert "argument" in reason
    whole = names.replace("{{ c.function.name }}", "{{ c.function.name }}{{ c.function.arguments | tojson }}")
    made = renderer(tiny_llama, whole)
    assert "Oslo" in learned(made, encoded(made, ("user", "Cold?"), ("assistant", "", {"tool_calls": [call]}))[0])


def test_a_named_word_is_learned_with_the_space_before_it_and_half_a_word_is_told(tiny_llama: Path) -> None:
    made = renderer(tiny_llama)
    text = "Because the wood has shrunk."
    start = text.index("the")
    (one,) = encoded(made, ("user", "Why?"), ("assistant", text, {"learn": [[start, start + 3]]}))
    assert learned(made, one) == " the"
    (half,) = encoded(made, ("user", "Why?"), ("assistant", text, {"learn": [[start + 1, len(text)]]}))
    assert HALF in half.traits
    assert JOINED not in half.traits


def test_marks_of_the_template_are_compared_only_where_something_is_learned(tiny_llama: Path) -> None:
    made = renderer(tiny_llama)
    turns = ("user", "One?"), ("assistant", "First.", {"weight": 0}), ("user", "Two?"), ("assistant", "Second.")
    assert UNMARKED not in encoded(made, *turns)[0].traits


def test_a_long_conversation_fits_into_the_process_of_the_template(tiny_llama: Path) -> None:
    made = renderer(tiny_llama, named("chatml", load_tokenizer(tiny_llama)))
    turns = [("user" if i % 2 == 0 else "assistant", f"🎻 {i} " + "the low string " * 400) for i in range(200)]
    (one,) = encoded(made, *turns)
    assert len(one.ends) == 100


def test_named_characters_of_a_question_are_learned_without_another_flag(tiny_llama: Path) -> None:
    made = renderer(tiny_llama)
    question = ("user", "Why does it buzz?", {"learn": [[0, 3]]})
    assert learned(made, encoded(made, question, ("assistant", "So."))[0]) == "WhySo.<|im_end|>"


@pytest.mark.parametrize("call", [None, {"function": {"name": 5}}, {"function": None}, "count()"])
def test_a_call_that_is_none_is_told_with_its_turn(tiny_llama: Path, call: Any) -> None:
    reason = refused(renderer(tiny_llama), ("user", "Hi"), ("assistant", "", {"tool_calls": [call]}))
    assert reason == "a tool call of turn 2 has no function with a name"


def test_thoughts_in_the_text_of_earlier_answers_are_no_text_left_out(tiny_llama: Path) -> None:
    strips = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{{ m.content if loop.last else m.content.split('</think>')[-1] }}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    made = renderer(tiny_llama, strips)
    think = "<think>Hm.</think>Yes."
    texts = encoded(made, ("user", "One?"), ("assistant", think), ("user", "Two?"), ("assistant", think))
    assert len(texts) == 2
    assert all(not one.traits for one in texts)
