"""The prompt's token ids as something outside luthier makes them: a server, a GGUF file, an Ollama template."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from luthier.core.errors import DataError, LuthierError
from luthier.core.text import one_line
from luthier.export import modelfile, servers
from luthier.export.gotemplate import GoTemplateError, Template, parse
from luthier.model import llamacpp
from luthier.tokens.sandbox import plain_turn

Messages = Sequence[Mapping[str, Any]]
Row = tuple[Messages, Messages | None]
"""The turns of a prompt, and the tools offered with it."""


class Refusal(DataError):  # noqa: N818 - it is also a value: what was said instead of ids
    """The target refuses one conversation; others may still work."""


class Target(Protocol):
    """Something that turns a conversation into the ids its model would be fed."""

    label: str

    def rows(self, rows: Sequence[Row]) -> list[list[int] | LuthierError]:
        """Return the ids of each row, or why the target refuses it."""


class Prompts:
    """Prompt ids of one target: call it with messages and tools, or `rows` for many at once.

    A context manager, so that a target may hold something open; leaving it twice does no harm.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.label = target.label
        """What is compared with, in a few words."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of what the target holds: nothing, so far; llama.cpp's process ends with each call."""

    def __call__(self, messages: Messages, tools: Messages | None = None) -> list[int]:
        """Return the ids of one conversation, with the opening of the answer.

        Raises:
            LuthierError: The target refuses it, or can't be asked.
        """
        (answer,) = self.rows([(messages, tools)])
        if isinstance(answer, LuthierError):
            raise answer
        return answer

    def rows(self, rows: Sequence[Row]) -> list[list[int] | LuthierError]:
        """Return the ids of each conversation, or the error with which the target refuses that one.

        A GGUF file is loaded once a call, so give it all rows together.

        Raises:
            LuthierError: The target can't be asked at all.
        """
        return self.target.rows(rows) if rows else []


class ServerTarget:
    """A running server."""

    def __init__(self, server: servers.Server) -> None:
        self.server = server
        self.label = server.label

    def rows(self, rows: Sequence[Row]) -> list[list[int] | LuthierError]:
        """Return the ids of each row, or what the server said against it."""
        return [self._row(*row) for row in rows]

    def _row(self, messages: Messages, tools: Messages | None) -> list[int] | LuthierError:
        try:
            return self.server.prompt_ids(messages, tools)
        except servers.RefusedError as error:
            # A wrong key or route is the same for all rows; a refused conversation is not.
            if error.status in (401, 403, 404, 405):
                raise
            return error


class GgufTarget:
    """A GGUF file, as llama.cpp renders and tokenizes with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = f"llama.cpp with {path.name}"

    def rows(self, rows: Sequence[Row]) -> list[list[int] | LuthierError]:
        """Return the ids of each row, or why llama.cpp can't render it."""
        asked = [
            llamacpp.chat([servers.sent(message) for message in messages], tools or ()) for messages, tools in rows
        ]
        return [self._answer(answer) for answer in llamacpp.ask(self.path, asked)] if asked else []

    def _answer(self, answer: llamacpp.Answer) -> list[int] | LuthierError:
        if "error" in answer:
            return Refusal(
                f"llama.cpp can't render the chat template: {one_line(answer['error'], 300)}",
                hint="the template in the file refuses this conversation; compare it with the tokenizer's",
                place=str(self.path),
            )
        ids: list[int] = answer["ids"]
        return ids


def adds_bos(tokenizer: Any) -> bool:
    """Say whether a tokenizer puts its bos before a plain text."""
    if tokenizer.bos_token_id is None:
        return False
    with_bos = tokenizer("a")["input_ids"]
    without = tokenizer("a", add_special_tokens=False)["input_ids"]
    return bool(with_bos[:1] == [tokenizer.bos_token_id] and without[:1] != [tokenizer.bos_token_id])


class TemplateTarget:
    """An Ollama template, tokenized with the trained tokenizer.

    As Ollama does, the Modelfile's SYSTEM comes first unless the conversation begins with a system turn of its
    own, then its MESSAGE turns. A bos is put before the text where the tokenizer puts one before plain text,
    unless the text already begins with it.
    """

    def __init__(self, path: Path, tokenizer: Any) -> None:
        self.path = path
        self.tokenizer = tokenizer
        self.file = modelfile.read(path)
        self.template = self._template()
        self.adds_bos = adds_bos(tokenizer)
        self.label = f"Ollama with {path.name}"

    def _template(self) -> Template:
        if self.file.renderer is not None:
            raise DataError(
                f"the Modelfile names a renderer, `{one_line(self.file.renderer, 40)}`, that only Ollama has",
                hint="take the line RENDERER out and write a TEMPLATE",
                place=str(self.path),
            )
        if self.file.template is None:
            raise DataError(
                "the Modelfile has no TEMPLATE, so Ollama guesses one or takes that of the model",
                hint='add `TEMPLATE """…"""`, or give the GGUF file itself',
                place=str(self.path),
            )
        try:
            return parse(self.file.template)
        except GoTemplateError as error:
            raise DataError(
                f"the template can't be read: {error}",
                hint="lines count from the template's first; Ollama's templates are in Go's text/template language",
                place=str(self.path),
            ) from error

    def text(self, messages: Messages, tools: Messages | None = None) -> str:
        """Return what Ollama feeds the model, as text."""
        before = [{"role": role, "content": content} for role, content in self.file.messages]
        starts_itself = bool(messages) and messages[0].get("role") == "system"
        if self.file.system and not starts_itself:
            before = [{"role": "system", "content": self.file.system}, *before]
        return self.template.render([*before, *(plain_turn(dict(message)) for message in messages)], tools)

    def rows(self, rows: Sequence[Row]) -> list[list[int] | LuthierError]:
        """Return the ids of each row, or where the template fails on it."""
        return [self._row(*row) for row in rows]

    def _row(self, messages: Messages, tools: Messages | None) -> list[int] | LuthierError:
        try:
            text = self.text(messages, tools)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            return Refusal(
                f"the template fails on this conversation: {one_line(str(error), 160)}",
                hint="Ollama would fail too; correct the template, or leave such rows out",
                place=str(self.path),
            )
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        written = self.tokenizer.bos_token is not None and text.startswith(self.tokenizer.bos_token)
        return [self.tokenizer.bos_token_id, *ids] if self.adds_bos and not written else ids


def against(target: str, tokenizer: Any) -> Prompts:
    """Return what makes prompt ids as a target does.

    Args:
        target: `http://…` or `https://…` of a vLLM or llama.cpp server, a `.gguf` file, or an Ollama Modelfile
            or template.
        tokenizer: The trained model's tokenizer, as transformers loads it. Only a template needs it.

    Raises:
        DataError: The target is none of these, or its file is wrong.
        ServerAddressError: The address is wrong, or neither of the two servers runs there.
        UnreachableError: Nothing answers at the address.
    """
    scheme, separator, _ = target.partition("://")
    if separator and "/" not in scheme:
        return Prompts(ServerTarget(servers.connect(target)))
    path = Path(target).expanduser()
    if not path.exists():
        raise DataError(
            "there is no such file",
            hint="give `http://HOST:PORT` of a server, a `.gguf` file, or an Ollama Modelfile or template",
            place=target,
        )
    if path.is_dir():
        raise DataError(
            "this is a folder",
            hint="give the `.gguf` file or the Modelfile in it, or the address of the server that serves it",
            place=target,
        )
    if path.suffix.lower() == ".gguf":
        return Prompts(GgufTarget(path))
    return Prompts(TemplateTarget(path, tokenizer))
