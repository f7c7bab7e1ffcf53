"""`{"question", "context", "answers"}`: a question about a text, as SQuAD asks. What was found stands in the text."""

from collections.abc import Mapping

from luthier.data.formats import completion, openai
from luthier.data.formats.turns import columns_of

QUESTIONS = ("question", "query")
CONTEXTS = ("context", "passage", "paragraph", "article")
ANSWERS = ("answer", "answers", "answer_text")

parts = completion.parts


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns when question, context and answer are all there."""
    found = columns_of(names, prompt=QUESTIONS, context=CONTEXTS, answer=ANSWERS, system=openai.SYSTEMS)
    return found if {"prompt", "context", "answer"} <= found.keys() else None
