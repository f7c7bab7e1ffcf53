"""Asking a model over HTTP, against a real server on this machine that follows a script."""

import json
import threading
import time
import traceback
from email.utils import formatdate

import pytest

from luthier.core.asked import together
from luthier.core.endpoint import Endpoint, EndpointError, base_url
from luthier.core.errors import RecipeError
from luthier.core.http import seconds_to_wait
from luthier.core.key import Key, read_key
from served import Asked, Sent, Served, failed, said

SECRET = "sk-canary-1234567890"
QUESTION = [{"role": "user", "content": "Why?"}]


def scripted(*answers: Sent):
    """Give these answers, the last one for ever."""
    left, lock = list(answers), threading.Lock()

    def script(asked: Asked) -> Sent:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return Served(script)


def ask(server: Served, **options: object) -> str:
    with Endpoint(server.url, **{"timeout": 5.0, **options}) as endpoint:
        return endpoint.chat("m", QUESTION, {"temperature": 0}).text


def refused(server: Served, **options: object) -> EndpointError:
    with pytest.raises(EndpointError) as error:
        ask(server, **options)
    return error.value


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_question_is_sent_in_the_published_form_and_the_answer_counted() -> None:
    with scripted(said("Because.", prompt_tokens=7, completion_tokens=2)) as server:
        with Endpoint(server.url, key=Key("a test", SECRET)) as endpoint:
            reply = endpoint.chat("m", QUESTION, {"temperature": 0, "max_tokens": 5})
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.answer_tokens) == ("Because.", "stop", 7, 2)
    asked = server.asked[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {"model": "m", "messages": QUESTION, "temperature": 0, "max_tokens": 5}
    assert asked.headers["Authorization"] == f"Bearer {SECRET}"


def test_a_text_is_completed() -> None:
    with scripted(Sent(b'{"choices": [{"text": " b", "finish_reason": "length"}]}')) as server:
        with Endpoint(server.url) as endpoint:
            assert endpoint.complete("m", "a", {}).text == " b"
    assert server.asked[0].path == "/v1/completions"
    assert server.asked[0].body["prompt"] == "a"


def test_a_limit_is_waited_for_as_long_as_the_server_says() -> None:
    with scripted(failed(429, "slow down", retry_after="0.4"), said("now")) as server:
        began = time.monotonic()
        assert ask(server) == "now"
    assert time.monotonic() - began >= 0.4
    assert len(server.asked) == 2


def test_while_one_waits_for_a_limit_nobody_else_asks() -> None:
    arrived = []

    def script(asked: Asked) -> Sent:
        arrived.append(time.monotonic())
        return failed(429, "slow down", retry_after="0.5") if len(arrived) == 1 else said("now")

    with Served(script) as server, Endpoint(server.url) as endpoint:
        first = threading.Thread(target=endpoint.chat, args=("m", QUESTION, {}))
        first.start()
        while not arrived:
            time.sleep(0.01)
        time.sleep(0.1)
        endpoint.chat("m", QUESTION, {})
        first.join()
    assert min(arrived[1:]) - arrived[0] >= 0.45


def test_a_wait_may_be_a_number_or_a_date() -> None:
    assert seconds_to_wait({"retry-after": "2"}) == 2
    assert seconds_to_wait({"retry-after-ms": "150", "retry-after": "9"}) == 0.15
    assert 8 < seconds_to_wait({"retry-after": formatdate(time.time() + 10, usegmt=True)}) <= 10
    assert seconds_to_wait({"retry-after": "soon"}) is None
    assert seconds_to_wait({}) is None


def test_who_must_wait_an_hour_is_told_at_once() -> None:
    with scripted(failed(429, "come back tomorrow", retry_after="3600")) as server:
        error = refused(server)
    assert "limit is reached (come back tomorrow)" in error.problem
    assert len(server.asked) == 1


def test_a_used_up_quota_is_not_asked_again() -> None:
    with scripted(failed(429, "no money", code="insufficient_quota")) as server:
        assert "no money" in refused(server).problem
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "first",
    [failed(500), failed(503), Sent(b'{"choices": [', length=100), Sent(b'{"choices": ['), Sent(b"", 502)],
    ids=["500", "503", "cut off", "half an answer", "an empty 502"],
)
def test_what_may_pass_is_tried_again(first: Sent) -> None:
    with scripted(first, said("fine")) as server:
        assert ask(server) == "fine"
    assert len(server.asked) == 2


