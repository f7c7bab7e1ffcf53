"""Asking a model behind an OpenAI-compatible HTTP interface: `/chat/completions` and `/completions`.

Source: the interface as published in github.com/openai/openai-openapi.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

from luthier.core.errors import Failed, RecipeError
from luthier.core.http import UNTRUSTED, Answer, Service
from luthier.core.key import Key
from luthier.core.text import did_you_mean, one_line

ADDRESS = "name the address of an OpenAI-compatible interface; it often ends in `/v1`"


class EndpointError(Failed):
    """The endpoint can't be reached, or says no."""

    status: int | None = None
    """HTTP status; None where no answer came."""

    @property
    def one_request(self) -> bool:
        """Whether only this request is refused, such as for its length, and the next may be answered."""
        return self.status in (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered."""

    text: str
    finish: str
    """Why it ended: `stop`, `length`, `content_filter`, …; empty where the server doesn't say."""
    prompt_tokens: int | None
    """As the server counts them; None where it doesn't."""
    answer_tokens: int | None


def base_url(url: str) -> str:
    """Return the address below which `/chat/completions` is: a bare host gets `/v1`.

    Raises:
        RecipeError: It is no address, or holds something that would be shown, such as a password.
    """
    hint = "write it as `https://api.openai.com/v1` or `http://localhost:8000/v1`"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RecipeError("the address of the endpoint is none", hint=hint) from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        hint = "leave out name, password, `?…` and `#…`; a key comes from an environment variable or a file"
        raise RecipeError("the address of the endpoint holds more than host and path", hint=hint)
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise RecipeError(f"`{one_line(url)}` is no address of an endpoint", hint=hint)
    shown = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{path or '/v1'}"


class Endpoint:
    """An OpenAI-compatible server. Several threads may ask at once.

    Args:
        url: Its address, such as `http://localhost:8000/v1`.
        key: Sent as bearer token.
        timeout: Seconds for one answer.
        tries: How often a request is sent at most, with growing pauses; after a timeout twice at most.

    Raises:
        RecipeError: The address is none, or would carry the key in the clear over a public network.
        MissingExtra: httpx2 is not installed.
    """

    def __init__(self, url: str, *, key: Key | None = None, timeout: float = 120.0, tries: int = 7) -> None:
        self.url = base_url(url)
        self._service = Service(self.url, key=key, timeout=timeout, tries=tries)
        self._called: dict[str, str | None] = {}
        """Settings the server takes by another name, or (None) not at all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._service.close()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return the settings that the server said it doesn't take."""
        return tuple(sorted(name for name, other in self._called.items() if other is None))

    def chat(self, model: str, messages: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> Reply:
        """Return what a model answers to a conversation.

        Args:
            model: Its name on the server.
            messages: Role and content of each turn.
            settings: Further keys of the request: temperature, max_tokens, stop, seed, …

        Raises:
            EndpointError: No answer came, or none of this form.
        """
        found = self._asked("/chat/completions", {"model": model, "messages": [*messages], **settings})
        message = _at(found, "choices", 0, "message")
        if not isinstance(message, dict):
            self._wrong_form()
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(text for part in content if isinstance(text := _at(part, "text"), str))
        return _reply(found, content if isinstance(content, str) else "")

    def complete(self, model: str, prompt: str, settings: Mapping[str, Any]) -> Reply:
        """Return how a model goes on with a text; otherwise as `chat`."""
        found = self._asked("/completions", {"model": model, "prompt": prompt, **settings})
        text = _at(found, "choices", 0, "text")
        if not isinstance(text, str):
            self._wrong_form()
        return _reply(found, text)

    def _asked(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = self._service.settled(path, self._in_its_words(body))
        while self._learns(answer, body):  # at most once for each setting
            answer = self._service.settled(path, self._in_its_words(body))
        found = answer.json
        if answer.fine and found is not None:
            return found
        problem, hint = self._explained(answer, str(body["model"]))
        error = EndpointError(problem, hint=hint, place=self.url)
        error.status = answer.status
        raise error

    def _in_its_words(self, body: Mapping[str, Any]) -> dict[str, Any]:
        named = ((self._called.get(name, name), value) for name, value in body.items())
        return {name: value for name, value in named if name is not None}

    def _learns(self, answer: Answer, body: Mapping[str, Any]) -> bool:
        """Return whether a setting was refused that has another name, or can be left out: newer models do so."""
        if answer.status != 400:
            return False
        error = _at(answer.json, "error")
        name = _at(error, "param")
        if _at(error, "code") not in ("unsupported_parameter", "unsupported_value") or not isinstance(name, str):
            return False
        asked = next((own for own in body if self._called.get(own, own) == name), None)
        if asked in (None, "model", "messages", "prompt"):
            return False
        renamed = asked == "max_tokens" and asked not in self._called
        self._called[asked] = "max_completion_tokens" if renamed else None
        return True

    def _wrong_form(self) -> NoReturn:
        raise EndpointError("the answer is JSON, but not of the form of a completion", hint=ADDRESS, place=self.url)

    def _explained(self, answer: Answer, model: str) -> tuple[str, str]:
        """Return what went wrong and what to do about it."""
        status, said, key = answer.status, self._said(answer), self._service.key
        if status is None:
            if UNTRUSTED in answer.trouble:
                return f"its certificate can't be trusted ({answer.trouble})", "set SSL_CERT_FILE to your authority's"
            return f"the endpoint can't be reached ({answer.trouble})", "is the server running, and the address right?"
        if answer.fine:
            return f"the answer is not JSON ({said})", ADDRESS
        if 300 <= status < 400:
            hint = "name the address it points to, if you trust it; for the key's sake no redirect is followed"
            return f"the endpoint points elsewhere (status {status}, to {answer.location})", hint
        if status == 401 and key is None:
            return f"the endpoint wants a key ({said})", "name the environment variable that holds it"
        if status == 404:
            return f"there is no model `{one_line(model)}`, or no such address ({said})", self._models(model)
        later = "type the same command again later"
        problem, hint = {
            401: ("the endpoint refuses the key", f"look at {key}"),
            403: ("the endpoint doesn't allow this", "ask for the right to, or name another model or key"),
            429: ("the endpoint's limit is reached", later),
        }.get(status, (f"the endpoint answers with status {status}", later if status >= 500 else "it says why"))
        return f"{problem} ({said})", hint

    def _models(self, wanted: str) -> str:
        """Return a hint which models there are."""
        rows = _at(self._service.send("GET", "/models").json, "data")
        names = [name for row in rows if isinstance(name := _at(row, "id"), str)] if isinstance(rows, list) else []
        if not names:
            return ADDRESS
        near = did_you_mean(wanted, names)
        return self._service.shown(f"did you mean `{near}`?" if near else f"there are {', '.join(names)}")

    def _said(self, answer: Answer) -> str:
        """Return what an error's body says, in one line."""
        found = answer.json
        said = (_at(found, *path) for path in (("error", "message"), ("message",), ("detail",), ("error",)))
        text = next((text for text in said if isinstance(text, str)), answer.content[:4096].decode(errors="replace"))
        return self._service.shown(text) or "it doesn't say why"


def _at(value: Any, *path: str | int) -> Any:
    """Return what is at a path of keys and places, None where there is nothing."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _reply(found: Any, text: str) -> Reply:
    finish = _at(found, "choices", 0, "finish_reason")
    read, written = (_at(found, "usage", name) for name in ("prompt_tokens", "completion_tokens"))
    return Reply(text, finish if isinstance(finish, str) else "", _count(read), _count(written))


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
