"""A JSON text that is looked at through a window: values are taken off its front, the rest waits in the file."""

import codecs
import json
import re
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from luthier.data.encoding import ERRORS
from luthier.data.readers.opened import LONGEST

if TYPE_CHECKING:
    from io import BufferedIOBase

CHUNK = 1 << 18

BLANK = re.compile(r"[ \t\r\n\ufeff]*")

LONGEST_WORD = 12
"""Characters of the longest piece that means nothing until it is whole: `-Infinity`, `\\ud83d\\ude00`."""

DECODE = json.JSONDecoder().raw_decode


class TooLongError(Exception):
    """A value is longer than a window may grow."""


class Window:
    """Reads JSON values one after the other; memory holds the one in hand and a chunk.

    Args:
        handle: The bytes, from the beginning.
        encoding: A codec name.
    """

    def __init__(self, handle: BinaryIO, encoding: str) -> None:
        self._handle = cast("BufferedIOBase", handle)
        self._decoder = codecs.getincrementaldecoder(encoding)(ERRORS)
        self.text = ""
        self.at = 0
        """Place in `text` of what comes next."""
        self.longest = LONGEST
        """Characters a value may have."""
        self._lines = 0
        self._column = 0

    def more(self) -> bool:
        """Read on and let go of what was taken. Return whether there was more."""
        piece = ""
        while not piece:
            read = self._handle.read1(CHUNK)  # read would lose what comes before damage
            piece = self._decoder.decode(read, final=not read)
            if not read and not piece:
                return False
        self._lines, self._column = self.line_and_column(self.at)
        self.text, self.at = self.text[self.at :] + piece, 0
        return True

    def line_and_column(self, at: int) -> tuple[int, int]:
        """Return how many lines and, on its own line, how many characters stand before a place in `text`."""
        lines = self.text.count("\n", 0, at)
        if not lines:
            return self._lines, self._column + at
        return self._lines + lines, at - self.text.rfind("\n", 0, at) - 1

    def peek(self) -> str:
        """Go to the next character that isn't blank and return it; nothing at the end."""
        while True:
            match = BLANK.match(self.text, self.at)
            assert match is not None, "it matches nothing, too"
            self.at = match.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, sign: str) -> bool:
        """Go past a character if it comes next. Return whether it did."""
        found = self.peek() == sign
        self.at += found
        return found

    def value(self) -> tuple[Any, str]:
        """Take the value that comes next; return it and its text. What is no value stays.

        Raises:
            json.JSONDecodeError: There is none; its `pos` is a place in `text`.
            ValueError: A number of more digits than Python reads.
            RecursionError: It is nested too deep.
            TooLongError: It is longer than `longest`.
        """
        while True:
            try:
                value, end = DECODE(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - LONGEST_WORD
                if not (cut and self._grow()):
                    raise
            else:
                if end < len(self.text) or isinstance(value, dict | list | str) or not self._grow():
                    raw, self.at = self.text[self.at : end], end
                    return value, raw

    def _grow(self) -> bool:
        if len(self.text) - self.at > self.longest:
            raise TooLongError
        return self.more()

    def find(self, mark: str) -> bool:
        """Go to where a text comes next. Return whether it comes at all; else the end is reached."""
        while True:
            found = self.text.find(mark, self.at)
            if found >= 0:
                self.at = found
                return True
            self.at = max(self.at, len(self.text) - len(mark) + 1)
            if not self.more():
                self.at = len(self.text)
                return False
