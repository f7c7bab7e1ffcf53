"""Keys of services: read from where the user keeps them, sent to whom they are for, shown to nobody."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from luthier.core.errors import RecipeError

LONGEST = 8_192
"""No key is longer; a file that is was named by mistake."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret. It prints as where it is from."""

    origin: str
    """Where it was found, in words: `the variable OPENAI_API_KEY`."""
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return self.origin

    def hidden(self, text: str) -> str:
        """Return a text, such as an answer that quotes the key, without it."""
        return text.replace(self.secret, "…")


def read_key(*, variable: str | None = None, file: Path | None = None) -> Key | None:
    """Return the key of an environment variable or, where none is named, of a file; None where neither is named.

    Raises:
        RecipeError: It isn't there, or can't be sent.
    """
    if variable is not None:
        origin, found = f"the variable {variable}", os.environ.get(variable)
        if not found:
            raise RecipeError(f"{origin} is not set", hint=f"type `export {variable}=…` with your key first")
    elif file is not None:
        origin = f"the file {file}"
        try:
            with file.expanduser().open("rb") as handle:
                found = handle.read(LONGEST + 1).decode("ascii", "replace")
        except OSError as error:
            hint = "name a file that holds the key and nothing else"
            raise RecipeError(f"{origin} can't be read ({error.strerror})", hint=hint) from error
    else:
        return None
    secret = found.strip()
    if not secret or len(secret) > LONGEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise RecipeError(f"{origin} holds no key", hint="a key is one word of printable ASCII characters")
    return Key(origin, secret)
