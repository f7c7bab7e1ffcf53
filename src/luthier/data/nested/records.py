"""SQuAD's paragraphs with their questions, and self-instruct's tasks with their instances."""

from collections import Counter
from typing import Any

from luthier.data.nested.unfolded import Unfolded
from luthier.data.rows import Refusal
from luthier.recipe.methods import Rows


def paragraphs(record: dict[str, Any], _: Rows) -> Unfolded | None:
    """Return a row for every question of `{"title", "paragraphs": [{"context", "qas": [{"question", "answers"}]}]}`.

    A paragraph may also stand alone.
    """
    listed = record.get("paragraphs", [record])
    if not _objects(listed) or not all(_objects(paragraph.get("qas")) for paragraph in listed):
        return None
    above = {key: value for key, value in record.items() if key not in ("paragraphs", "context", "qas")}
    found = []
    left: Counter[str] = Counter()
    for paragraph in listed:
        for asked in paragraph["qas"]:
            answers = asked.get("answers", asked.get("answer"))
            if isinstance(answers, list):
                answers = [answer.get("text") if isinstance(answer, dict) else answer for answer in answers]
            rest = {key: value for key, value in asked.items() if key not in ("answers", "answer", "plausible_answers")}
            found.append({**above, "context": paragraph.get("context"), **rest, "answers": answers})
            left["plausible answers"] += bool(asked.get("plausible_answers"))
    return (
        Unfolded(found, +left) if found else Unfolded((), refusal=Refusal("no_prompt", "no paragraph has a question"))
    )


def instances(record: dict[str, Any], _: Rows) -> Unfolded | None:
    """Return a row for every instance of `{"instruction", "instances": [{"input", "output"}]}`."""
    listed = record.get("instances")
    if not _objects(listed) or "instruction" not in record:
        return None
    above = {key: value for key, value in record.items() if key != "instances"}
    if not listed:
        return Unfolded((), refusal=Refusal("no_answer", "`instances` is empty"))
    return Unfolded([{**above, **instance} for instance in listed])


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
