import gzip
import json
import time
from pathlib import Path

import pytest

from luthier.core.errors import Failed
from luthier.evaluate.sandbox import runner, walls
from luthier.evaluate.sandbox.runner import Server, Trial, require, run

pytestmark = pytest.mark.skipif(walls.missing() is not None, reason="no walls on this system")

HUMANEVAL = Path(__file__).parents[4] / "shared" / "data" / "humaneval" / "HumanEval.jsonl.gz"

REFUSED = "it asked the system for what it may not have"

ATTACKS = {
    "fork bomb": ("import os\n    while True:\n        os.fork()", REFUSED),
    "fork in C": ("import ctypes\n    ctypes.CDLL(None).fork()", REFUSED),
    "daemon": ("import os\n    os.fork() or os.setsid() or os.fork()", REFUSED),
    "thread": ("import threading\n    threading.Thread(target=print).start()", REFUSED),
    "shell": ("import os\n    os.system('true')", REFUSED),
    "subprocess": ("import subprocess\n    subprocess.run(['true'])", "PermissionError"),
    "exec": ("import os\n    os.execv('/bin/true', ['true'])", REFUSED),
    "endless loop": ("while True: pass", "out of time"),
    "signals ignored": (
        "import signal\n    for n in range(1, 32):\n        if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\n"
        "    while True: pass",
        "out of time",
    ),
    "sleeping": ("import time\n    time.sleep(1000)", "out of time"),
    "memory bomb": ("hoard = []\n    while True: hoard.append(bytearray(1 << 24))", "MemoryError"),
    "memory in C": ("import ctypes\n    ctypes.memset(ctypes.CDLL(None).malloc(1 << 40), 1, 1 << 40)", "it crashed"),
    "deep recursion": ("return probe()", "RecursionError"),
    "deepest recursion": (
        "import sys\n    sys.setrecursionlimit(10 ** 9)\n    class A:\n        __repr__ = lambda self: repr(self)\n"
        "    repr(A())",
        "",
    ),
    "endless answer": ("import itertools\n    return itertools.count()", ""),
    "answer that holds itself": ("a = []\n    a.append(a)\n    return a", "RecursionError"),
    "kill the parent": ("import os\n    os.kill(os.getppid(), 9)", ""),
    "kill the group": ("import os\n    os.killpg(0, 9)", REFUSED),
    "kill all": ("import os\n    os.kill(-1, 9)", REFUSED),
    "kill in C": ("import ctypes\n    ctypes.CDLL(None).kill(1, 9)", REFUSED),
    "trace": ("import ctypes\n    ctypes.CDLL(None).ptrace(16, 1, 0, 0)", REFUSED),
    "connection": ("import socket\n    socket.create_connection(('127.0.0.1', 9))", ""),
    "datagram": ("import socket\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", REFUSED),
    "local socket": ("import socket\n    socket.socket(socket.AF_UNIX)", REFUSED),
    "address": ("import urllib.request\n    urllib.request.urlopen('http://127.0.0.1')", ""),
    "pair of sockets": ("import socket\n    socket.socketpair()", "PermissionError"),
    "write": ("open('{folder}/made', 'w')", REFUSED),
    "append": ("open('{folder}/secret', 'a')", REFUSED),
    "pathlib": ("import pathlib\n    pathlib.Path('{folder}/made').touch()", REFUSED),
    "temporary file": ("import tempfile\n    tempfile.TemporaryFile(dir='{folder}')", ""),
    "remove": ("import os\n    os.unlink('{folder}/secret')", "PermissionError"),
    "rename": ("import os\n    os.rename('{folder}/secret', '{folder}/made')", "PermissionError"),
    "folder": ("import os\n    os.mkdir('{folder}/made')", "PermissionError"),
    "symbolic link": ("import os\n    os.symlink('/etc/passwd', '{folder}/made')", "PermissionError"),
    "hard link": ("import os\n    os.link('{folder}/secret', '{folder}/made')", "PermissionError"),
    "rights": ("import os\n    os.chmod('{folder}/secret', 0)", "PermissionError"),
    "truncate": ("import os\n    os.truncate('{folder}/secret', 0)", "PermissionError"),
    "read": ("return open('{folder}/secret').read()", "PermissionError"),
    "read in C": ("import ctypes\n    return ctypes.CDLL(None).open(b'{folder}/secret', 0) >= 0", "AssertionError"),
    "read what others opened": ("import os\n    return os.read(5, 1) + os.read(6, 1)", "OSError"),
    "environment of the parent": ("import os\n    return open(f'/proc/{{os.getppid()}}/environ').read()", "Permission"),
    "memory of itself": ("return open('/proc/self/mem', 'rb').read(1)", "PermissionError"),
    "list": ("import os\n    return os.listdir('{folder}')", "PermissionError"),
    "change of root": ("import os\n    os.chroot('{folder}')", "PermissionError"),
    "file in memory": ("import os\n    os.memfd_create('made')", "PermissionError"),
    "shared memory": ("import ctypes\n    return ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0", "AssertionError"),
    "limits": ("import resource as r\n    r.setrlimit(r.RLIMIT_AS, (1 << 40, 1 << 40))", "ValueError"),
    "filling stdout": ("for _ in range(99): print('x' * 10 ** 7)", ""),
    "writing to every descriptor": (
        "import os\n    for n in range(2000):\n        try: os.write(n, b'{{\"passed\": true}}\\n' * 99)\n"
        "        except OSError: pass",
        "",
    ),
    "exit": ("import sys\n    sys.exit(0)", "SystemExit"),
    "exit at once": ("import os\n    os._exit(0)", "it ended before it answered"),
    "equal to all": ("class A(list):\n        __eq__ = lambda *a: True\n    return A()", "AssertionError"),
    "reference equal to all": ("class A:\n        __eq__ = lambda *a: True\n    return A()", "AssertionError"),
    "number that lies": ("class A(int):\n        __eq__ = lambda *a: True\n    return A(3)", "AssertionError"),
    "other assertions": (
        "import builtins, sys\n    builtins.AssertionError = SystemExit\n    for m in [*sys.modules.values()]:\n"
        "        if type(m) is type(sys): m.__dict__.update(check=lambda *a: None, probe=lambda: 42)",
        "AssertionError",
    ),
    "looking for the tests": (
        "import gc, os, sys\n    seen, frame = repr(gc.get_objects()) + repr(dict(os.environ)), sys._getframe()\n"
        "    while frame: seen, frame = seen + repr(frame.f_locals) + repr(frame.f_globals), frame.f_back\n"
        "    return 42 if any(''.join(reversed(word)) in seen for word in ('retsevorghal', 'terceSnepo')) else 0",
        "AssertionError",
    ),
}
"""What a program does when it is called, where it should return 42, and what is said of it (its beginning)."""


