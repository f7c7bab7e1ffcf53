"""The page people answer on: one file, its style and script known by their hashes, nothing loaded from elsewhere."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files


def _part(name: str) -> str:
    return (files("luthier.evaluate.people") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


STYLE, SCRIPT = _part("page.css"), _part("page.js")

POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""What the page may do: run its own script and speak with its server. Texts become text by `textContent` alone."""


@cache
def page() -> str:
    """Return the page. It holds no text of a data set or a model: those come with the sheets."""
    return _part("page.html").replace("/*style*/", STYLE).replace("/*script*/", SCRIPT)
