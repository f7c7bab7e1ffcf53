"""A process that has imported everything and forks a child for each command line, so that a start takes no time.

It reads requests from its input, a line of JSON each. {"arguments": […], "cwd": FOLDER, "failpoint": "name:n",
"fill": [name, FILE, bytes], "limit": bytes, "home": FOLDER} starts a child and is answered with its process id;
{"wait": id} is answered with its exit code, negative for a signal. At the place named in "fill" the disk is filled by
a file, up to so many bytes; no file of the child grows beyond "limit".
"""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Started:
    """A command line that runs."""

    def __init__(self, warm: "Warm", process: int) -> None:
        self._warm, self._process = warm, process
        self._end = os.pidfd_open(process)

    def ended(self, seconds: float) -> bool:
        """Wait so long at most, and return whether it ended."""
        return bool(select.select([self._end], [], [], seconds)[0])

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        signal.pidfd_send_signal(self._end, how)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        code = self._warm.ask(wait=self._process)
        os.close(self._end)
        return code


class Warm:
    """The process, seen from a test; what the last command line wrote is in `output` and `errors`."""

    def __init__(self, model: Path, home: Path) -> None:
        self._home = home
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def output(self) -> str:
        return (self._home / "output").read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        return (self._home / "errors").read_text(encoding="utf-8")

    def start(
        self,
        *arguments: object,
        cwd: Path | None = None,
        failpoint: str = "",
        fill: tuple[str, Path, int] | None = None,
        limit: int | None = None,
    ) -> Started:
        """Start a command line."""
        request = {"arguments": [str(each) for each in arguments], "cwd": str(cwd or self._home)}
        request |= {"failpoint": failpoint, "fill": fill and [fill[0], str(fill[1]), fill[2]], "limit": limit}
        return Started(self, self.ask(**request, home=str(self._home)))

    def luthier(self, *arguments: object, kill_after: float | None = None, **how: Any) -> int:
        """Run a command line to its end, or kill it after so many seconds, and return its exit code."""
        started = self.start(*arguments, **how)
        if kill_after is not None and not started.ended(kill_after):
            started.kill()
        return started.wait()

    def ask(self, **request: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(model: Path) -> None:

    import luthier.cli.main
    import luthier.cli.road
    import luthier.cli.stages
    import luthier.data.prepare
    import luthier.evaluate.compare
    import luthier.export.gguf
    import luthier.export.merge
    import luthier.export.stage
    import luthier.model.adapters.full
    import luthier.model.adapters.lora
    import luthier.recipe.plan
    import luthier.tokens.stage
    import luthier.train.stage
    import luthier.workflow  # noqa: F401 - imported once, before the forks
    from luthier.model.load import load_model

    load_model(model)  # Transformers fills its tables

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (answer := os.fork()):
            become(request)
        answers.write(f"{answer}\n")
        answers.flush()


def become(request: dict[str, Any]) -> None:
    """Be the command line of a request."""
    from luthier.cli.main import main
    from luthier.core import failpoint

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(Path(request["home"], name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(request["cwd"])
    os.setpgid(0, 0)
    failpoint.arm(request["failpoint"])
    if request["fill"]:
        place, filler, left = request["fill"]
        failpoint.arm(f"{place}:1")
        failpoint._reach = lambda here, name, _: fill(Path(filler), left) if here == name else None
    if request["limit"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    code = 1
    try:
        main(request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def fill(filler: Path, left: int) -> None:
    """Write a file that leaves so many bytes on its disk."""
    if not filler.exists():
        filler.write_bytes(bytes(max(0, shutil.disk_usage(filler.parent).free - left)))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