def test_what_does_not_pass_ends_after_a_few_tries() -> None:
    with scripted(failed(500, "out of order")) as server:
        error = refused(server, tries=2)
    assert "status 500 (out of order)" in error.problem
    assert error.status == 500
    assert len(server.asked) == 2


def test_a_server_that_never_answers_is_left_after_the_time_twice() -> None:
    done = threading.Event()

    def script(asked: Asked) -> Sent:
        done.wait(5)
        return said("too late")

    with Served(script) as server:
        error = refused(server, timeout=0.2)
        done.set()
    assert "no answer within 0.2 seconds" in error.problem
    assert len(server.asked) == 2


def test_nobody_there_is_said_so() -> None:
    with scripted(said("gone")) as server:
        pass
    error = refused(server, tries=1)
    assert "can't be reached" in error.problem
    assert error.place == server.url


@pytest.mark.parametrize(
    ("sent", "words", "hint"),
    [
        (failed(401, "bad key"), "wants a key (bad key)", "environment variable"),
        (failed(403, "not you"), "doesn't allow this (not you)", "another model or key"),
        (failed(400, "too long"), "status 400 (too long)", "says why"),
        (Sent(b"<html>log in</html>"), "is not JSON (<html>log in</html>)", "/v1"),
        (Sent(b'{"object": "list"}'), "not of the form", "/v1"),
        (Sent(b"[" * 100_000), "is not JSON", "/v1"),
        (Sent(b'{"detail": "\\u001b[31mred"}', 400), "\\x1b[31mred", "says why"),
    ],
)
def test_an_error_says_what_the_server_said_and_what_to_do(sent: Sent, words: str, hint: str) -> None:
    with scripted(sent) as server:
        error = refused(server, tries=1)
    assert words in error.problem
    assert hint in error.hint


def test_a_wrong_model_is_told_the_right_ones() -> None:
    def script(asked: Asked) -> Sent:
        return (
            Sent(b'{"data": [{"id": "llama"}, {"id": "qwen"}]}')
            if asked.path == "/v1/models"
            else failed(404, "no such model")
        )

    with Served(script) as server:
        assert refused(server).hint == "there are llama, qwen"


def test_a_redirect_is_not_followed_so_that_the_key_stays() -> None:
    with scripted(said("here is your key")) as other:
        with scripted(Sent(b"", 307, {"Location": other.url + "/chat/completions"})) as server:
            error = refused(server, key=Key("a test", SECRET))
    assert "points elsewhere" in error.problem
    assert other.url in error.problem
    assert other.asked == []


def test_an_answer_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luthier.core.http.LARGEST", 1000)
    with scripted(said("x" * 2000)) as server:
        assert "larger than 1,000 bytes" in refused(server).problem
    assert len(server.asked) == 1


def test_a_compressed_answer_is_not_unpacked() -> None:
    with scripted(Sent(b"\x1f\x8b", 200, {"Content-Encoding": "gzip"})) as server:
        assert "compressed" in refused(server).problem


def test_settings_a_model_does_not_take_are_renamed_or_left_out() -> None:
    def script(asked: Asked) -> Sent:
        for name in ("max_tokens", "temperature"):
            if name in asked.body:
                return failed(400, "not here", code="unsupported_parameter", param=name)
        return said(json.dumps(asked.body, sort_keys=True))

    with Served(script) as server, Endpoint(server.url) as endpoint:
        settings = {"temperature": 0, "max_tokens": 9}
        found = json.loads(endpoint.chat("m", QUESTION, settings).text)
        endpoint.chat("m", QUESTION, settings)
        assert found == {"model": "m", "messages": QUESTION, "max_completion_tokens": 9}
        assert endpoint.left_out == ("temperature",)
    assert len(server.asked) == 4


