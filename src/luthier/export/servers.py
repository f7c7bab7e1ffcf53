"""The prompt's token ids from a running server: vLLM or llama.cpp's own.

Only what the user named is spoken to: http or https, no proxy from the environment, no redirect. Only the
messages and tools of a conversation are sent, and of a message only the keys of the chat format.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from luthier.core.errors import Failed, LuthierError
from luthier.core.text import one_line
from luthier.tokens.sandbox import plain_turn

SECONDS = 30.0
"""How long one request may take, from connecting to the last byte."""

LARGEST = 64_000_000
"""Largest answer read, in bytes: a million token ids take a tenth of it."""

CHUNK = 1 << 16

KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "thinking")
"""What of a message is sent. Weights, tags and sources stay here."""

Messages = Sequence[Mapping[str, Any]]


class ServerAddressError(LuthierError):
    """The address is not one we speak to, or what runs there is neither vLLM nor llama.cpp."""


class UnreachableError(Failed):
    """Nothing answers there, or too slowly."""


class RefusedError(Failed):
    """The server refused this request; `status` is its HTTP status."""

    def __init__(self, problem: str, *, hint: str, place: str, status: int) -> None:
        super().__init__(problem, hint=hint, place=place)
        self.status = status


class StrangeAnswerError(Failed):
    """The server answered with something we can't read."""


class Server(Protocol):
    """Something that says which ids a chat request would feed its model."""

    @property
    def label(self) -> str:
        """What it is, in a few words."""

    def prompt_ids(self, messages: Messages, tools: Messages | None = None) -> list[int]:
        """Return the ids of the prompt, with the opening of the answer."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: rows must not travel to an address that the user didn't name."""

    def redirect_request(self, *_: Any) -> None:
        return None


def address(url: str) -> str:
    """Return a server's address without a trailing `/` or `/v1`.

    Raises:
        ServerAddressError: It is not http or https, or holds a password, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname
        extra = parts.username or parts.password or parts.query or parts.fragment or (parts.port == 0)
    except ValueError:
        wrong, extra = True, None
    if wrong or extra:
        raise ServerAddressError(
            f"`{one_line(url.rpartition('@')[2], 80)}` is not the address of a server",
            hint="write it as `http://HOST:PORT`, without user, query or fragment",
        )
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


@dataclass(frozen=True, slots=True)
class Connection:
    """How to ask one server for JSON."""

    url: str
    seconds: float = SECONDS
    largest: int = LARGEST

    def get(self, route: str) -> Any:
        """Return the JSON at a route."""
        return self._ask(urllib.request.Request(self.url + route, headers={"Accept": "application/json"}))

    def post(self, route: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that a route answers to a body."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        content = json.dumps(body).encode("ascii")
        return self._ask(urllib.request.Request(self.url + route, data=content, headers=headers, method="POST"))

    def _ask(self, request: urllib.request.Request) -> Any:
        """Return the JSON answer to a request.

        Raises:
            UnreachableError: No answer, or not in time.
            RefusedError: An HTTP error; the sentence holds the server's own words.
            StrangeAnswerError: A redirect, no JSON, or more of it than we read.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        try:
            with opener.open(request, timeout=self.seconds) as response:
                content = self._read(response)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.strange(f"`{urlsplit(request.full_url).path}` answers no JSON") from error

    def _read(self, response: Any) -> bytes:
        """Return the body, within the limits of size and time."""
        content = bytearray()
        end = time.monotonic() + self.seconds
        while chunk := response.read1(CHUNK):
            content += chunk
            if len(content) > self.largest:
                raise self.strange(f"the answer is longer than {self.largest:,} bytes")
            if time.monotonic() > end:
                raise TimeoutError
        return bytes(content)

    def _refused(self, error: urllib.error.HTTPError) -> LuthierError:
        if 300 <= error.code < 400:
            to = one_line(error.headers.get("Location") or "another address", 120)
            return StrangeAnswerError(
                f"the server sends on to {to}", hint="give that address if you trust it", place=self.url
            )
        try:
            words = message_in(error.read(CHUNK))
        except (OSError, http.client.HTTPException):
            words = ""
        hint = "read what the server says; its log may say more"
        if error.code in (401, 403):
            hint = "start the server without an API key for this check: luthier sends none"
        sentence = f"the server refuses with status {error.code}" + (f": {words}" if words else "")
        return RefusedError(sentence, hint=hint, place=self.url, status=error.code)

    def _unreachable(self, reason: object) -> UnreachableError:
        if isinstance(reason, TimeoutError):
            said = f"no answer within {self.seconds:g} s"
        elif isinstance(reason, ConnectionRefusedError):
            said = "nothing listens there"
        else:
            said = one_line(str(reason), 160)
        return UnreachableError(
            f"can't reach the server: {said}",
            hint="check that it runs and has loaded its model, and the host and port",
            place=self.url,
        )

    def strange(self, what: str) -> StrangeAnswerError:
        """Return the error for an answer of another shape."""
        return StrangeAnswerError(
            what,
            hint="update the server; if its answer is right, report this as a bug of luthier",
            place=self.url,
        )


