"""The parent's side: what happens when the process dies, Ctrl-C comes, or nobody needs it any more."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source
from luthier.model.load import load_tokenizer
from luthier.tokens import worker as module
from luthier.tokens.render import Renderer
from luthier.tokens.worker import LARGEST, PATIENCE, TOO_LONG, Worker, Workers

PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
BOMBS = (
    "{% for m in messages %}{% if m.content == 'time' %}" + ENDLESS + "{% endif %}"
    "{% if m.content == 'memory' %}{{ 'a' * 10 ** m.content|length * 10 ** m.content|length }}{% endif %}{% endfor %}"
)


def setting(template: str) -> dict[str, Any]:
    return {
        "template": template,
        "variables": {},
        "now": "2026-03-09T12:00:00",
        "special": ["<|im_end|>"],
        "added": ["<|im_end|>"],
        "learn": "assistant",
        "rows": "conversation",
        "stops": ["<|im_end|>"],
    }


def asked(text: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], "ask": False}).encode()


def told(text: str) -> dict[str, Any]:
    return {"text": f"user: {text}<|im_end|>", "marked": []}


def children() -> set[int]:
    """Return the processes this one started that still run or nobody waited for."""
    found = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return {int(child) for child in found}


def pid(worker: Worker) -> int:
    assert worker._process is not None
    return worker._process.pid


@pytest.fixture
def worker() -> Any:
    worker = Worker(setting(BOMBS + PLAIN))
    yield worker
    worker.close()


def test_answers_stand_in_the_order_of_the_requests(worker: Worker) -> None:
    texts = [f"number {n} 🎻" for n in range(500)]
    assert worker.ask([asked(text) for text in texts]) == [told(text) for text in texts]


def test_a_request_that_ends_the_process_leaves_the_others_their_answers(worker: Worker) -> None:
    texts = ["a", "time", "b", "memory", "c"]
    answers = worker.ask([asked(text) for text in texts])
    assert [answers[place] for place in (0, 2, 4)] == [told("a"), told("b"), told("c")]
    assert answers[1] == {"limit": TOO_LONG}
    assert "256 MB" in answers[3]["limit"]


def test_answers_that_were_handed_over_before_the_process_ended_count_once(worker: Worker) -> None:
    long = "x" * 300_000  # more than a pipe holds: handed over before the next is begun
    texts = ["memory", long, "time", "b"]
    answers = worker.ask([asked(text) for text in texts])
    assert worker.spent == 2
    assert [answers[1], answers[3]] == [told(long), told("b")]


@pytest.mark.slow
def test_a_template_that_takes_too_long_every_time_is_given_up_and_stays_so(worker: Worker) -> None:
    for _ in range(PATIENCE - 1):
        assert worker.ask([asked("time")]) == [{"limit": TOO_LONG}]
    for _ in range(2):
        with pytest.raises(ModelError, match="a second of processor time: it is given up"):
            worker.ask([asked("time")])
    assert worker._process is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("count", [1, 3])
def test_a_process_that_was_killed_between_requests_is_started_again(
    worker: Worker, how: signal.Signals, count: int
) -> None:
    assert worker.ask([asked("a")]) == [told("a")]
    before = pid(worker)
    os.kill(before, how)
    assert worker.ask([asked("b")] * count) == [told("b")] * count
    assert pid(worker) != before
    assert worker.spent == 0


def test_a_process_that_is_killed_while_it_works_is_started_again(worker: Worker) -> None:
    before = pid(worker)
    os.kill(before, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (before, signal.SIGKILL)).start()
    assert worker.ask([asked("a"), asked("b")]) == [told("a"), told("b")]


def test_a_process_that_is_killed_again_and_again_is_a_limit_with_its_status(worker: Worker) -> None:
    over = threading.Event()

    def busy(process: int) -> float:
        """Return the processor seconds of a process: starting takes a quarter of one, however slow the machine is."""
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill() -> None:
        while not over.wait(0.02):
            if (process := worker._process) is not None and busy(process.pid) > 0.6:
                process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        (answer,) = worker.ask([asked("time")])
    finally:
        over.set()
        killer.join()
    assert answer == {"limit": "the process of the chat template ended by itself (exit status -9)"}


def test_a_request_too_large_for_the_process_is_refused_without_harm(worker: Worker) -> None:
    before = pid(worker)
    answers = worker.ask([asked("a"), asked("x" * LARGEST), asked("b")])
    assert answers == [told("a"), {"refused": "it is larger than 8 MB"}, told("b")]
    assert pid(worker) == before
    assert worker.spent == 0


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["x", "ä", "你", "🎻"])
def test_the_largest_request_fits_into_the_process(worker: Worker, letter: str) -> None:
    text = letter + "x" * (LARGEST - 200)
    assert worker.ask([asked(text)]) == [told(text)]
    assert worker.spent == 0


def test_an_interrupt_can_not_shift_answers_to_other_requests(worker: Worker) -> None:
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        os.kill(pid(worker), signal.SIGSTOP)  # so that it has not answered when the interrupt comes
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            worker.ask([asked("old"), asked("older")])
    finally:
        signal.signal(signal.SIGALRM, old)
    assert worker.ask([asked("new")]) == [told("new")]


def test_ctrl_c_in_the_terminal_is_not_for_the_process(worker: Worker) -> None:
    before = pid(worker)
    os.kill(before, signal.SIGINT)
    assert worker.ask([asked("a")]) == [told("a")]
    assert pid(worker) == before


def test_a_closed_worker_leaves_no_process_and_starts_none(worker: Worker) -> None:
    ours = pid(worker)
    assert ours in children()
    worker.close()
    worker.close()
    assert ours not in children()
    with pytest.raises(ModelError, match="closed"):
        worker.ask([asked("a")])
    assert ours not in children()


@pytest.mark.parametrize("template", ["{% for %}", "{{ ('a' * 10**8).encode('utf-32')|length }}", "{{ 'a'"])
def test_a_template_that_can_not_be_used_leaves_no_process(template: str) -> None:
    before = children()
    with pytest.raises(ModelError, match="can't be used") as error:
        Worker(setting(template), "models/x")
    assert error.value.place == "models/x"
    with pytest.raises(ModelError, match="can't be used"):
        Workers(setting(template), count=2)
    assert not children() - before


def test_a_file_in_the_folder_luthier_is_called_from_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "jinja2", "resource", "luthier"):
        (tmp_path / f"{name}.py").write_text("print('garbage')\n")
    monkeypatch.chdir(tmp_path)
    worker = Worker(setting(PLAIN))
    assert worker.ask([asked("a")]) == [told("a")]
    worker.close()


def test_a_collected_renderer_leaves_no_process(tiny_llama: Path) -> None:
    before = children()
    renderer = Renderer(load_tokenizer(tiny_llama))
    renderer.text([Message("user", "x")])
    assert len(children() - before) == 1
    del renderer
    gc.collect()
    assert not children() - before


def test_a_program_that_ends_with_a_renderer_open_says_nothing(tmp_path: Path, tiny_llama: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from luthier.core.example import Message\n"
        "from luthier.model.load import load_tokenizer\n"
        "from luthier.tokens.render import Renderer\n"
        "renderer = Renderer(load_tokenizer(Path(sys.argv[1])))\n"
        "print(renderer.text([Message('user', 'x')]))\n"
        "print(renderer._worker._process.pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tiny_llama)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not Path("/proc", done.stdout.split()[-1]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_ended_in_the_middle_takes_its_processes_along(how: signal.Signals) -> None:
    program = (
        "import json, signal, sys\n"
        "from luthier.tokens.worker import Workers\n"
        # Whoever runs these tests in the background of a shell has Ctrl-C ignored, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "setting, request = json.loads(sys.argv[1]), sys.argv[2].encode()\n"
        "with Workers(setting, count=2) as workers:\n"
        "    print(*(worker._process.pid for worker in workers._workers), flush=True)\n"
        "    try:\n"
        "        for _ in workers.ask_all((None, request) for _ in iter(int, 1)):\n"
        "            pass\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, json.dumps(setting(PLAIN)), asked("x" * 5000).decode()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        pids = process.stdout.readline().split()
        assert len(pids) == 2
        time.sleep(0.5)
        process.send_signal(how)
        errors = process.stderr.read()
        assert process.wait(10) == (130 if how == signal.SIGINT else -how)
    assert errors == ""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(Path("/proc", one).exists() for one in pids):
        time.sleep(0.05)
    assert not any(Path("/proc", one).exists() for one in pids)


# Several of them -----------------------------------------------------------------------------------------


def test_many_requests_come_back_in_order_from_several_processes() -> None:
    texts = ["x" * (n % 97) + str(n) for n in range(2000)]
    with Workers(setting(PLAIN), count=3) as workers:
        found = [pair for batch in workers.ask_all((n, asked(text)) for n, text in enumerate(texts)) for pair in batch]
    assert found == [(n, told(text)) for n, text in enumerate(texts)]


def test_requests_of_many_megabytes_go_in_small_batches() -> None:
    texts = [chr(65 + n % 26) * 1_500_000 for n in range(12)]
    with Workers(setting(PLAIN), count=1) as workers:
        sizes = []
        for batch in workers.ask_all((text, asked(text)) for text in texts):
            sizes.append(len(batch))
            assert all(answer == told(text) for text, answer in batch)
        assert workers._workers[0].spent == 0
    assert sum(sizes) == 12
    assert max(sizes) <= module.BATCH[1] // 1_500_000 + 1


def test_requests_are_drawn_no_faster_than_answers_are_taken() -> None:
    drawn = []

    def requests() -> Any:
        for n in range(100_000):
            drawn.append(n)
            yield n, asked("a")

    with Workers(setting(PLAIN), count=1) as workers:
        next(workers.ask_all(requests()))
    assert len(drawn) <= 4 * module.BATCH[0]


def test_no_requests_are_no_batches() -> None:
    with Workers(setting(PLAIN), count=2) as workers:
        assert list(workers.ask_all(())) == []


def test_a_fault_in_the_middle_ends_every_process() -> None:
    before = children()

    def half_way() -> None:
        with Workers(setting(PLAIN), count=3) as workers:
            for _ in workers.ask_all((n, asked("a" * 1000)) for n in range(5000)):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_way()
    assert not children() - before


@pytest.mark.slow
def test_a_template_given_up_ends_every_process_and_is_an_error_of_the_model() -> None:
    before = children()

    def all_of_them() -> None:
        with Workers(setting(BOMBS + PLAIN), count=2) as workers:
            list(workers.ask_all((n, asked("time")) for n in range(600)))

    with pytest.raises(ModelError, match="given up"):
        all_of_them()
    assert not children() - before


def test_a_generator_left_half_way_ends_its_processes(tiny_llama: Path) -> None:
    before = children()
    renderer = Renderer(load_tokenizer(tiny_llama))
    examples = [Example((Message("user", "x"), Message("assistant", str(n))), Source("here", n)) for n in range(1000)]
    stream = renderer.encode_all(renderer.requests(examples), processes=2)
    source, _ = next(stream)
    assert source == Source("here", 0)
    assert len(children() - before) == 2
    stream.close()
    assert not children() - before
