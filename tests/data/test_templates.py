"""Texts that are filled prompt templates become the conversations that were filled in."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.formats.templates import filled

ALPACA = "Below is an instruction that describes a task. Write a response that completes it.\n\n"


def turns(text: str) -> list[str]:
    return [f"{turn['role'][0]}:{turn['content']}" for turn in filled(text)]


@pytest.mark.parametrize(
    "text",
    [
        f"{ALPACA}### Instruction:\nQ\n\n### Response:\nA</s>",
        "### Instruction:\nQ\n\n### Response:\nA",
        "### Question: Q\n### Answer: A<|endoftext|>",
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n",
        "<s>[INST] Q [/INST] A </s>",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|end_of_text|>",
        "<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
        "<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>",
        "<|user|>\nQ</s>\n<|assistant|>\nA</s>",
    ],
)
def test_every_template_gives_its_question_and_answer(text: str) -> None:
    assert turns(text) == ["u:Q", "a:A"]


def test_systems_inputs_and_further_turns_are_kept() -> None:
    assert turns("Be brief.\n\n### Instruction:\nQ\n\n### Input:\nI\n\n### Response:\nA") == [
        "s:Be brief.",
        "u:Q\n\nI",
        "a:A",
    ]
    llama = "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST] A </s><s>[INST] q [/INST] a </s>"
    assert turns(llama) == ["s:S", "u:Q", "a:A", "u:q", "a:a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The template of Alpaca is\n" + "long " * 300 + "\n### Instruction:\nQ\n### Response:\nA",
        "In ChatML, <|im_start|>user\nQ<|im_end|> is a turn.",
        "<|im_start|>user\nQ<|im_end|> and more <|im_start|>assistant\nA<|im_end|>",
        "[INST] Q [INST] q [/INST] A",
        "### Response:\nA\n### Instruction:\nQ",
        "### Instruction:\nQ\n### Instruction:\nq\n### Response:\nA",
    ],
)
def test_a_text_that_only_holds_pieces_of_one_is_none(text: str) -> None:
    assert filled(text) == []


word = st.text("ab \n", max_size=8).map(str.strip)


@given(st.lists(st.tuples(word, word), min_size=1, max_size=4))
def test_what_was_filled_into_chatml_comes_back(pairs: list[tuple[str, str]]) -> None:
    said = [(role, text) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)]
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in said)
    assert [(turn["role"], turn["content"]) for turn in filled(text)] == said


@pytest.mark.parametrize(
    "piece", ["<|im_start|>user\n", "[INST]", "### Instruction:", "<|user|>", "</s>", "\n### (", "<s>"]
)
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    began = time.monotonic()
    filled(piece * 50_000)
    assert time.monotonic() - began < 2
