"""Sending JSON to an HTTP service, again where that makes sense, and to nobody else.

A key goes to the host it is meant for and nowhere else: no redirect is followed, TLS certificates are verified, and
plain HTTP carries a key only within a machine or a private network. Nothing is raised while a request, which holds
the key, is in a frame: what came of it is returned. Proxies are those of the environment (HTTPS_PROXY, NO_PROXY).

Source of Retry-After: RFC 9110, section 10.2.3.
"""

import ipaddress
import json
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from luthier.core.errors import Interrupted, MissingExtra, RecipeError
from luthier.core.key import Key
from luthier.core.text import one_line

LARGEST = 16 * 2**20
"""Bytes of an answer that are read; no model writes as much."""

LONGEST_WAIT = 300.0
"""Seconds a server may ask to wait; told to wait longer, luthier stops instead."""

FIRST_TRIES = 3
"""Tries while nothing was ever answered: whoever mistyped an address should hear of it soon."""

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
"""Statuses that may be others a little later."""

UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request."""

    status: int | None
    """None where no answer came."""
    content: bytes = b""
    trouble: str = ""
    """Why no answer came."""
    wait: float | None = None
    """Seconds the server asks to wait."""
    again: bool = True
    """Whether trying again makes sense, as far as is known besides the status."""
    location: str = ""
    """Where a redirect points."""
    late: bool = False
    """Whether the time was over."""

    @property
    def fine(self) -> bool:
        """Whether the status says that all is well."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """Return what the body says; None where it is not JSON."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.content)
        return None


class Service:
    """A server that answers JSON with JSON. Several threads may use it at once.

    Args:
        url: What all its addresses begin with.
        key: Sent as bearer token.
        timeout: Seconds for one answer.
        tries: How often a request is sent at most, with growing pauses; after a timeout twice at most.

    Raises:
        RecipeError: The key would go in the clear over a public network, or a proxy can't be used.
        MissingExtra: httpx2 is not installed.
    """

    def __init__(self, url: str, *, key: Key | None = None, timeout: float = 120.0, tries: int = 7) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtra("httpx2", extra="endpoint") from error
        if key is not None and not private(url):
            hint = "use https; within a private network write the host's IP address"
            raise RecipeError(f"the key would be sent unencrypted to {url}", hint=hint)
        self.url, self.key, self.timeout, self.tries = url, key, timeout, tries
        self._reached = False
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._closed = threading.Event()
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "luthier"}
        try:
            self._client = httpx2.Client(timeout=timeout, follow_redirects=False, headers=headers)
        except (ImportError, ValueError) as error:  # a proxy of a kind that isn't supported
            hint = "look at the variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"
            raise RecipeError(f"the proxy can't be used ({one_line(str(error))})", hint=hint) from error

    def close(self) -> None:
        """End whoever waits, and the connections."""
        self._closed.set()
        self._client.close()

    def settled(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Return the answer to a request, sent again while that makes sense."""
        late = tried = 0
        while True:
            tried += 1
            answer = self.send("POST", path, body)
            if answer.fine and answer.json is not None:
                self._reached = True
                return answer
            late += answer.late
            limit = self.tries if self._reached else min(self.tries, FIRST_TRIES)
            if not _may_change(answer) or tried >= limit or late >= 2:
                return answer
            self._pause(answer.wait, tried)

    def _pause(self, asked: float | None, tried: int) -> None:
        """Wait as long as the server asks, or longer with each try; while it asks, nobody else sends either."""
        if asked is None:
            self._sleep(min(30.0, 0.5 * 2 ** (tried - 1)) * random.uniform(0.5, 1.0))
            return
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + asked)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(max(0.0, seconds)):
            raise Interrupted("stopped while waiting for a server", hint="type the same command again to go on")

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Return what one request brings; of it nothing is raised."""
        import httpx2

        while (left := self._not_before - time.monotonic()) > 0:
            self._sleep(left + random.uniform(0.0, 0.1))
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key.secret}"}
        content, end = None, time.monotonic() + self.timeout
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        too_late = Answer(None, trouble=f"no answer within {self.timeout:g} seconds", late=True)
        try:
            with self._client.stream(method, self.url + path, content=content, headers=headers) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    return Answer(None, trouble="the answer is compressed, which nobody asked for", again=False)
                received = bytearray()
                for part in response.iter_raw():
                    received += part
                    if len(received) > LARGEST:
                        return Answer(None, trouble=f"the answer is larger than {LARGEST:,} bytes", again=False)
                    if time.monotonic() > end:
                        return too_late
                return Answer(
                    response.status_code,
                    self._without_key(bytes(received)),
                    wait=seconds_to_wait(response.headers),
                    again=response.headers.get("x-should-retry") != "false",
                    location=self.shown(response.headers.get("location", "")),
                )
        except httpx2.TimeoutException:
            return too_late
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, UnicodeError) as error:
            text = self.shown(str(error) or type(error).__name__)
            return Answer(None, trouble=text, again=UNTRUSTED not in text)

    def _without_key(self, content: bytes) -> bytes:
        return content if self.key is None else content.replace(self.key.secret.encode(), "…".encode())

    def shown(self, text: str) -> str:
        """Return what a server said in one line, without the key it may quote."""
        return one_line(text if self.key is None else self.key.hidden(text), 300)


def _may_change(answer: Answer) -> bool:
    """Return whether another try may bring something else: not where money is what is missing."""
    if not answer.again or (answer.wait or 0) > LONGEST_WAIT or b"insufficient_quota" in answer.content[:4096]:
        return False
    return answer.status is None or answer.status in AGAIN or answer.fine


def private(url: str) -> bool:
    """Return whether what is sent stays secret, or within a machine or a private network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_private
    return "." not in host  # a name that only a local network knows


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return how long a server asks to wait, in seconds: it says so by a number or a date."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = headers.get(name)
        if text is None:
            continue
        with suppress(ValueError, TypeError, OverflowError):
            seconds = (
                float(text) / unit if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
            )
            return max(0.0, seconds)
    return None
