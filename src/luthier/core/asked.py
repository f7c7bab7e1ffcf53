"""Asking for many things at once, a few at a time."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def together(ask: Callable[[T], R], items: Iterable[T], *, at_once: int) -> Iterator[tuple[int, R]]:
    """Yield the place of each item and what asking for it brought, as answers come.

    An item is taken when somebody is free to ask for it, so that `items` can end early. When asking fails, no more is
    asked, what is under way is still yielded, and then the first failure is raised. Who stops listening, or is
    interrupted, waits for nothing.

    Args:
        ask: Asks for one item; called in several threads.
        items: What to ask for; taken one after the other, never by two threads at once.
        at_once: How many are asked for at the same time.
    """
    found: queue.SimpleQueue[tuple[int, R | None, BaseException | None] | None] = queue.SimpleQueue()
    numbered, lock, stop = enumerate(items), threading.Lock(), threading.Event()

    def work() -> None:
        place = -1
        try:
            while not stop.is_set():
                with lock:
                    place, item = next(numbered, (-1, None))
                if place < 0:
                    break
                found.put((place, ask(item), None))  # type: ignore[arg-type]
        except BaseException as error:  # told to whoever listens
            stop.set()
            found.put((place, None, error))
        finally:
            found.put(None)

    # Daemons: a process that is told to stop does not wait for answers under way.
    threads = [threading.Thread(target=work, daemon=True, name=f"ask {number}") for number in range(at_once)]
    for thread in threads:
        thread.start()
    running, failure = at_once, None
    try:
        while running:
            one = found.get()
            if one is None:
                running -= 1
            elif one[2] is not None:
                failure = failure or one[2]
            else:
                yield one[0], one[1]  # type: ignore[misc]
    finally:
        stop.set()
    if failure is not None:
        raise failure
