"""A conversation in one text as a prompt template wrote it: ChatML, Llama's, Gemma's, Phi's, Mistral's, Alpaca's.

The whole text must be of the template: a text that quotes one is no conversation.

Sources: the templates in https://github.com/tatsu-lab/stanford_alpaca and in the tokenizers of the models.
"""

import re
from itertools import pairwise
from typing import NamedTuple

Turns = list[dict[str, str]]

SPEAKERS = {"model": "assistant", "ipython": "tool"}
"""Roles that others call otherwise."""

BEGINS = ("<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>")
ENDS = ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")


class Marked(NamedTuple):
    """A template in which every turn begins with a control token that says who speaks."""

    opens: re.Pattern[str]
    """Begins a turn; the group is the role."""
    closes: str
    """Ends it, and stands nowhere else."""


MARKED = (
    Marked(re.compile(r"<\|im_start\|>(system|user|assistant|tool)\n"), "<|im_end|>"),
    Marked(
        re.compile(r"<\|start_header_id\|>(system|user|assistant|ipython)<\|end_header_id\|>\n\n"),
        "<|eot_id|>",
    ),
    Marked(re.compile(r"<start_of_turn>(user|model)\n"), "<end_of_turn>"),
    Marked(re.compile(r"<\|(system|user|assistant)\|>\n?"), "<|end|>"),
)

INSTRUCTED = re.compile(r"(\[/?INST\])")
SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)

HEADINGS = re.compile(r"^### ?(Instruction|Question|Input|Context|Response|Output|Answer):[ \t]*", re.MULTILINE)
PREAMBLE = "Below is an instruction that describes a task"
LONGEST_PREAMBLE = 1000
"""Characters before the first heading from which on a text is no prompt, but something that holds one."""


def filled(text: str) -> Turns:
    """Return the turns of a text that is a filled template, without the spaces around them; none of another text."""
    text = text.strip()
    for sign in BEGINS:
        text = text.removeprefix(sign).lstrip()
    if text.startswith("[INST]"):
        return _instructed(text)
    if text.startswith("<"):
        return next((turns for template in MARKED if (turns := _marked(text, template))), [])
    return _headed(text)


def _marked(text: str, template: Marked) -> Turns:
    before, *pieces = template.opens.split(text)
    turns = [
        {"role": SPEAKERS.get(role, role), "content": _ended(said)}
        for role, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    return [] if before or any(template.closes in turn["content"] for turn in turns) else turns


def _instructed(text: str) -> Turns:
    """Return the turns of `[INST] <<SYS>> … <</SYS>> … [/INST] … </s>`, as Llama 2 and Mistral have it."""
    _, *pieces = INSTRUCTED.split(text)
    if any(one == other for one, other in pairwise(pieces[::2])):
        return []
    turns = [
        {"role": "user" if mark == "[INST]" else "assistant", "content": _ended(said)}
        for mark, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    if system := SYSTEM.match(turns[0]["content"]):
        turns[0]["content"] = turns[0]["content"][system.end() :].strip()
        turns.insert(0, {"role": "system", "content": system[1].strip()})
    return turns


def _headed(text: str) -> Turns:
    """Return the turns of `### Instruction: … ### Input: … ### Response: …`; what stands before is the system's."""
    before, *pieces = HEADINGS.split(text)
    if not pieces or len(before) > LONGEST_PREAMBLE:
        return []
    asks = before.strip() and not before.startswith(PREAMBLE)
    turns = [{"role": "system", "content": before.strip()}] if asks else []
    for heading, piece in zip(pieces[::2], pieces[1::2], strict=True):
        last, said = turns[-1]["role"] if turns else "", piece.strip()
        if heading in ("Instruction", "Question") and last != "user":
            turns.append({"role": "user", "content": said})
        elif heading in ("Input", "Context") and last == "user":
            turns[-1]["content"] = "\n\n".join(filter(None, (turns[-1]["content"], said)))
        elif heading in ("Response", "Output", "Answer") and last == "user":
            turns.append({"role": "assistant", "content": _ended(said)})
        else:
            return []
    return turns


def _ended(said: str) -> str:
    """Return what a turn says without the token, or the two, that end it and the text."""
    said = said.strip()
    for _ in range(2):
        said = next((said.removesuffix(sign).rstrip() for sign in ENDS if said.endswith(sign)), said)
    return said.removesuffix("<s>").rstrip().removesuffix("</s>").rstrip() if said.endswith("<s>") else said
