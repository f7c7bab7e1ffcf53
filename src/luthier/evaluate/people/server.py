"""The page, served to browsers of this machine only.

Three addresses, all below a secret that the printed link carries, and no file behind any of them. Requests of other
sites don't get in: they know no secret, and name another host (a name that was pointed here) or origin.
"""

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from luthier.core.errors import DataError
from luthier.evaluate.people.booth import Booth
from luthier.evaluate.people.page import POLICY, page

LARGEST = 64_000
"""Bytes of a request's body."""

SECONDS = 30.0
"""How long a connection may say nothing."""

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Server:
    """A booth behind a web page of this machine.

    Args:
        booth: What is shown, and where answers go.
        port: Where it listens; 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, booth: Booth, port: int = 0) -> None:
        secret = secrets.token_urlsafe(24)
        self.finished = threading.Event()
        """Set when somebody says that all is said."""
        server = self

        class Handler(_Handler):
            def _routes(self) -> Mapping[tuple[str, str], Callable[[], None]]:
                return {
                    ("GET", f"/{secret}/"): lambda: self._answer(HTTPStatus.OK, page().encode(), "text/html"),
                    ("POST", f"/{secret}/sheet"): lambda: self._say(lambda asked: booth.sheet(_text(asked, "rater"))),
                    ("POST", f"/{secret}/say"): lambda: self._say(lambda asked: _said(booth, asked)),
                    ("POST", f"/{secret}/back"): lambda: self._say(lambda asked: _taken_back(booth, asked)),
                    ("POST", f"/{secret}/end"): lambda: self._say(lambda _: server.end()),
                }

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/{secret}/"

    def end(self) -> dict[str, Any]:
        """Note that all is said."""
        self.finished.set()
        return {}

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _said(booth: Booth, asked: Mapping[str, Any]) -> dict[str, Any]:
    rater = _text(asked, "rater")
    ratings = {str(side): dict(given) for side, given in dict(asked["ratings"]).items()}
    booth.say(rater, _text(asked, "key"), _text(asked, "choice"), ratings)
    return booth.sheet(rater)


def _taken_back(booth: Booth, asked: Mapping[str, Any]) -> dict[str, Any]:
    rater = _text(asked, "rater")
    booth.take_back(rater)
    return booth.sheet(rater)


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


class _Handler(BaseHTTPRequestHandler):
    server_version = "luthier"
    sys_version = ""
    timeout = SECONDS

    def _routes(self) -> Mapping[tuple[str, str], Callable[[], None]]:
        raise NotImplementedError

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def _route(self, method: str) -> None:
        port = self.server.server_address[1]  # type: ignore[index]
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        ours = host in hosts and origin in ({f"http://{host}"} if method == "POST" else {None, f"http://{host}"})
        if not ours:
            self._answer(HTTPStatus.FORBIDDEN)
            return
        for (known, path), work in self._routes().items():
            if method == known and hmac.compare_digest(self.path.encode(), path.encode()):
                work()
                return
        self._answer(HTTPStatus.NOT_FOUND)

    def _say(self, work: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Answer a request in JSON with JSON."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type") != "application/json" or not length.isdecimal() or int(length) > LARGEST:
            self._answer(HTTPStatus.BAD_REQUEST)
            return
        try:
            status, told = HTTPStatus.OK, work(json.loads(self.rfile.read(int(length))))
        except DataError as error:
            status, told = HTTPStatus.UNPROCESSABLE_ENTITY, {"problem": error.problem, "hint": error.hint}
        except (ValueError, KeyError, TypeError, RecursionError):
            status, told = HTTPStatus.BAD_REQUEST, {"problem": "this makes no sense", "hint": "load the page again"}
        self._answer(status, json.dumps(told).encode(), "application/json")

    def _answer(self, status: HTTPStatus, content: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        headers = HEADERS | {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
