"""Real HTTP servers on the loopback address that answer as vLLM and llama.cpp do, or wrongly."""

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from luthier.core.errors import LuthierError
from luthier.export.servers import (
    LlamaCpp,
    RefusedError,
    ServerAddressError,
    StrangeAnswerError,
    UnreachableError,
    Vllm,
    address,
    connect,
    sent,
)

TALK = [
    {"role": "user", "content": "Grüße", "weight": 0, "tags": {"secret": "x"}},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"ü": 1}}}],
    },
    {"role": "tool", "content": "3", "tool_call_id": "c", "source": "a.jsonl:3"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
VLLM_MODELS = {"object": "list", "data": [{"id": "base", "owned_by": "vllm"}, {"id": "lora", "owned_by": "vllm"}]}
LLAMACPP_MODELS = {"models": [{}], "object": "list", "data": [{"id": "m.gguf", "owned_by": "llamacpp"}]}


@pytest.fixture
def serve():
    """Return a function that starts a server from a table of routes; `.asked` holds what it was sent."""
    running = []

    def start(routes):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, body):
                self.server.asked.append((self.command, self.path, dict(self.headers), body))
                reply = routes.get((self.command, self.path), (404, {"error": {"message": "File Not Found"}}))
                reply = reply(body) if callable(reply) else reply
                status, value, *headers = reply if isinstance(reply, tuple) else (200, reply)
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, header in headers:
                    self.send_header(name, header)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(ConnectionError):  # the client may have given up
                    self.wfile.write(content)

            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_vllm_is_asked_for_the_ids_of_the_chat_and_sent_nothing_else(serve):
    server = serve({("GET", "/v1/models"): VLLM_MODELS, ("POST", "/tokenize"): {"count": 2, "tokens": [5, 6]}})
    found = connect(server.url + "/v1/")
    assert isinstance(found, Vllm)
    assert found.label == f"vLLM at {server.url} (base)"
    assert found.prompt_ids(TALK, TOOLS) == [5, 6]
    assert server.asked[-1][3] == {
        "model": "base",
        "messages": [
            {"role": "user", "content": "Grüße"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"type": "function", "id": "c", "function": {"name": "f", "arguments": '{"ü": 1}'}}],
            },
            {"role": "tool", "content": "3", "tool_call_id": "c"},
        ],
        "tools": TOOLS,
        "add_generation_prompt": True,
    }
    assert found.prompt_ids(TALK) == [5, 6]
    assert "tools" not in server.asked[-1][3]
    sent = {name.lower() for _, _, headers, _ in server.asked for name in headers}
    assert not sent & {"authorization", "cookie"}


def test_llama_cpp_renders_first_and_tokenizes_with_its_own_special_tokens(serve):
    server = serve(
        {
            ("GET", "/v1/models"): LLAMACPP_MODELS,
            ("POST", "/apply-template"): lambda body: {"prompt": f"<{body['messages'][0]['content']}>"},
            ("POST", "/tokenize"): lambda body: {"tokens": [1, len(body["content"])]},
        }
    )
    found = connect(server.url)
    assert isinstance(found, LlamaCpp)
    assert found.label == f"llama.cpp at {server.url} (m.gguf)"
    assert found.prompt_ids(TALK, TOOLS) == [1, 7]
    assert set(server.asked[-2][3]) == {"messages", "tools"}
    assert server.asked[-1][3] == {"content": "<Grüße>", "add_special": True, "parse_special": True}


@pytest.mark.parametrize(
    ("routes", "kind"),
    [
        ({("GET", "/props"): {"default_generation_settings": {}}}, LlamaCpp),
        ({("GET", "/version"): {"version": "0.33.0"}}, Vllm),
    ],
)
def test_a_server_that_a_proxy_renamed_is_known_by_its_own_routes(serve, routes, kind):
    server = serve({("GET", "/v1/models"): {"data": [{"id": "m", "owned_by": "me"}]}, **routes})
    assert isinstance(connect(server.url), kind)


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ({}, "status 404: File Not Found"),
        ({("GET", "/v1/models"): (200, b"<html>")}, "`/v1/models` answers no JSON"),
        ({("GET", "/v1/models"): (200, b"[" * 100_000)}, "`/v1/models` answers no JSON"),
        ({("GET", "/v1/models"): {"data": []}}, "lists no model"),
        ({("GET", "/v1/models"): [1]}, "lists no model"),
        ({("GET", "/v1/models"): {"data": [{"id": 3}]}}, "lists no model"),
        ({("GET", "/v1/models"): {"data": [{"id": "m", "owned_by": "library"}]}}, "belong to `library`"),
    ],
)
def test_another_kind_of_server_is_refused_with_what_to_give(serve, routes, said):
    server = serve(routes)
    with pytest.raises(ServerAddressError) as error:
        connect(server.url)
    assert said in error.value.problem
    assert "for Ollama give its Modelfile" in error.value.hint
    assert error.value.place == server.url
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "roles must alternate", "type": "BadRequestError"}}, "roles must alternate"),
        ({"object": "error", "message": "too long"}, "too long"),
        ({"detail": [{"msg": "field required"}]}, '[{"msg": "field required"}]'),
        (b"plain\nwords \x1b[31m", "plain words \\x1b[31m"),
        (b"", ""),
    ],
)
def test_the_servers_own_words_are_in_the_error(serve, body, words):
    server = serve({("GET", "/v1/models"): VLLM_MODELS, ("POST", "/tokenize"): (400, body)})
    with pytest.raises(RefusedError) as error:
        connect(server.url).prompt_ids(TALK)
    assert error.value.problem == "the server refuses with status 400" + (f": {words}" if words else "")
    assert error.value.status == 400
    assert error.value.exit_code == 1


