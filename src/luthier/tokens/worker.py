"""The parent's side of the template process: start it, ask it in batches, say what ended it."""

import json
import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from luthier.core.errors import ModelError
from luthier.core.helper import helper

Kept = TypeVar("Kept")

BATCH = 256, 4_000_000
"""Conversations that go to a process at once, and their bytes: it holds them all, and its memory is small."""

LARGEST = 8_000_000
"""Bytes of a conversation. Of larger ones the process could not hold the texts that it compares."""

PATIENCE = 20
"""Conversations that may end or exhaust a process before the template is given up. One is enough for the doctor's
(`luthier.tokens.verify`), so a template that is a bomb doesn't get this far; a row may be one too."""

TOO_LONG = "the chat template takes more than a second of processor time"


class Worker:
    """One process with one tokenizer's templates. Not to be shared between threads.

    Args:
        setting: What `luthier.tokens.sandbox.Templates` wants.
        place: The model, for messages.

    Raises:
        ModelError: The template is no valid one.
    """

    def __init__(self, setting: dict[str, Any], place: str = "") -> None:
        self.setting = setting
        self.place = place
        self.spent = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = 0
        """The exit status of the process before."""
        self._over = ""
        """Why no process is started any more."""
        self._start()

    def _start(self) -> None:
        if self._over:
            raise self._error(self._over)
        sandbox = helper("luthier.tokens.sandbox")
        self._process = subprocess.Popen(
            sandbox.command,
            env=sandbox.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        told = self._exchange([json.dumps(self.setting).encode()], head=False)
        reply = json.loads(told[0]) if told else {"broken": self._words()}
        if "broken" in reply:
            self._over = f"the chat template can't be used: {reply['broken']}"
            self.close()
            raise self._error(self._over)

    def _exchange(self, lines: Sequence[bytes], *, head: bool = True) -> list[bytes]:
        """Return the answers to lines; fewer when the process ended."""
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        answers: list[bytes] = []
        try:
            process.stdin.write((b"%d\n" % len(lines) if head else b"") + b"".join(line + b"\n" for line in lines))
            process.stdin.flush()
            while len(answers) < len(lines) and (answer := process.stdout.readline()).endswith(b"\n"):
                answers.append(answer)
        except BrokenPipeError:
            pass  # it ended while we wrote
        except BaseException:
            self._stop()  # Ctrl-C: what it still writes must not be taken for the answer to the next request
            raise
        if len(answers) < len(lines):
            self._stop(wait=True)
        return answers

    def ask(self, requests: Sequence[bytes]) -> list[dict[str, Any]]:
        """Return what the process says to each request, a line of JSON without its end.

        Raises:
            ModelError: The template reached a limit `PATIENCE` times.
        """
        if len(requests) == 1 or any(len(request) > LARGEST for request in requests):
            return [self._ask(request) for request in requests]
        found = [self._heard(json.loads(answer)) for answer in self._exchange(requests)]
        # If the process ended, with what it had not handed over: once more, one by one, to know by which.
        return found + [self._ask(request) for request in requests[len(found) :]]

    def _ask(self, request: bytes) -> dict[str, Any]:
        if len(request) > LARGEST:
            return {"refused": f"it is larger than {LARGEST // 1_000_000} MB"}
        for _ in range(2):
            answers = self._exchange([request])
            if answers:
                return self._heard(json.loads(answers[0]))
            if self._ended == -signal.SIGPROF:
                break  # the limit of time; anything else may have come from outside, and is tried again
        return self._heard({"limit": self._words()})

    def _words(self) -> str:
        """Say what ended the process."""
        if self._ended == -signal.SIGPROF:
            return TOO_LONG
        return f"the process of the chat template ended by itself (exit status {self._ended})"

    def _heard(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Give a template up that reaches its limits again and again."""
        if "limit" in answer:
            self.spent += 1
            if self.spent >= PATIENCE:
                self._over = f"{answer['limit']}: it is given up"
                self.close()
                raise self._error(self._over)
        return answer

    def _error(self, told: str) -> ModelError:
        return ModelError(told, hint="correct the template, or choose another with `train.template`", place=self.place)

    def close(self) -> None:
        """End the process for good."""
        self._over = self._over or "the template process was closed"
        self._stop()

    def _stop(self, *, wait: bool = False) -> None:
        """End the process; with `wait`, it is ending by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        if not wait:
            process.kill()
        self._ended = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class Workers:
    """Several processes for many conversations; answers come in the order of the requests."""

    def __init__(self, setting: dict[str, Any], *, count: int, place: str = "") -> None:
        self._workers: list[Worker] = []
        try:
            for _ in range(count):
                self._workers.append(Worker(setting, place))
        except BaseException:
            self._close()
            raise
        self._free = deque(self._workers)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=kind is None, cancel_futures=True)
        self._close()
        self._threads.shutdown()
        self._close()  # a thread may just have started another process

    def _close(self) -> None:
        for worker in self._workers:
            worker.close()

    def ask_all(self, requests: Iterable[tuple[Kept, bytes]]) -> Iterator[list[tuple[Kept, dict[str, Any]]]]:
        """Yield batches of requests with their answers. What stands beside a request comes back with it."""
        waiting: deque[tuple[list[Kept], Future[list[dict[str, Any]]]]] = deque()
        stream = iter(requests)
        while True:
            batch = list(_batch(stream))
            if batch:
                kept = [beside for beside, _ in batch]
                waiting.append((kept, self._threads.submit(self._work, [request for _, request in batch])))
            if not waiting:
                return
            if not batch or len(waiting) > 2 * len(self._workers):
                kept, future = waiting.popleft()
                yield list(zip(kept, future.result(), strict=True))

    def _work(self, requests: Sequence[bytes]) -> list[dict[str, Any]]:
        worker = self._free.popleft()  # there are as many threads as processes
        try:
            return worker.ask(requests)
        finally:
            self._free.append(worker)


def _batch(stream: Iterator[tuple[Kept, bytes]]) -> Iterator[tuple[Kept, bytes]]:
    """Yield the next requests, until they are many or large."""
    rows, size = BATCH
    while rows > 0 and size > 0:
        if (item := next(stream, None)) is None:
            return
        yield item
        rows, size = rows - 1, size - len(item[1])
