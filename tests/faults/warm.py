"""A process that has imported everything and forks a child for each command line, so that a start takes no time.

It reads requests from its input, a line of JSON each, and answers with the exit code of the child, negative for a
signal: {"arguments": […], "failpoint": "name:n", "kill_after": seconds, "fill": [name, FILE, bytes], "errors": FILE}.
At the place named in "fill" the disk is filled by a file, up to so many bytes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class Warm:
    """The process, seen from a test."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.errors = ""

    def luthier(
        self,
        *arguments: object,
        failpoint: str = "",
        kill_after: float | None = None,
        fill: tuple[str, Path, int] | None = None,
        errors: Path,
    ) -> int:
        """Run a command line and return its exit code; what it wrote to stderr is in `errors`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": [str(each) for each in arguments], "failpoint": failpoint, "kill_after": kill_after}
        request |= {"fill": fill and [fill[0], str(fill[1]), fill[2]], "errors": str(errors)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        self.errors = errors.read_text(encoding="utf-8")
        return code

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(model: Path) -> None:
    import luthier.cli.main
    import luthier.cli.stages
    import luthier.data.prepare
    import luthier.evaluate.likelihood
    import luthier.model.adapters.full
    import luthier.model.adapters.lora
    import luthier.recipe.plan
    import luthier.tokens.stage
    import luthier.train.stage  # noqa: F401 - imported once, before the forks
    from luthier.model.load import load_model

    load_model(model)  # Transformers fills its tables

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            become(request)
        answers.write(f"{ended(child, request['kill_after'])}\n")
        answers.flush()


def become(request: dict[str, Any]) -> None:
    """Be the command line of a request."""
    from luthier.cli.main import main
    from luthier.core import failpoint

    os.dup2(os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    os.setpgid(0, 0)
    failpoint.arm(request["failpoint"])
    if request["fill"]:
        place, filler, left = request["fill"]
        failpoint.arm(f"{place}:1")
        failpoint._reach = lambda here, name, _: fill(Path(filler), left) if here == name else None
    code = 1
    try:
        main(request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def fill(filler: Path, left: int) -> None:
    """Write a file that leaves so many bytes on its disk."""
    if not filler.exists():
        filler.write_bytes(bytes(max(0, shutil.disk_usage(filler.parent).free - left)))


def ended(child: int, kill_after: float | None) -> int:
    """Wait for a child, kill it when its time is over, and return its exit code."""
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