def message_in(content: bytes) -> str:
    """Return the server's words in an error body: JSON of several shapes, or text."""
    text = content.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return one_line(text, 300)
    for key in ("error", "message", "detail"):
        while isinstance(value, dict) and key in value:
            value = value[key]
    return one_line(value if isinstance(value, str) else json.dumps(value), 300)


def sent(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a message is sent: as training reads it, in the words of the chat format.

    Arguments of tool calls are JSON text there, written as templates write it.
    """
    read = plain_turn(dict(message))
    kept = {key: read[key] for key in KEYS if key in read}
    if "content" in message:
        kept.setdefault("content", None)
    if isinstance(kept.get("tool_calls"), list):
        kept["tool_calls"] = [call_sent(call) for call in kept["tool_calls"]]
    return kept


def call_sent(call: Any) -> Any:
    """Return a tool call in the OpenAI shape; what is none as it is, for the server to refuse."""
    if not isinstance(call, Mapping):
        return call
    rest = dict(call)
    if "function" not in rest and "name" in rest:
        rest["function"] = {key: rest.pop(key) for key in ("name", "arguments") if key in rest}
    if not isinstance(rest.get("function"), Mapping):
        return rest
    function = dict(rest["function"])
    if not isinstance(function.get("arguments", ""), str):
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    return {"type": "function", **rest, "function": function}


def body_of(messages: Messages, tools: Messages | None) -> dict[str, Any]:
    """Return messages and tools as a request's body."""
    body: dict[str, Any] = {"messages": [sent(message) for message in messages]}
    return {**body, "tools": [*tools]} if tools else body


def ids_in(connection: Connection, answer: Any) -> list[int]:
    """Return the token ids of an answer to `/tokenize`."""
    ids = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(ids, list) or any(not isinstance(i, int) or isinstance(i, bool) or i < 0 for i in ids):
        raise connection.strange("`/tokenize` answers without a list of token ids in `tokens`")
    return ids


@dataclass(frozen=True, slots=True)
class Vllm:
    """A vLLM server: `/tokenize` renders a chat as `/v1/chat/completions` does, and returns the ids."""

    connection: Connection
    model: str

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        return f"vLLM at {self.connection.url} ({one_line(self.model, 60)})"

    def prompt_ids(self, messages: Messages, tools: Messages | None = None) -> list[int]:
        """Return the ids of the prompt, with the opening of the answer."""
        body = {"model": self.model, **body_of(messages, tools), "add_generation_prompt": True}
        return ids_in(self.connection, self.connection.post("/tokenize", body))


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """llama.cpp's server: `/apply-template` renders, `/tokenize` gives ids.

    Its chat route tokenizes the rendered prompt with special tokens added, and takes a bos that the template
    writes away before where the model's file asks for one. `/apply-template` returns the text after that, so
    `add_special` gives just the ids of the chat route.
    """

    connection: Connection
    model: str

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        return f"llama.cpp at {self.connection.url} ({one_line(self.model, 60)})"

    def prompt_ids(self, messages: Messages, tools: Messages | None = None) -> list[int]:
        """Return the ids of the prompt, with the opening of the answer."""
        answer = self.connection.post("/apply-template", body_of(messages, tools))
        text = answer.get("prompt") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise self.connection.strange("`/apply-template` answers without a `prompt`")
        body = {"content": text, "add_special": True, "parse_special": True}
        return ids_in(self.connection, self.connection.post("/tokenize", body))


def connect(url: str, *, seconds: float = SECONDS, largest: int = LARGEST) -> Vllm | LlamaCpp:
    """Return the server at an address, after asking it what it is.

    Both list their models at `/v1/models` and say who owns them. Where something between us and the server
    changed that, `/props` is llama.cpp's and `/version` vLLM's.

    Args:
        url: `http://HOST:PORT`, also with `/v1` at its end.
        seconds: How long one request may take.
        largest: Largest answer read, in bytes.

    Raises:
        ServerAddressError: It is no such address, or neither of the two runs there.
        UnreachableError: Nothing answers.
    """
    connection = Connection(address(url), seconds, largest)
    try:
        listed = connection.get("/v1/models")
    except (RefusedError, StrangeAnswerError) as error:
        raise neither(connection, error.problem) from error
    models = listed.get("data") if isinstance(listed, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    if not isinstance(first, dict) or not isinstance(first.get("id"), str):
        raise neither(connection, "`/v1/models` lists no model")
    owner = first.get("owned_by")
    if owner == "llamacpp" or (owner != "vllm" and has(connection, "/props", "default_generation_settings")):
        return LlamaCpp(connection, first["id"])
    if owner == "vllm" or has(connection, "/version", "version"):
        return Vllm(connection, first["id"])
    raise neither(connection, f"its models belong to `{one_line(str(owner), 40)}`")


def has(connection: Connection, route: str, key: str) -> bool:
    """Say whether a route answers with an object that has a key."""
    try:
        answer = connection.get(route)
    except (RefusedError, StrangeAnswerError):
        return False
    return isinstance(answer, dict) and key in answer


def neither(connection: Connection, why: str) -> ServerAddressError:
    """Return the error for a server of another kind."""
    return ServerAddressError(
        f"this is neither vLLM nor a llama.cpp server: {why}",
        hint="give the address of `vllm serve` or `llama-server`; for Ollama give its Modelfile or template",
        place=connection.url,
    )