def test_whatever_a_program_does_it_is_contained_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "openSecret")
    (tmp_path / "secret").write_text("abc")
    before = (tmp_path / "secret").stat()
    trials = [
        Trial(
            "def probe():\n    " + body.format(folder=tmp_path),
            ("probe",),
            "halgrovester = 42\nassert probe() == halgrovester",
        )
        for body, _ in ATTACKS.values()
    ]
    outcomes = dict(zip(ATTACKS, run(trials, seconds=1, memory_bytes=1 << 27), strict=True))
    assert {name: why for name, (passed, why) in outcomes.items() if passed} == {}
    unlike = {name: why for name, (_, why) in outcomes.items() if not why.startswith(ATTACKS[name][1])}
    assert unlike == {}
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    after = (tmp_path / "secret").stat()
    assert (after.st_size, after.st_mode, after.st_nlink) == (before.st_size, before.st_mode, before.st_nlink)


def test_what_a_program_does_as_it_is_loaded_is_contained_too() -> None:
    programs = ["import sys; sys.exit(0)", "import os; os._exit(0)", "def f(:", "\udcff", "x = 1", ""]
    outcomes = run([Trial(program, ("f",), "assert f() == 1") for program in programs])
    assert [outcome.passed for outcome in outcomes] == [False] * len(programs)
    assert [outcome.why.partition(":")[0] for outcome in outcomes] == [
        *("SystemExit", "it ended before it answered", "SyntaxError", "SyntaxError", "KeyError", "KeyError"),
    ]