def test_a_key_is_in_no_error_nor_in_the_frames_behind_it() -> None:
    key = Key("the variable X", SECRET)
    for sent in (failed(401, f"wrong key: {SECRET}"), Sent(SECRET.encode(), 500), Sent(b"{}", length=50)):
        with scripted(sent) as server, Endpoint(server.url, key=key, tries=1) as endpoint:
            with pytest.raises(EndpointError) as error:
                endpoint.chat("m", QUESTION, {})
        dump = traceback.TracebackException.from_exception(error.value, capture_locals=True)
        ours = [frame for frame in dump.stack if "luthier" in frame.filename]
        assert ours
        assert all(frame.locals for frame in ours)
        assert SECRET not in f"{[frame.locals for frame in ours]} {error.value} {error.value!r} {key} {key!r}"
        assert error.value.__context__ is None


def test_a_key_is_read_from_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    assert read_key(variable="A_KEY").secret == SECRET
    (tmp_path / "key").write_text(SECRET + "\n")
    assert read_key(file=tmp_path / "key").secret == SECRET
    assert read_key() is None
    monkeypatch.setenv("A_KEY", f"{SECRET}\r\nX-Evil: 1")
    for where in ({"variable": "A_KEY"}, {"variable": "NOT_SET"}, {"file": tmp_path / "none"}, {"file": tmp_path}):
        with pytest.raises(RecipeError) as error:
            read_key(**where)
        assert SECRET not in str(error.value)


def test_a_key_does_not_go_in_the_clear_over_a_public_network() -> None:
    key = Key("a test", SECRET)
    for url in ("http://example.org/v1", "http://8.8.8.8/v1", "http://[2001:4860:4860::8888]/v1"):
        with pytest.raises(RecipeError, match="unencrypted"):
            Endpoint(url, key=key)
    for url in (
        "https://example.org/v1",
        "http://localhost:1/v1",
        "http://10.0.0.5/v1",
        "http://[::1]/v1",
        "http://vllm/v1",
    ):
        Endpoint(url, key=key)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("https://api.example.org/v1/", "https://api.example.org/v1"),
        ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1"),
        ("https://h/openai/v1", "https://h/openai/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_an_address_may_be_given_as_people_have_it(given: str, meant: str) -> None:
    assert base_url(given) == meant


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http://h:x/v1",
        "https://u:p@h/v1",
        "https://h/v1?key=1",
        "http://h/\n",
    ],
)
def test_what_is_no_address_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(RecipeError):
        base_url(url)


def test_many_are_asked_at_once_and_each_answer_has_its_place() -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def answer(number: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01 * (number % 3))
        with lock:
            at_once -= 1
        return number * number

    found = dict(together(answer, range(20), at_once=4))
    assert found == {number: number * number for number in range(20)}
    assert 1 < most <= 4


def test_after_a_failure_nothing_more_is_asked_and_what_was_under_way_is_kept() -> None:
    started, both = [], threading.Barrier(2)

    def answer(number: int) -> int:
        started.append(number)
        if number < 2:
            both.wait(5)
        if number == 0:
            raise EndpointError("no", hint="none")
        time.sleep(0.1)
        return number

    found: list[tuple[int, int]] = []
    with pytest.raises(EndpointError):
        found.extend(together(answer, range(100), at_once=2))
    assert found == [(1, 1)]
    assert len(started) <= 3


def test_who_stops_listening_ends_the_asking() -> None:
    started = []

    def answer(number: int) -> int:
        started.append(number)
        time.sleep(0.02)
        return number

    answers = together(answer, range(1000), at_once=2)
    next(answers)
    answers.close()
    time.sleep(0.1)
    assert len(started) < 10
