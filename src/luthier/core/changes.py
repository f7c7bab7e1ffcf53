"""Which characters of a text were changed."""

from difflib import SequenceMatcher

LONGEST = 2000
"""Characters of either text that are compared: comparing takes time by the product of both."""


def differences(before: str, after: str) -> list[tuple[str, str, bool]]:
    """Return the pieces of both texts, side by side, each with whether they differ; either may then be empty."""
    before, after = before[:LONGEST], after[:LONGEST]
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [
        (before[old:old_end], after[new:new_end], tag != "equal")
        for tag, old, old_end, new, new_end in matcher.get_opcodes()
    ]
