"""A scripted server on a real socket, for tests of what asks one."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Sent:
    """What the server sends; `length` lies about how long the body is."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


def said(text: str, **usage: int) -> Sent:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Sent(json.dumps({"choices": [choice], "usage": usage}).encode())


def failed(status: int, message: str = "", **more: str) -> Sent:
    headers = {"Retry-After": more.pop("retry_after")} if "retry_after" in more else {}
    return Sent(json.dumps({"error": {"message": message, **more}}).encode(), status, headers)


class Served:
    """Answers every request as `script` says; what was asked is in `asked`, in order of arrival."""

    def __init__(self, script: Callable[[Asked], Sent]) -> None:
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.path, dict(self.headers), json.loads(raw) if raw else None)
                with outer._lock:
                    outer.asked.append(asked)
                sent = script(asked)
                self.send_response(sent.status)
                for name, value in sent.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent.body) if sent.length is None else sent.length))
                self.end_headers()
                self.wfile.write(sent.body)
                self.close_connection = sent.length is not None

            do_GET = do_POST = _answer  # noqa: N815 - names the library looks for

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:  # a client that went away
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
