"""What is remembered of every kept row: numbers only, so that a million rows are some tens of megabytes."""

from array import array

from luthier.core.example import Source


class Kept:
    """Columns over the kept rows, in the order in which they came."""

    def __init__(self) -> None:
        self.prompts = array("Q")
        """Key of everything before the last turn; see `keys.prompt_key`."""
        self.keys = array("Q")
        """First 8 bytes of the example's key."""
        self.opposites: dict[int, int] = {}
        """Beginning of the key of the example that says the contrary, where there is one, to the row."""
        self._files = array("L")
        self._lines = array("Q")
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self.prompts)

    def add(self, source: Source, *, prompt: int, key: bytes, opposite: bytes | None = None) -> None:
        """Take in a row."""
        if not self._names or self._names[-1] != source.file:
            self._names.append(source.file)
        self.prompts.append(prompt)
        self.keys.append(int.from_bytes(key[:8], "big"))
        if opposite is not None:
            self.opposites.setdefault(int.from_bytes(opposite[:8], "big"), len(self.keys) - 1)
        self._files.append(len(self._names) - 1)
        self._lines.append(source.line)

    def source(self, index: int) -> Source:
        """Return where a row came from."""
        return Source(self._names[self._files[index]], self._lines[index])

    def contradictions(self) -> list[tuple[int, int]]:
        """Return, for every row whose prompt an earlier row answers otherwise, the earlier row and it.

        Of preferences and judged answers a prompt has many; there, for every row whose contrary stands before it.
        """
        if self.opposites:
            against = ((self.opposites.get(key), index) for index, key in enumerate(self.keys))
            return [(earlier, index) for earlier, index in against if earlier is not None and earlier < index]
        first: dict[int, int] = {}
        found = []
        for index, prompt in enumerate(self.prompts):
            earlier = first.setdefault(prompt, index)
            if self.keys[earlier] != self.keys[index]:
                found.append((earlier, index))
        return found
