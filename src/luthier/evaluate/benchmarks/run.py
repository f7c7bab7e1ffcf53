"""One model does the tasks: what it answers to each item, and what that scores."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.evaluate.benchmarks.tasks import Ready, quiet

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask

MAIN = "none"
"""What the harness calls the filter that changes nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one item."""

    question: str
    choices: tuple[str, ...]
    """What could be said; nothing where any text could."""
    expected: str
    said: tuple[Any, ...]
    """A text for each prompt, or how likely each choice is, in nats."""
    scores: dict[str, Any]
    """By measure: a number, or what the task makes one of over all items."""
    failed: tuple[str, ...] = ()
    """Of programs, why each failed; nothing of one that passed."""


def answers(lm: "LM", tasks: Sequence[Ready]) -> dict[str, list[Answer]]:
    """Return what a model answers, by task, in the order of the items chosen.

    All tasks are asked together, so that the model can sort their requests by length.
    """
    ready = {one.name: one for one in tasks}
    requests = defaultdict(list)
    for one in ready.values():
        one.task.set_fewshot_seed(one.asked.seed)  # the same examples for every model
        with quiet():
            one.task.build_all_requests(samples=[*one.chosen], **_as_chat(lm) if one.asked.chat else {})
        for instance in one.task.instances:
            instance.task_name = one.name
            instance.resps.clear()
            requests[instance.request_type].append(instance)
    for kind, asked in requests.items():
        repeated = [instance for instance in asked for _ in range(instance.repeats)]
        for instance, response in zip(repeated, getattr(lm, kind)(repeated), strict=True):
            instance.resps.append(response)
    return {name: _scored(one) for name, one in ready.items()}


def _as_chat(lm: "LM") -> dict[str, Any]:
    """Return what has a task ask in a conversation whose earlier turns are the examples."""
    template = {"chat_template": lm.apply_chat_template, "tokenizer_name": lm.tokenizer_name}
    return {"apply_chat_template": True, "fewshot_as_multiturn": True, **template}


def _scored(ready: Ready) -> list[Answer]:
    with quiet():
        ready.task.apply_filters()
    by_item = defaultdict(list)
    for instance in ready.task.instances:
        by_item[instance.doc_id].append(instance)
    return [_answer(ready.task, sorted(by_item[place], key=lambda one: one.idx)) for place in sorted(by_item)]


def _answer(task: "ConfigurableTask", instances: "Sequence[Instance]") -> Answer:
    doc = instances[0].doc
    scores = {}
    for name in instances[0].filtered_resps:
        said = [instance.filtered_resps[name] for instance in instances]
        for metric, value in task.process_results(doc, said).items():
            scores[metric if name == MAIN else f"{metric},{name}"] = value
    choices = task.doc_to_choice(doc) if task.config.doc_to_choice is not None else ()
    expected = task.doc_to_target(doc)
    return Answer(
        question=str(task.doc_to_text(doc)),
        choices=tuple(str(choice) for choice in choices),
        expected=str(choices[expected] if choices and isinstance(expected, int) else expected),
        said=tuple(_told(instance.resps[0]) for instance in instances),
        scores=scores,
    )


def _told(response: Any) -> Any:
    """Return a text, or of a choice its log-likelihood without whether it would have been said."""
    return response[0] if isinstance(response, tuple) else response
