"""Asking a scripted judge over real sockets: nothing is lost, asked twice, or spent beyond the budget."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.core.endpoint import Endpoint, EndpointError, Reply
from luthier.core.progress import Silent
from luthier.evaluate.judge.ask import CUT, NOT_ASKED, REFUSED, UNREADABLE, Asking, Judged
from luthier.evaluate.judge.cache import Cache, key_of
from luthier.evaluate.judge.outcomes import Tally, outcomes, tally
from luthier.evaluate.judge.questions import questions
from luthier.evaluate.pairs import Pair
from luthier.recipe.judge import RUBRIC, Judge
from served import Asked, Sent, Served, failed, said


def pairs(count: int) -> list[Pair]:
    """Pairs whose tuned answer is good, and whose base answers are of different lengths."""
    return [Pair(f"f:{n}", f"Why {n}?", "So.", "Bad." + "." * n, "Good!") for n in range(count)]


def text_of(asked: Asked) -> str:
    return asked.body["messages"][0]["content"]


def shown(asked: Asked) -> list[str]:
    return re.findall(r"--- ANSWER(?: \d)? BEGINS \w+ ---\n(.*?)\n--- ANSWER", text_of(asked), re.DOTALL)


def reply(*answers: str, better: object = None, **usage: int) -> Sent:
    """Rate what begins with Good by 5 and all else by 2."""
    scores = [dict.fromkeys(RUBRIC, 5 if answer.startswith("Good") else 2) for answer in answers]
    found = {"reason": "Good is good."}
    if len(answers) == 1:
        return said(json.dumps({**found, "answer": scores[0]}), **usage)
    if better is None:
        better = "1" if answers[0] > answers[1] else "2"
    numbered = {f"answer_{number}": one for number, one in enumerate(scores, start=1)}
    return said(json.dumps({**found, **numbered, "better": better}), **usage)


def fair(asked: Asked) -> Sent:
    return reply(*shown(asked), prompt_tokens=100, completion_tokens=10)


def judge(server: Served, **options: object) -> Judge:
    return Judge.model_validate({"url": server.url, "model": "m", "timeout": 5.0, "max_tokens": 50, **options})


def ask(server: Served, folder: Path, count: int = 12, **options: object) -> tuple[Judged, Tally]:
    asked = judge(server, **options)
    rows = pairs(count)
    asking = Asking(questions(rows, asked), asked, Cache(folder / "replies.jsonl"))
    with Endpoint(server.url, timeout=5.0, tries=2) as endpoint:
        found = asking.ask(endpoint, Silent())
    return found, tally(outcomes(rows, asking.questions, found), asked.criteria)


def test_a_fair_judge_finds_the_better_model(tmp_path: Path) -> None:
    with Served(fair) as server:
        replies, found = ask(server, tmp_path)
    assert len(server.asked) == 24
    assert found.counts == {"tuned": 12, "base": 0, "tie": 0}
    assert (found.verdict, found.scored, found.flipped, found.win_rate.value) == ("better", 12, 0, 1.0)
    assert found.win.p == pytest.approx(2 * 0.5**12)
    assert [one.found.change.value for one in found.criteria] == [3.0] * 4
    assert found.first.value == 0.5
    assert (replies.purse.calls, replies.purse.prompt_tokens, replies.purse.answer_tokens) == (24, 2400, 240)


def test_rated_one_by_one_the_higher_sum_wins(tmp_path: Path) -> None:
    with Served(fair) as server:
        _, found = ask(server, tmp_path, mode="rate")
    assert found.counts["tuned"] == 12
    assert found.first is None


def test_a_judge_that_likes_what_stands_first_finds_nothing_and_is_found_out(tmp_path: Path) -> None:
    with Served(lambda asked: reply(*shown(asked), better="1")) as server:
        _, found = ask(server, tmp_path)
    assert found.counts == {"tuned": 0, "base": 0, "tie": 12}
    assert (found.flipped, found.first.value, found.verdict) == (12, 1.0, "undecided")
    assert found.win_rate.value == 0.5


def test_what_cannot_be_read_is_asked_once_more_and_then_unscored_never_zero(tmp_path: Path) -> None:
    def script(asked: Asked) -> Sent:
        number = int(re.search(r"Why (\d+)\?", text_of(asked))[1])
        again = text_of(asked).endswith("nothing before or after it.")
        if number == 0 or (number == 1 and not again):
            return said("Both are great! 5/5")
        return fair(asked)

    with Served(script) as server:
        replies, found = ask(server, tmp_path)
    assert len(server.asked) == 24 + 4
    assert (replies.asked_again, found.scored, found.unscored) == (4, 11, {UNREADABLE: 1})
    assert found.counts["tuned"] == 11
    assert found.criteria[0].found.base.value == 2.0


def test_asking_once_more_after_a_kill_is_part_of_the_cost(tmp_path: Path) -> None:
    with Served(lambda asked: said("Both are great!")) as server:
        options = judge(server)
        asked, cache = questions(pairs(2), options), Cache(tmp_path / "replies.jsonl")
        asking = Asking(asked, options, cache)
        first = key_of(server.url, "m", asked[0].text, asking.settings)
        cache.keep(first, Reply("Both are great!", "stop", 1, 1))
        assert asking.estimate(len).calls == 4
        ask(server, tmp_path, 2)
        assert Asking(asked, options, Cache(tmp_path / "replies.jsonl")).estimate(len).calls == 0


def test_one_refused_question_is_unscored_and_when_all_are_it_ends(tmp_path: Path) -> None:
    with Served(lambda asked: failed(400, "too long") if "Why 3?" in text_of(asked) else fair(asked)) as server:
        _, found = ask(server, tmp_path / "one", at_once=1)
    assert (found.scored, found.unscored) == (11, {REFUSED: 1})
    with Served(lambda asked: failed(400, "no such setting")) as server:
        with pytest.raises(EndpointError, match="no such setting"):
            ask(server, tmp_path / "all", at_once=1)
    assert len(server.asked) == 3


def test_a_reply_that_was_cut_is_not_bought_again(tmp_path: Path) -> None:
    cut = Sent(json.dumps({"choices": [{"message": {"content": '{"rea'}, "finish_reason": "length"}]}).encode())
    with Served(lambda asked: cut) as server:
        _, found = ask(server, tmp_path, 3)
    assert len(server.asked) == 6
    assert found.unscored == {CUT: 3}
    assert found.win_rate is None


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    with Served(fair) as server:
        _, first = ask(server, tmp_path, 6)
        _, more = ask(server, tmp_path, 8)
        assert len(server.asked) == 16
        assert [one.winner for one in more.outcomes[:6]] == [one.winner for one in first.outcomes]
        ask(server, tmp_path, 8, rubric={**RUBRIC, "fluency": "sounds nice"})
        assert len(server.asked) == 32  # another rubric is another question


def test_a_failing_judge_keeps_what_it_said_and_goes_on_there(tmp_path: Path) -> None:
    broken = True

    def script(asked: Asked) -> Sent:
        return failed(401, "expired") if broken and len(server.asked) > 7 else fair(asked)

    with Served(script) as server:
        with pytest.raises(EndpointError, match="expired"):
            ask(server, tmp_path, at_once=1)
        broken = False
        _, found = ask(server, tmp_path)
    assert found.scored == 12
    assert len(server.asked) == 24 + 1


def test_a_torn_last_line_costs_one_question_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    with Served(fair) as server:
        ask(server, tmp_path, 4)
        path.write_bytes(path.read_bytes()[:-20])
        _, found = ask(server, tmp_path, 4)
        assert len(server.asked) == 9
        assert found.scored == 4
        ask(server, tmp_path, 4)
        assert len(server.asked) == 9
    assert len(path.read_text().splitlines()) == 9


def test_a_damaged_cache_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    row = b'{"key": [], "text": "", "finish": "", "prompt_tokens": 1, "answer_tokens": 1}\n'
    path.write_bytes(b'null\n[]\n{"key": 1}\n\xff\xfe\n' + row + row.replace(b"[]", b'"k"').replace(b'""', b"3", 1))
    cache = Cache(path)
    cache.keep("k", Reply("hello", "stop", None, 3))
    assert Cache(path).get("k") == Reply("hello", "stop", None, 3)


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_judge_asking import ask
assert "torch" not in sys.modules  # a judge is asked where nothing is trained
class Server: url = sys.argv[1]
ask(Server, Path(sys.argv[2]), at_once=2)
"""