def test_a_server_that_wants_a_key_is_told_apart(serve):
    server = serve({("GET", "/v1/models"): VLLM_MODELS, ("POST", "/tokenize"): (401, {"error": "Unauthorized"})})
    with pytest.raises(RefusedError) as error:
        connect(server.url).prompt_ids(TALK)
    assert "luthier sends none" in error.value.hint


@pytest.mark.parametrize(
    "answer", [{}, [], {"tokens": "1 2"}, {"tokens": [1, "2"]}, {"tokens": [True]}, {"tokens": [-1]}, {"tokens": [1.0]}]
)
def test_ids_of_another_shape_are_refused(serve, answer):
    server = serve({("GET", "/v1/models"): VLLM_MODELS, ("POST", "/tokenize"): answer})
    with pytest.raises(StrangeAnswerError, match="without a list of token ids"):
        connect(server.url).prompt_ids(TALK)


def test_a_template_route_of_another_shape_is_refused(serve):
    server = serve({("GET", "/v1/models"): LLAMACPP_MODELS, ("POST", "/apply-template"): {"text": "a"}})
    with pytest.raises(StrangeAnswerError, match="without a `prompt`"):
        connect(server.url).prompt_ids(TALK)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/elsewhere"])
def test_no_redirect_is_followed(serve, status, to):
    moved = (status, b"", ("Location", to))
    server = serve({("GET", "/v1/models"): VLLM_MODELS, ("POST", "/tokenize"): moved})
    with pytest.raises(StrangeAnswerError, match="sends on to") as error:
        connect(server.url).prompt_ids(TALK)
    assert to in error.value.problem
    assert [path for _, path, _, _ in server.asked] == ["/v1/models", "/tokenize"]


def test_a_proxy_of_the_environment_is_not_used(serve, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert connect(serve({("GET", "/v1/models"): VLLM_MODELS}).url).model == "base"


def test_where_nothing_listens_the_error_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnreachableError) as error:
            connect(url)
    assert error.value.problem == "can't reach the server: nothing listens there"
    assert error.value.place == url


def test_an_answer_that_comes_too_late_is_given_up(serve):
    def late(_):
        time.sleep(0.5)
        return VLLM_MODELS

    with pytest.raises(UnreachableError, match=r"no answer within 0\.1 s"):
        connect(serve({("GET", "/v1/models"): late}).url, seconds=0.1)


def drip(listening, stop):
    connection, _ = listening.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not stop.wait(0.02):
            try:
                connection.sendall(b"[")
            except OSError:
                return


def test_an_answer_that_drips_byte_by_byte_is_given_up():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening, stop))
        thread.start()
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match="no answer within"):
            connect(f"http://127.0.0.1:{listening.getsockname()[1]}", seconds=0.3)
        assert time.monotonic() - begun < 5
        stop.set()
        thread.join()


def test_an_answer_that_is_too_long_is_given_up(serve):
    server = serve({("GET", "/v1/models"): (200, b" " * 200_000)})
    with pytest.raises(ServerAddressError, match="longer than 100,000 bytes"):
        connect(server.url, largest=100_000)


def test_something_that_speaks_no_http_is_unreachable():
    def hang_up(listening):
        connection, _ = listening.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"SSH-2.0-x\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=hang_up, args=(listening,))
        thread.start()
        with pytest.raises(UnreachableError, match="can't reach the server"):
            connect(f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread.join()


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://h:80", "http://h:80"),
        ("https://h/", "https://h"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("http://h/models/a/v1/", "http://h/models/a"),
    ],
)
def test_an_address_loses_its_v1(url, wanted):
    assert address(url) == wanted


@pytest.mark.parametrize(
    "url",
    ["ftp://h", "file:///etc/passwd", "http://", "http://u:secret@h", "http://h?x=1", "http://h#x", "http://h:x", "h"],
)
def test_an_address_of_another_kind_is_refused_without_showing_a_password(url):
    with pytest.raises(LuthierError) as error:
        address(url)
    assert "secret" not in str(error.value)
    assert "http://HOST:PORT" in error.value.hint


def test_a_function_call_of_before_2023_11_is_sent_as_a_tool_call():
    call = {"name": "f", "arguments": '{"ü":1}'}
    told = sent({"role": "assistant", "content": "", "function_call": call, "weight": 1})
    assert told == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"ü": 1}'}}],
    }


def test_reasoning_under_any_name_is_sent_under_those_that_templates_read():
    told = sent({"role": "assistant", "content": "a", "reasoning": "b"})
    assert told["reasoning_content"] == "b"


def test_a_bare_call_is_wrapped_and_what_is_no_call_goes_as_it_is():
    bare = {"id": "c", "name": "f", "arguments": {"a": 1}}
    wrapped = {"type": "function", "id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}
    assert sent({"role": "assistant", "tool_calls": [bare, "f()", None, {"function": "f()"}, {}]})["tool_calls"] == [
        wrapped,
        "f()",
        None,
        {"function": "f()"},
        {},
    ]
    assert sent({"role": "assistant", "tool_calls": "f()"})["tool_calls"] == "f()"
