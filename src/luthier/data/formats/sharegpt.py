"""`{"conversations": [{"from": "human", "value": …}, …]}`: the ShareGPT format.

A turn `from` `function_call` is a call as JSON text, and the `observation` behind it what the function gave.
"""

from collections.abc import Mapping

from luthier.data.formats import openai

COLUMNS = ("conversations", "conversation")

parts = openai.parts


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the turns, and those with system prompt and tools if they are there."""
    return openai.turns_in(names, COLUMNS)