@pytest.mark.parametrize(("moment", "times"), [("to be written", 3), ("written", 5), ("synced", 8)])
def test_a_kill_anywhere_loses_no_reply_and_doubles_none(tmp_path: Path, moment: str, times: int) -> None:
    with Served(fair) as server:
        places = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
        command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path), *places]
        setting = {**os.environ, "LUTHIER_FAILPOINT": f"replies.jsonl {moment}:{times}"}
        killed = subprocess.run(command, env=setting, check=False, capture_output=True, timeout=60)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        kept = times - (moment == "to be written")
        assert len((tmp_path / "replies.jsonl").read_text().splitlines()) == kept
        before = len(server.asked)
        _, found = ask(server, tmp_path)
        assert len(server.asked) - before == 24 - kept
    assert found.counts["tuned"] == 12
    keys = [json.loads(line)["key"] for line in (tmp_path / "replies.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 24


def test_the_budget_is_never_exceeded_and_what_it_buys_is_used(tmp_path: Path) -> None:
    price = {"input": 1.0, "output": 10.0}  # 100 in and 10 out: 0.0002 dollars a reply
    with Served(fair) as server:
        replies, found = ask(server, tmp_path, 40, price=price, budget=0.006)
        spent = replies.purse.usd
        assert spent <= 0.006
        most = max(len(text_of(asked).encode()) + 8 for asked in server.asked) * 1e-6 + 50 * 10e-6
        assert spent > 0.006 - most - 0.0001
        assert found.unscored == {NOT_ASKED: 40 - found.scored}
        asked = len(server.asked)
        again, _ = ask(server, tmp_path, 40, price=price, budget=0.006)
        assert len(server.asked) == asked
        assert again.purse.usd == pytest.approx(spent)
        _, whole = ask(server, tmp_path, 40, price=price, budget=1.0)
        assert whole.scored == 40
        assert len(server.asked) == 80


def test_what_a_server_does_not_count_is_reckoned_at_its_most(tmp_path: Path) -> None:
    with Served(lambda asked: reply(*shown(asked))) as server:
        replies, _ = ask(server, tmp_path, 1, price={"input": 1.0, "output": 1.0})
        most = sum(len(text_of(asked).encode()) + 8 for asked in server.asked)
    assert not replies.purse.counted
    assert (replies.purse.prompt_tokens, replies.purse.answer_tokens) == (most, 100)


def test_cost_is_told_before_and_holds_only_what_is_open(tmp_path: Path) -> None:
    with Served(fair) as server:
        options = judge(server, price={"input": 2.0, "output": 4.0})
        asked = questions(pairs(5), options)
        before = Asking(asked, options, Cache(tmp_path / "replies.jsonl")).estimate(lambda text: 500)
        assert (before.calls, before.kept, before.prompt_tokens, before.answer_tokens) == (10, 0, 5080, 5000)
        assert before.usd == pytest.approx((2 * 5080 + 4 * 5000) / 1e6)
        assert "10 questions" in str(before)
        assert "estimate" in str(before)
        assert server.asked == []
        ask(server, tmp_path, 2)
        after = Asking(asked, options, Cache(tmp_path / "replies.jsonl")).estimate(lambda text: 500)
        assert (after.calls, after.kept) == (6, 4)
