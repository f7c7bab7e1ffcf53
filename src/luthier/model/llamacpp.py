"""Asking llama.cpp what it makes of a GGUF file, in a process of its own.

llama.cpp answers a broken file or a wrong key with a C++ abort. So the caller's side (`ask`, `greedy`) starts
`python -m luthier.model.llamacpp`, writes one JSON object to its stdin and reads one from its stdout;
whatever happens over there is an error with a sentence here. The child runs the HTTP server of the
`xllamacpp` wheel on a free local port behind a random key and puts the questions to its routes, the same that
serve users. It imports neither torch nor transformers.
"""

import http.client
import importlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from luthier.core.errors import Failed, MissingExtra, ModelError
from luthier.core.helper import helper
from luthier.core.text import one_line

TOP = 4096
"""Most probabilities asked per position: a small vocabulary whole, of a large one all that carries weight."""

SECONDS = 900
"""How long the child may take to load a file, or for one pass, before it counts as hung."""

Question = dict[str, Any]
Answer = dict[str, Any]


def next_token(ids: Sequence[int], *, top: int = TOP) -> Question:
    """Ask for the raw softmax after a prompt. Answer: `{"ids": […], "logprobs": […]}`, likeliest first."""
    return {"kind": "next", "ids": [*ids], "top": top}


def continuation(ids: Sequence[int], *, max_tokens: int, settings: Mapping[str, Any] | None = None) -> Question:
    """Ask for the continuation of a prompt. Answer: `{"text": …, "ended": …}`: whether before the limit.

    Args:
        ids: The prompt.
        max_tokens: Longest answer.
        settings: Of llama.cpp's `/completion`; by default the likeliest token is taken.
    """
    return {"kind": "continuation", "ids": [*ids], "max_tokens": max_tokens, "settings": {**(settings or {})}}


def tokens(text: str, *, special: bool = True) -> Question:
    """Ask for the token ids of a plain prompt. Answer: `{"ids": […]}`.

    Args:
        text: The prompt. Special tokens written in it count as such.
        special: Whether to add what the model puts around a text (bos), as a completion request does.
    """
    return {"kind": "tokens", "text": text, "special": special}


