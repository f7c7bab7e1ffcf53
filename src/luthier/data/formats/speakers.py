r"""A conversation in one text: `\n\nHuman: …\n\nAssistant: …` as hh-rlhf has it, or `### Human: …### Assistant: …`."""

import re

NAMES = "Human|User|Assistant|System"
WHO = {"Human": "user", "User": "user", "Assistant": "assistant", "System": "system"}

BEGINS = re.compile(rf"\s*(?:### ?)?(?:{NAMES}):")
PARAGRAPHS = re.compile(rf"(?:\A\s*|\n\n)({NAMES}):")
LINES = re.compile(rf"(?:\A\s*|\n)({NAMES}):")
HASHES = re.compile(rf"### ?({NAMES}):")

ONE_TURN = 3
"""Pieces of a text in which one speaks: nothing before, who, and what."""


def spoken(text: str) -> list[dict[str, str]]:
    """Return the turns of a transcript, without the spaces around them; none where a text is no transcript.

    It begins with who speaks; the others' names stand at the beginning of a paragraph, or all behind `###`; where none
    does, at the beginning of a line.
    """
    if not BEGINS.match(text):
        return []
    hashes = text.lstrip().startswith("#")
    pieces = (HASHES if hashes else PARAGRAPHS).split(text)
    if len(pieces) <= ONE_TURN and not hashes:
        pieces = LINES.split(text)
    return [{"role": WHO[name], "content": said.strip()} for name, said in zip(pieces[1::2], pieces[2::2], strict=True)]
