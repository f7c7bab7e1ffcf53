"""A real browser for tests: Chromium without a window, spoken to over two pipes by its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

WAIT = 60.0
"""Seconds for an answer: the machine may be busy."""

SETTLES = 0.15
"""Seconds a loaded page has for what it should not do."""

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--hide-scrollbars"),
)

DEMANDED = "LUTHIER_BROWSER"
"""Set to 1 where a browser must be there, as in continuous integration: then a missing one fails."""


def found() -> str:
    """Return Chromium's path; skip where there is none, or fail where one is demanded."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None and os.environ.get(DEMANDED) == "1":
        pytest.fail(f"{DEMANDED}=1, and there is no chromium: `apt-get install chromium`")
    if path is None:
        pytest.skip("no chromium on this machine: `apt-get install chromium`")
    return path


HOSTILE = (
    "<script>document.title='ran'</script>",
    "</script><script>document.title='ran'</script>",
    "<!--<script>document.title='ran'//--></style></title></textarea>",
    '"><img src=x onerror="document.title=\'ran\'">',
    "' autofocus onfocus='document.title=`ran`' x='",
    "<svg onload=document.title='ran'><a href=\"javascript:document.title='ran'\">x</a></svg>",
    "<iframe srcdoc=\"<script>parent.document.title='ran'</script>\"></iframe>",
    '<link rel=stylesheet href="http://127.0.0.1:9/x"><img src="http://127.0.0.1:9/x"><base href="http://127.0.0.1:9/">',
    '<meta http-equiv=refresh content="0;url=http://127.0.0.1:9/"><form action="//x"><button autofocus>',
    "{{constructor.constructor('document.title=1')()}} ${document.title=1} <%= 7*7 %>",
    "null \x00 escape \x1b]0;ran\x07 bidi \u202e over \u2066 isolate \u200b zero \ufeff",
    "\u2028\u2029]]>&lt;script&gt;&#60;script&#62;",
)
"""Texts that do something where they become markup: they change the title, or ask for an address."""


class Browser:
    """One page of a browser, and all it did that a report's page must not do.

    Args:
        path: The program.
        profile: A folder of its own, which isn't there yet.
    """

    def __init__(self, path: str, profile: Path) -> None:
        self.asked: list[str] = []
        """Addresses the page asked for, itself aside."""
        self.said: list[str] = []
        """What went to the console, errors and refusals of its policy included; and dialogs."""
        self._number = 0
        self._waiting: list[dict[str, Any]] = []
        self._held = b""
        self._session = ""
        hears, self._speak = os.pipe()
        self._listen, speaks = os.pipe()

        def as_three_and_four() -> None:
            hear, speak = os.dup(hears), os.dup(speaks)  # either may be 3 or 4 itself
            os.dup2(hear, 3)
            os.dup2(speak, 4)

        arguments = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=as_three_and_four,
            start_new_session=True,
        )
        os.close(hears)
        os.close(speaks)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """End the browser and the processes it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._speak)
        os.close(self._listen)

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        number = self._number
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": parameters, **session}
        os.write(self._speak, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._happened(answer)

    def open(self, page: Path | str) -> None:
        """Load a file or an address, and give it time to do what it should not."""
        self.asked, self.said = [], []
        self.ask("Page.navigate", url=page if isinstance(page, str) else page.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._waiting):
            self._happened(self._next())
        self._waiting = []
        time.sleep(SETTLES)
        self.run("0")  # what it did until now has been told before the answer

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        result = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key, such as `s` or `ArrowLeft`."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key)

    def look(self, *, width: int = 1200, height: int = 900, dark: bool = False, whole: bool = True) -> bytes:
        """Return a picture of the page as PNG."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        picture = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(picture["data"])

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + WAIT
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._listen], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._listen, 1 << 20)
            assert piece, "the browser is gone"
            self._held += piece
        message, _, self._held = self._held.partition(b"\0")
        return json.loads(message)

    def _happened(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent" if about["type"] != "Document":
                self.asked.append(about["request"]["url"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Page.javascriptDialogOpening":
                self.said.append(json.dumps(about)[:500])
            case "Log.entryAdded":
                self.said.append(about["entry"]["text"])
            case "Page.loadEventFired":
                self._waiting.append(event)