def chat(messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> Question:
    """Ask how a chat request is rendered. Answer: `{"text": …, "ids": […]}`, or `{"error": …}`."""
    return {"kind": "chat", "messages": [*messages], "tools": [*tools]}


def forced(ids: Sequence[int], places: Sequence[int], *, vocabulary: int) -> Question:
    """Ask how likely some tokens of a text are, each after all before it. Answer: `{"logprobs": […]}`.

    Args:
        ids: The text.
        places: Which of its tokens, none the first.
        vocabulary: How many tokens the model knows.
    """
    return {"kind": "forced", "ids": [*ids], "places": [*places], "vocabulary": vocabulary}


def ask(gguf: Path, questions: Sequence[Question], *, context: int = 1024, threads: int | None = None) -> list[Answer]:
    """Load a GGUF file in llama.cpp, put questions to it, and return the answers in order.

    Args:
        gguf: The model file.
        questions: Made by `next_token`, `continuation`, `tokens` and `chat`.
        context: Tokens of context to reserve; the longest prompt plus its continuation must fit.
        threads: Threads to compute with; by default one for each core this process may use.

    Raises:
        MissingExtra: The `xllamacpp` package is not installed.
        Failed: llama.cpp can't load the file, refused a question, crashed, or hung.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtra("xllamacpp", extra="gguf")
    request = {
        "gguf": str(gguf.resolve()),
        "questions": [*questions],
        "context": context,
        "threads": threads or len(os.sched_getaffinity(0)),
    }
    started = helper("luthier.model.llamacpp")
    try:
        done = subprocess.run(
            started.command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience(questions),
            env=started.env,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise failed(gguf, f"did not finish in {patience(questions):,} s") from error
    try:
        response = json.loads(done.stdout)
    except ValueError as error:
        raise failed(gguf, f"crashed (exit code {done.returncode}): {last_complaint(done.stderr)}") from error
    if "error" in response:
        raise failed(gguf, f"{response['error']}: {last_complaint(done.stderr)}")
    answers: list[Answer] = response["answers"]
    return answers


def patience(questions: Sequence[Question]) -> int:
    """Return how many seconds the child may take before it counts as hung: a large model answers many for hours."""
    return SECONDS * (1 + sum(len(question.get("places", ("answer",))) for question in questions))


def failed(gguf: Path, what: str) -> Failed:
    """Return the error for a file that llama.cpp doesn't take."""
    return Failed(
        f"llama.cpp {what}",
        hint="export again; if it stays, this model can't be served from GGUF: serve the merged folder",
        place=str(gguf),
    )


def last_complaint(log: str) -> str:
    """Return the line of llama.cpp's log that says what went wrong."""
    lines = [line for line in log.splitlines() if line.strip()]
    wrong = [line for line in lines if " E " in line or "error" in line.lower() or "GGML_ASSERT" in line]
    return one_line((wrong or lines or ["it said nothing"])[0], 200)


def known_tokens(gguf: Path) -> list[str]:
    """Return the tokens of a GGUF file in the order of their numbers.

    Raises:
        MissingExtra: The `gguf` package is not installed.
        ModelError: This is no GGUF file, or one without a vocabulary.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("gguf", extra="gguf")
    try:
        field = importlib.import_module("gguf").GGUFReader(gguf).fields["tokenizer.ggml.tokens"]
        return [bytes(field.parts[place]).decode("utf-8", "replace") for place in field.data]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelError(
            "this is no GGUF file of a language model", hint="name the file an export wrote", place=str(gguf)
        ) from error


def greedy(gguf: Path, prompts: Sequence[Sequence[int]], *, max_tokens: int = 64) -> list[str]:
    """Return what the GGUF model answers to each prompt, always taking the likeliest token.

    Args:
        gguf: The model file.
        prompts: Token ids of rendered prompts.
        max_tokens: Longest answer, in tokens; an answer also ends at a stop token, which is not shown.

    Raises:
        MissingExtra, Failed: As `ask`.
    """
    longest = max((len(prompt) for prompt in prompts), default=0)
    questions = [continuation(prompt, max_tokens=max_tokens) for prompt in prompts]
    return [answer["text"] for answer in ask(gguf, questions, context=longest + max_tokens + 8)]


# in the child ----------------------------------------------------------------------------------------------


class Server:
    """llama.cpp's server in this process, spoken to over HTTP on the loopback address."""

    def __init__(self, request: dict[str, Any]) -> None:
        xllamacpp = importlib.import_module("xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = request["gguf"]
        params.n_ctx = request["context"]
        params.n_batch = params.n_ubatch = 512
        params.n_parallel = 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = request["threads"]
        params.warmup = False
        params.ui = False
        # Left on, it may shorten the context we asked for.
        params.fit_params = False
        self.key = secrets.token_hex(16)
        params.api_keys = [self.key]
        self.running = xllamacpp.Server(params)
        address = urlsplit(self.running.listening_address)
        self.plain: int | None = None
        self.connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=SECONDS)

    def post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON answer of a route.

        Raises:
            ValueError: The server refused; the message is its own.
        """
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        self.connection.request("POST", route, json.dumps(body), headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != http.client.OK:
            raise ValueError(one_line(content.decode("utf-8", "replace"), 300))
        value: dict[str, Any] = json.loads(content)
        return value

    def next(self, question: Question) -> Answer:
        """Return the likeliest next tokens and their log-probabilities before any sampling rule."""
        if self.plain is None:
            self.plain = self.tokens(tokens("a", special=False))["ids"][-1]
        body = {"prompt": question["ids"], "n_predict": 1, "n_probs": question["top"], "temperature": 0}
        # The server leaves the probabilities out when the token it samples is half a character. The bias
        # makes it sample "a"; the probabilities are taken from the logits before any bias.
        body["logit_bias"] = [[self.plain, 1e6]]
        answer = self.post("/completion", {**body, "post_sampling_probs": False, "cache_prompt": True})
        top = answer["completion_probabilities"][0]["top_logprobs"]
        return {"ids": [entry["id"] for entry in top], "logprobs": [entry["logprob"] for entry in top]}

    def continuation(self, question: Question) -> Answer:
        """Return the continuation as text."""
        body = {"prompt": question["ids"], "n_predict": question["max_tokens"], "temperature": 0}
        # No penalty of any kind: the plain argmax, as transformers' greedy search takes it.
        plain = {"samplers": ["temperature", "top_p"], "repeat_penalty": 1.0, "cache_prompt": True}
        answer = self.post("/completion", {**body, **plain, **question["settings"]})
        return {"text": answer["content"], "ended": answer["stop_type"] != "limit"}

    def forced(self, question: Question) -> Answer:
        """Return the log-probabilities of tokens before any sampling rule."""
        return {"logprobs": [self._forced(question, place) for place in question["places"]]}

    def _forced(self, question: Question, place: int) -> float:
        ids, wanted = question["ids"][:place], question["ids"][place]
        # The bias makes the server sample the token; its probability is told from the logits before any bias.
        body = {"prompt": ids, "n_predict": 1, "n_probs": 1, "temperature": 0, "logit_bias": [[wanted, 1e6]]}
        answer = self.post("/completion", {**body, "post_sampling_probs": False, "cache_prompt": True})
        told = [entry for entry in answer.get("completion_probabilities") or () if entry["id"] == wanted]
        if told:
            return float(told[0]["logprob"])
        # Not told for half a character, nor for a token that ends the answer: it is among the probabilities of all.
        found = self.next({"ids": ids, "top": question["vocabulary"]})
        return float(found["logprobs"][found["ids"].index(wanted)])

    def tokens(self, question: Question) -> Answer:
        """Return the token ids of a text, with what the model adds around it."""
        body = {"content": question["text"], "add_special": question["special"], "parse_special": True}
        return {"ids": self.post("/tokenize", body)["tokens"]}

    def chat(self, question: Question) -> Answer:
        """Return the text and the token ids of a rendered chat."""
        body = {"messages": question["messages"]}
        if question.get("tools"):
            body["tools"] = question["tools"]
        try:
            text = self.post("/apply-template", body)["prompt"]
        except ValueError as error:
            return {"error": str(error)}
        return {"text": text, **self.tokens(tokens(text))}


ALIVE: list[Server] = []
"""The server, so that it lives as long as the process. Its destructor waits for threads that may never end: seen in
one of some hundred calls, on a busy machine."""


def respond(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answers to a request, or what went wrong."""
    try:
        server = Server(request)
        ALIVE.append(server)
    except RuntimeError:
        return {"error": "can't load the file"}
    kinds = {
        "next": server.next,
        "continuation": server.continuation,
        "forced": server.forced,
        "tokens": server.tokens,
        "chat": server.chat,
    }
    try:
        return {"answers": [kinds[question["kind"]](question) for question in request["questions"]]}
    except ValueError as error:
        return {"error": f"refused a question: {error}"}


def main() -> None:
    """Read a request from stdin, write the response to stdout, and leave without C++ clean-up."""
    # llama.cpp may print to stdout: keep the real one for the answer, send everything else to stderr.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    response = respond(json.load(sys.stdin))
    json.dump(response, answer)
    answer.flush()
    os._exit(0)  # without the server's destructor: the answer is out, nothing is left to save


if __name__ == "__main__":
    main()
