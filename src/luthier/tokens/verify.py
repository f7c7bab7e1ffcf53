"""The doctor for templates: is what will be learned what will be asked for? Looked at before anything is trained.

Every check renders small conversations with the model's own template and tokenizer, so it can be believed for any
model; none rests on a list of known ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source
from luthier.core.report import Check
from luthier.tokens.render import UNMARKED, Encoded, Refused, Renderer

PROBE = Source("probe", 0)
QUESTION, ANSWER = "How many strings has a violin?", "It has four strings."
ONE = (Message("user", QUESTION), Message("assistant", ANSWER))
TWO = (*ONE, Message("user", "And a guitar?"), Message("assistant", "Usually six."))
SYSTEM = "Answer in one short sentence."
TOOL = {
    "type": "function",
    "function": {
        "name": "count_strings",
        "description": "Counts the strings of an instrument.",
        "parameters": {"type": "object", "properties": {"instrument": {"type": "string"}}, "required": ["instrument"]},
    },
}
CALL = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "count_strings", "arguments": '{"instrument":"violin"}'},
}


def verify(renderer: Renderer, *, room: int | None = None) -> list[Check]:
    """Return every check of a template, the fine ones too.

    Args:
        renderer: The template with its tokenizer.
        room: How many tokens the model has embeddings for.

    Raises:
        ModelError: The template reaches a limit of time, memory or output, or can't be compiled.
    """
    doctor = _Doctor(renderer, room)
    if renderer.rows in ("class", "text"):  # plain text goes around the template
        return [doctor.plain_text(), doctor.vocabulary()]
    checks: tuple[Callable[[], Check], ...] = (
        doctor.template,
        doctor.generation_prompt,
        doctor.stop_learned,
        doctor.start_token,
        doctor.round_trip,
        doctor.history,
        doctor.system,
        doctor.roles,
        doctor.tools,
        doctor.control_tokens,
        doctor.generation_marks,
        doctor.padding,
        doctor.vocabulary,
    )
    return [check() for check in checks]


@dataclass(frozen=True, slots=True)
class _Doctor:
    renderer: Renderer
    room: int | None

    def _encode(
        self, messages: Sequence[Message], tools: tuple[dict[str, Any], ...] = ()
    ) -> tuple[Encoded, ...] | Refused:
        result = self.renderer.encode(Example(tuple(messages), PROBE, tools=tools), "conversation")
        if isinstance(result, Refused) and result.limit:
            raise ModelError(
                result.reason,
                hint="correct the template, or choose another with `train.template`",
                place=self.renderer.template_place,
            )
        return result

    def template(self) -> Check:
        """Tell whose template it is, and whether it writes the date."""
        source = self.renderer.source
        whose = "the tokenizer's own chat template" if source == "tokenizer" else f"the chat template `{source}`"
        texts = self.renderer.tokenizer.chat_template
        if "strftime_now" in str(texts):
            day = f"{self.renderer.now:%Y-%m-%d}"
            return Check("template", "note", f"{whose}; it writes today's date ({day}), which the model learns to see")
        if source == "plain":
            hint = "choose one with `train.template` if the model was trained with another"
            return Check("template", "note", "the model brings no chat template; the plain one is used", hint)
        return Check("template", "ok", whose)

    def generation_prompt(self) -> Check:
        """An answer must be learned behind exactly the text it will be asked for with."""
        name = "generation_prompt"
        result = self._encode(ONE)
        if isinstance(result, Refused):
            return Check(name, "failure", f"a plain question with its answer: {result.reason}", _OTHER)
        try:
            asked = self.renderer.prompt_ids(ONE[:1])
        except ModelError as error:
            return Check(name, "failure", f"the prompt a server sends: {error.problem}", _OTHER)
        encoded = result[-1]
        if self.renderer.learn == "assistant" and encoded.input_ids[: len(asked)].tolist() != asked:
            return Check(
                name, "failure", "the tokens of the prompt are not the beginning of the text learned from", _OTHER
            )
        return Check(name, "ok", "the prompt a server sends is the beginning of the text that is learned from")

    def stop_learned(self) -> Check:
        """A model that never saw its stop token as a target never stops."""
        result = self._encode(TWO)
        if isinstance(result, Refused):
            return Check("stop_learned", "note", f"two questions with answers: {result.reason}")
        if self.renderer.learn == "all":
            return Check("stop_learned", "ok", "every token is learned")
        if all(self.renderer.learns_to_stop(encoded) for encoded in result):
            last = result[-1]
            token = self.renderer.tokenizer.convert_ids_to_tokens(int(last.input_ids[last.ends[-1] - 1]))
            return Check("stop_learned", "ok", f"every answer ends with the learned stop token `{token}`")
        names = ", ".join(f"`{name}`" for name in self._names(sorted(self.renderer.stop_ids)))
        hint = "correct `eos_token_id` in generation_config.json, or the template"
        return Check(
            "stop_learned", "warning", f"answers don't end with a stop token ({names}): the model may never end", hint
        )

    def start_token(self) -> Check:
        """Told because doubled and missing start tokens cost quality and show nowhere."""
        start = self.renderer.tokenizer.bos_token_id
        result = self._encode(ONE)
        ids = [] if isinstance(result, Refused) else result[0].input_ids.tolist()
        count = ids[:8].count(start) if start is not None else 0
        own = self.renderer.tokenizer.backend_tokenizer.encode("a", add_special_tokens=True).ids[:1] == [start]
        if count > 1:
            return Check("start_token", "warning", f"the template writes {count} start tokens", "correct the template")
        if own and not count and start is not None:
            return Check(
                "start_token",
                "note",
                "the tokenizer puts a start token before text, and the template writes none: chats have none, "
                "as with vLLM and Transformers",
            )
        return Check(
            "start_token", "ok", f"{'one start token' if count else 'no start token'}, as the template writes it"
        )

    def round_trip(self) -> Check:
        """Ids must say what the text said."""
        result = self._encode(ONE)
        if isinstance(result, Refused):
            return Check("round_trip", "note", "not looked at: nothing can be rendered")
        tokenizer = self.renderer.tokenizer
        decoded = tokenizer.decode(result[-1].input_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        text = self.renderer.text(ONE)
        if decoded == text:
            return Check("round_trip", "ok", "ids decode to the text they came from")
        if "".join(decoded.split()) == "".join(text.split()):
            return Check("round_trip", "note", "ids decode to the text but for spaces, which this tokenizer adds")
        return Check("round_trip", "warning", "ids don't decode to the text they came from", "check tokenizer.json")

    def plain_text(self) -> Check:
        """Ids of plain text must say what the text said; what stands around them is told."""
        tokenizer = self.renderer.tokenizer
        ids = [int(i) for _, piece, _ in self.renderer.pieces(ANSWER) for i in self.renderer.ids(piece)]
        decoded = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if "".join(decoded.split()) != "".join(ANSWER.split()):
            return Check("plain_text", "warning", "ids don't decode to the text they came from", "check tokenizer.json")
        before, behind = ([*self._names(some.tolist())] for some in self.renderer.around)
        if self.renderer.rows == "text":
            behind = [*self._names([self.renderer.stop])]
        around = f"{' '.join(before) or 'nothing'} before and {' '.join(behind) or 'nothing'} behind"
        return Check("plain_text", "ok", f"no template: texts are encoded as they stand, with {around}")

    def history(self) -> Check:
        """Tell whether earlier turns look the same when later ones follow."""
        result = self._encode(TWO)
        if isinstance(result, Refused):
            return Check("history", "note", f"conversations of several turns are left out: {result.reason}")
        thought = [
            Message(m.role, m.text, {"reasoning_content": "Let me count."} if m.role == "assistant" else {})
            for m in TWO
        ]
        reasoned = self._encode(thought)
        if len(result) > 1 or (not isinstance(reasoned, Refused) and len(reasoned) > 1):
            text = "the template rewrites earlier turns: a conversation becomes one text for each state it is asked in"
            return Check("history", "note", text)
        return Check("history", "ok", "earlier turns stay as they were: a conversation is one text")

    def system(self) -> Check:
        """Tell what becomes of a system prompt."""
        result = self._encode((Message("system", SYSTEM), *ONE))
        if isinstance(result, Refused):
            return Check("system", "note", f"system prompts are refused: {result.reason}; rows with one are left out")
        if any("system text" in trait for encoded in result for trait in encoded.traits):
            return Check(
                "system", "warning", "the template leaves system prompts out: the model never sees them", _OTHER
            )
        return Check("system", "ok", "system prompts are rendered")

    def roles(self) -> Check:
        """Tell which orders of turns the template takes."""
        orders = {
            "two questions in a row": (Message("user", "Hello?"), *ONE),
            "two answers in a row": (*ONE, Message("assistant", "And a bow.")),
            "an answer first": (Message("assistant", "Hello."), *ONE),
        }
        refused = [name for name, messages in orders.items() if isinstance(self._encode(messages), Refused)]
        if refused:
            return Check("roles", "note", f"left out, because the template can't render them: {', '.join(refused)}")
        return Check("roles", "ok", "turns may stand in any order")

    def tools(self) -> Check:
        """Tell whether tools, calls and their results can be rendered."""
        call = Message("assistant", "", {"tool_calls": [CALL]})
        told = Message("tool", "four", {"name": "count_strings", "tool_call_id": CALL["id"]})
        result = self._encode((ONE[0], call, told, ONE[1]), (TOOL,))
        if isinstance(result, Refused):
            return Check("tools", "note", f"tool calls are left out: {result.reason}")
        text = self.renderer.text(ONE, tools=(TOOL,))
        if "count_strings" not in text:
            return Check("tools", "note", "tool calls are rendered, the list of tools is not: the model never sees it")
        return Check("tools", "ok", "tools, their calls and their results are rendered")

    def control_tokens(self) -> Check:
        """Text of the data that looks like a control token must not become one."""
        setting = self.renderer.setting()
        specials = setting["special"][:64]
        if not specials:
            return Check("control_tokens", "ok", "the tokenizer has no control token")
        asked = Message("user", f"{QUESTION} {' '.join(specials)}")
        hidden, plain = self._encode((asked, ONE[1])), self._encode(ONE)
        if isinstance(hidden, Refused) or isinstance(plain, Refused):
            return Check("control_tokens", "note", "not looked at: nothing can be rendered")
        ids = {self.renderer.tokenizer.convert_tokens_to_ids(token) for token in specials}
        more = sum(int(i) in ids for i in hidden[-1].input_ids) - sum(int(i) in ids for i in plain[-1].input_ids)
        if more:
            return Check(
                "control_tokens",
                "warning",
                f"{more} of {len(specials)} control tokens written in a message become control tokens",
                "remove such texts from the data",
            )
        return Check("control_tokens", "ok", "control tokens written in a message are read as text")

    def generation_marks(self) -> Check:
        """Where a template marks what is generated, both ways of finding it must agree."""
        if "{% generation" not in str(self.renderer.tokenizer.chat_template).replace("{%-", "{%").replace("  ", " "):
            return Check("generation_marks", "ok", "the template has no marks of its own; none are needed")
        result = self._encode(TWO)
        if not isinstance(result, Refused) and any(UNMARKED in encoded.traits for encoded in result):
            return Check(
                "generation_marks",
                "note",
                "the template's own `{% generation %}` marks cover other tokens; luthier learns each answer with "
                "its stop token",
            )
        return Check("generation_marks", "ok", "the template's own `{% generation %}` marks cover the same tokens")

    def padding(self) -> Check:
        """A pad token that is a stop token is masked away with the padding by other tools."""
        pad = self.renderer.tokenizer.pad_token_id
        if pad in self.renderer.stop_ids:
            return Check(
                "padding", "note", "the pad token is a stop token; here only places are masked, so stops are learned"
            )
        return Check("padding", "ok", "padding and stop tokens differ")

    def vocabulary(self) -> Check:
        """Tokens without an embedding can't be learned."""
        known = len(self.renderer.tokenizer)
        if self.room is not None and known > self.room:
            beyond = known - self.room
            return Check(
                "vocabulary",
                "warning",
                f"the tokenizer knows {beyond} more tokens than the model has embeddings for ({self.room:,}); "
                "rows that use them can't be learned",
                "use the tokenizer the model was trained with",
            )
        return Check("vocabulary", "ok", f"the tokenizer's {known:,} tokens all have an embedding")

    def _names(self, ids: Sequence[int]) -> Iterator[str]:
        for token in ids:
            yield str(self.renderer.tokenizer.convert_ids_to_tokens(token))


_OTHER = "choose another template with `train.template`, or correct chat_template.jinja"
