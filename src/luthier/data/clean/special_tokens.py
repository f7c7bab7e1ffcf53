"""Control tokens written in texts: left over from another template, or put there to open a turn.

luthier reads them as text when it trains (docs/decisions/0006), so they command nothing here. What they still do:
a stop token at the end of an answer is learned letter by letter and said so later; and a file that goes to another
trainer or server carries them there.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from luthier.core.example import Example
from luthier.core.text import one_line
from luthier.data.clean.step import Notes, Step, each, pinned, turns, with_texts
from luthier.data.rows import Refusal

KNOWN = (
    r"<\|[A-Za-z0-9][\w▁-]{0,40}\|>"  # ChatML, Llama 3 and 4, Phi, Zephyr, Falcon, Command R, GLM, Harmony
    r"|<\|/?(?:turn|channel|think|tool|tool_call|tool_response)>"  # Gemma 4
    r"|<(?:turn|channel|tool_call|tool_response)\|>"
    r"|<｜[^｜<>\n]{1,40}｜>"  # DeepSeek, full-width bars
    r"|</?s>|<</?SYS>>|\[/?INST\]|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|ARGS)\]"
    r"|<(?:start_of_turn|end_of_turn|start_of_image|bos|eos|eop|sop|eod|eoa|eoh)>|\[gMASK\]"  # Gemma, GLM, InternLM
)
"""How families of models write them, whichever model is trained."""

OPENING = r"(?:<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>|\[gMASK\]|<sop>)"
CLOSING = (
    r"(?:</s>|<eos>|<eod>|<end_of_turn>|<｜end▁of▁sentence｜>|<\|(?:endoftext|im_end|eot_id|eom_id|end_of_text|end|eot|"
    r"end_of_turn|END_OF_TURN_TOKEN|return)\|>)"
)
AT_THE_START = re.compile(rf"\s{{0,9}}(?:{OPENING}){{1,9}}\n?(?=\S)")
"""Glued to what follows. `<s> is a token` speaks of one."""
AT_THE_END = re.compile(rf"[ \n]{{0,3}}(?P<tokens>(?:{CLOSING}\s{{0,9}}){{1,99}})\Z")
MENTIONED = re.compile(r"[\w,:;(\"'`“‘=+-]\s{1,9}\Z|[\"'`“‘(=]\Z")
"""What stands before a token that is spoken about: `the stop token is </s>`."""

STRUCK = re.compile(r"<s>([^<>\n]{1,200})</s>")
"""HTML for words that are struck through. As a whole text it is one between its beginning and its end."""

TAIL = 400
"""Characters at the end of a text in which leftovers are looked for."""

MOST_KINDS = 5


class SpecialTokens:
    """Finds control tokens in texts, and takes them out.

    Args:
        special: Those of the model that is trained, beside those that are widely known.
    """

    def __init__(self, special: Sequence[str] = ()) -> None:
        known = re.compile(KNOWN)
        own = {token for token in special if len(token) > 2 and not (known.fullmatch(token) or re.search(r"\s", token))}
        either = "|".join([*map(re.escape, sorted(own, key=len, reverse=True)), KNOWN])
        self.pattern = re.compile(either)
        self._run = re.compile(f"(?:{either})+")
        self._gates = tuple({"<", "[", *(token[0] for token in own)})

    def found(self, text: str) -> list[str]:
        """Return the tokens that stand in a text, in their order."""
        if not any(gate in text for gate in self._gates):
            return []
        tokens = self.pattern.findall(text)
        return self.pattern.findall(STRUCK.sub(" ", text)) if "<s>" in tokens and _strikes(text) else tokens

    def removed(self, text: str) -> str:
        """Return the text without them; a space stays between two words, so that nothing new is put together."""

        def gap(run: re.Match[str]) -> str:
            before, after = text[max(0, run.start() - 1) : run.start()], text[run.end() : run.end() + 1]
            return " " if before.strip() and after.strip() else ""

        return self._run.sub(gap, text)

    def neutral(self, text: str) -> str:
        """Return the text with a space behind the first character of each: no tokenizer takes it for one."""
        return self.pattern.sub(lambda token: f"{token.group()[0]} {token.group()[1:]}", text)


def step(action: Literal["trim", "tell", "remove", "neutralise", "drop"], special: Sequence[str]) -> Step:
    """Return the step. Each row that holds a token is told by the token; `special` are the model's own."""
    tokens = SpecialTokens(special)
    rewrite = {"trim": trimmed, "remove": tokens.removed, "neutralise": tokens.neutral}.get(action)

    def look(example: Example, notes: Notes) -> Example | Refusal:
        found = [token for turn in turns(example) for token in tokens.found(turn.text)]
        if not found:
            return example
        if action == "drop":
            kinds = ", ".join(f"`{one_line(token, 40)}`" for token in [*dict.fromkeys(found)][:MOST_KINDS])
            return Refusal("special_tokens", f"a text holds {kinds}")
        if rewrite and not pinned(example):
            example = _rewritten(example, rewrite)
            found = [token for turn in turns(example) for token in tokens.found(turn.text)]
        for token in [*dict.fromkeys(found)][:MOST_KINDS]:
            notes.see(token, example.source)
        return example

    return each(look)


def _rewritten(example: Example, rewrite: Callable[[str], str]) -> Example:
    return with_texts(example, [rewrite(turn.text) for turn in turns(example)])


def _strikes(text: str) -> bool:
    return STRUCK.search(text) is not None and STRUCK.fullmatch(text.strip()) is None


def trimmed(text: str) -> str:
    """Return the text without the tokens that another template left at its ends."""
    if "<s>" in text and _strikes(text):
        return text
    before = ""
    while text != before:
        before = text
        text = text[start.end() :] if (start := AT_THE_START.match(text)) else text
        end = AT_THE_END.search(text, max(0, len(text) - TAIL))
        if end and not MENTIONED.search(text, max(0, end.start() - 12), end.start("tokens")):
            text = text[: end.start()]
    return text
