"""The page as a real browser shows it, and its server as hostile requests find it."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chromium import HOSTILE, Browser, found
from luthier.evaluate.pairs import Pair
from luthier.evaluate.people.book import Book
from luthier.evaluate.people.booth import Booth
from luthier.evaluate.people.server import LARGEST, Server

TEXTS = (
    "Object.fromEntries(['prompt', 'left', 'right', 'expected'].map("
    "id => [id, document.getElementById(id).textContent]))"
)
COUNT = "document.getElementById('count').textContent"


def booth(tmp_path: Path, pairs: list[Pair], rubric: dict[str, str] | None = None) -> Booth:
    return Booth(pairs, rubric or {}, Book(tmp_path / "ratings.jsonl"), reference=True, seed=0)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(found(), tmp_path_factory.mktemp("browser") / "profile")
    yield opened
    opened.close()


def begin(browser: Browser, server: Server, name: str) -> None:
    browser.open(server.address)
    browser.run("document.getElementById('name').focus()")
    browser.type(name)
    browser.run("document.querySelector('#who button').click()")
    settled(browser, "!document.getElementById('sheet').hidden")


def settled(browser: Browser, true: str) -> None:
    """Wait until the page has heard from its server and something is so."""
    until = time.monotonic() + 30
    while not browser.run(f"!busy && ({true})"):
        assert time.monotonic() < until, browser.run("document.body.innerText")
        time.sleep(0.01)


def test_hostile_texts_run_nothing_and_are_shown_letter_by_letter(tmp_path: Path, browser: Browser) -> None:
    pairs = [Pair("a:1", text, text, text, f"{text}!") for text in HOSTILE]
    with Server(booth(tmp_path, pairs, {"<b>x</b>": HOSTILE[3]})) as server:
        begin(browser, server, "Ada")
        for number, text in enumerate(HOSTILE):
            told = browser.run(TEXTS)
            assert (told["prompt"], told["expected"]) == (text, text)
            assert {told["left"], told["right"]} == {text, f"{text}!"}
            assert browser.run("document.title") == "Which answer is better?"
            assert browser.run("document.querySelectorAll('main img, main script, main iframe, main a').length") == 0
            browser.press("s")
            settled(browser, f"sheet.done === {number + 1}")
    assert browser.said == []
    assert {urlsplit(url).netloc for url in browser.asked} == {urlsplit(server.address).netloc}


def test_a_click_is_saved_before_the_next_pair_is_shown_and_a_new_server_goes_on(
    tmp_path: Path, browser: Browser
) -> None:
    pairs = [Pair(f"a:{n}", f"question {n}", "", f"before {n}", f"after {n}") for n in range(5)]
    with Server(booth(tmp_path, pairs)) as server:
        begin(browser, server, "Ada")
        for number, key in enumerate(("ArrowLeft", "ArrowRight", "=", "u", "s"), start=1):
            browser.press(key)
            settled(browser, f"sheet.done === {number if number < 4 else number - 2}")
    said = Book(tmp_path / "ratings.jsonl").ballots()
    assert [one.winner for one in said] == [said[0].shown[0], said[1].shown[1], None]
    browser.press("=")  # nobody listens: it is told, and the pair stays
    settled(browser, "!document.getElementById('problem').hidden")
    assert "not saved" in browser.run("document.getElementById('problem').textContent")
    assert browser.run(COUNT) == "3 of 5"
    with Server(booth(tmp_path, pairs)) as server:
        begin(browser, server, "Ada")
        assert (browser.run(COUNT), browser.run(TEXTS)["prompt"]) == ("3 of 5", "question 3")
        for number in (4, 5):
            browser.run("document.querySelector('[data-say=tie]').click()")
            settled(browser, f"sheet.done === {number}")
        assert browser.run("document.getElementById('thanks').hidden") is False
        browser.run("document.getElementById('end').click()")
        assert server.finished.wait(30)


def test_ratings_are_asked_for_and_kept(tmp_path: Path, browser: Browser) -> None:
    pairs = [Pair("a:1", "question", "", "before", "after")]
    with Server(booth(tmp_path, pairs, {"accuracy": "is it true?", "fluency": "does it read well?"})) as server:
        begin(browser, server, "Ada")
        browser.press("=")
        settled(browser, "!document.getElementById('problem').hidden")
        assert Book(tmp_path / "ratings.jsonl").ballots() == []
        browser.run("document.querySelectorAll('#sheet input[value=\"4\"]').forEach(input => input.click())")
        browser.press("t")
        settled(browser, "sheet.done === 1")
    (said,) = Book(tmp_path / "ratings.jsonl").ballots()
    assert said.scores == {name: {"accuracy": 4, "fluency": 4} for name in ("base", "tuned")}


def request(
    server: Server, method: str, path: str, *, body: str = "", host: str | None = None, **headers: str
) -> tuple[int, str]:
    split = urlsplit(server.address)
    connection = http.client.HTTPConnection("127.0.0.1", int(split.port or 0), timeout=10)
    connection.putrequest(method, path, skip_host=True)
    sent = {"Host": host or split.netloc, "Content_Length": str(len(body)), **headers}
    for name, value in sent.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    told = answer.status, answer.read().decode()
    connection.close()
    return told


def test_only_the_page_itself_gets_in(tmp_path: Path) -> None:
    pairs = [Pair("a:1", "question", "", "before", "after")]
    with Server(booth(tmp_path, pairs)) as server:
        split = urlsplit(server.address)
        secret, body = split.path, json.dumps({"rater": "Ada"})
        good = {"Origin": f"http://{split.netloc}", "Content_Type": "application/json"}

        def sheet(**changed: str) -> int:
            return request(server, "POST", f"{secret}sheet", body=body, **{**good, **changed})[0]

        assert sheet() == 200
        assert request(server, "GET", secret)[0] == 200
        for host in ("evil.example", f"evil.example:{split.port}", "127.0.0.1", ""):
            assert request(server, "GET", secret, host=host or " ")[0] == 403
        assert sheet(Origin="http://evil.example") == 403
        assert sheet(Origin="null") == 403
        assert request(server, "POST", f"{secret}sheet", body=body, Content_Type="application/json")[0] == 403
        assert sheet(Content_Type="text/plain") == 400
        for path in (
            "/",
            "/x/",
            secret[:-2] + "/",
            f"{secret}../",
            f"{secret}..%2f..%2fetc/passwd",
            "//etc/passwd",
            "*",
        ):
            assert request(server, "GET", path) == (404, "")
        assert request(server, "GET", f"{secret}sheet")[0] == 404
        assert request(server, "OPTIONS", secret)[0] == 501
        for broken in ("", "{", "[]", "null", "{}", '{"rater": 1}', "[" * 5000):
            assert request(server, "POST", f"{secret}sheet", body=broken, **good)[0] in (400, 422)
        assert sheet(Content_Length=str(LARGEST + 1)) == 400
        assert sheet(Content_Length="-1") == 400
    assert not (tmp_path / "ratings.jsonl").exists()