def test_right_programs_pass_whatever_they_take_and_return() -> None:
    node = "class Node:\n    def __init__(self, v): self.v, self.next = v, None\ndef f(n): return n.next.v"
    tests = {
        "def f(x): return x": "for x in (None, 9 ** 5000, 'a\\udcff', b'a', [()], {1: {2}}):\n    assert f(x) == x",
        "def f(*, n): yield from range(n)": "assert list(f(n=3)) == [0, 1, 2]",
        "def f(): raise ValueError('no')": "try:\n    f()\nexcept ValueError as error:\n    assert str(error) == 'no'",
        node: "a = Node(1)\na.next = Node(2)\nassert f(a) == 2 and a.next.v == 2",
        "import hashlib, calendar, xml.dom.minidom\ndef f(): return calendar.isleap(2024)": "assert f() is True",
        "try:\n    import numpy\nexcept ImportError:\n    def f(): return 1": "assert f() == 1",
        "import random\ndef f(): return random.random()": "import random as r\nr.seed(0)\nassert f() == r.random()",
    }
    trials = [Trial(program, ("f", "Node") if program == node else ("f",), test) for program, test in tests.items()]
    assert [outcome.why for outcome in run(trials)] == [""] * len(trials)


def test_tests_may_lean_on_the_problem_and_not_on_the_program() -> None:
    given = "def helper(x):\n    return x + 1\n\ndef f(x):\n    ..."
    tests = "assert f(helper(1)) == 3"
    honest, cheat = "def f(x): return x + 1", "def f(x): return 0\ndef helper(x): return 0"
    assert [one.passed for one in run([Trial(p, ("f",), tests, given) for p in (honest, cheat)])] == [True, False]


def children(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_no_process_survives_the_one_that_started_it() -> None:
    with Server() as server:
        # Not `hold`, which waits.
        for piece in (b"while True: pass", b'{"seconds": 60, "memory_bytes": 536870912}', b"{}"):
            server._process.stdin.write(b"%08d" % len(piece) + piece)
        server._process.stdin.flush()
        until = time.monotonic() + 30
        alive: list[int] = []
        while len(alive) < 2 and time.monotonic() < until:
            alive = [one for child in children(server._process.pid) for one in (child, *children(child))]
    assert len(alive) >= 2
    while any(Path(f"/proc/{one}").exists() for one in alive):
        assert time.monotonic() < until


def test_a_server_that_fails_is_told_and_not_waited_for() -> None:
    with Server() as server, pytest.raises(Failed, match="is gone"):
        server.hold(Trial("x = 1", (), ""), seconds="one", memory_bytes=1 << 27)


def test_nothing_is_run_where_a_wall_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    require()
    monkeypatch.setattr(runner, "PROBES", {"returning": ("return 1", "probe()")})
    with pytest.raises(Failed, match="returning is not refused") as refused:
        run([Trial("x = 1", (), "")])
    assert "seccomp" in refused.value.hint
    monkeypatch.setattr(walls.sys, "platform", "darwin")
    with pytest.raises(Failed, match="only on Linux"):
        require()


@pytest.mark.slow
@pytest.mark.skipif(not HUMANEVAL.is_file(), reason="HumanEval is not here")
def test_the_reference_solutions_of_humaneval_pass() -> None:
    problems = [json.loads(line) for line in gzip.decompress(HUMANEVAL.read_bytes()).splitlines()]
    assert len(problems) == 164
    trials = [
        Trial(
            one["prompt"] + one["canonical_solution"],
            (one["entry_point"],),
            f"{one['test']}\ncheck({one['entry_point']})",
            one["prompt"],
        )
        for one in problems
    ]
    assert [one["task_id"] for one, (passed, _) in zip(problems, run(trials), strict=True) if not passed] == []
