"""The process that refines batches for another one: `python -m luthier.data.worker DESCRIPTOR`.

It ends when the other end of the connection is closed, however that comes.
"""

import sys
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

from luthier.core.errors import LuthierError
from luthier.data.workers import Fault


def serve(connection: Connection) -> None:
    """Receive what makes the refiner, then batches; answer each, in order, until the connection is closed."""
    received: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_receive, args=(connection, received), daemon=True).start()
    try:
        refiner = _next(received)()
        while True:
            connection.send(refiner.refine(_next(received)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # nobody waits any more
    except LuthierError as problem:
        connection.send(Fault(problem, ""))
    except Exception:
        connection.send(Fault(None, traceback.format_exc()))


def _next(received: "SimpleQueue[Any]") -> Any:
    work = received.get()
    if isinstance(work, Exception):
        raise work
    return work


def _receive(connection: Connection, received: "SimpleQueue[Any]") -> None:
    """Take what is sent as soon as it comes, so that the sender never waits for an answer to be read."""
    try:
        while True:
            received.put(connection.recv())
    except OSError:  # the sender was killed within a message
        received.put(EOFError())
    except Exception as end:
        received.put(end)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
