"""Cleaning, one file a step.

To add one: an option in `luthier.recipe.data.Clean`, a file that makes a `Step` of it, and a line in the table.
"""

from collections.abc import Callable, Sequence

from luthier.core.example import Example
from luthier.data.clean import control, empty, html, mojibake, privacy, profanity, whitespace
from luthier.data.clean.step import Notes, Step, of_texts, run
from luthier.data.rows import Refusal
from luthier.recipe.data import Clean

STEPS: dict[str, Callable[[Clean], Step | None]] = {
    "mojibake": lambda asked: of_texts(mojibake.apply) if asked.mojibake else None,
    "html": lambda asked: of_texts(html.apply) if asked.html else None,
    "control": lambda asked: of_texts(control.apply) if asked.control else None,
    "whitespace": lambda asked: of_texts(whitespace.apply) if asked.whitespace else None,
    "empty": lambda asked: empty.step(asked.min_answer_chars),
    "privacy": lambda asked: privacy.step(asked.privacy),
    "profanity": lambda asked: profanity.step(asked.profanity),
}
"""Name in the report to what makes the step of the recipe's options, in the order in which they run."""


class Cleaner:
    """Runs the steps the recipe asks for on batches of examples.

    Args:
        options: Which steps run.
    """

    def __init__(self, options: Clean) -> None:
        made = {name: make(options) for name, make in STEPS.items()}
        self.steps = {name: step for name, step in made.items() if step is not None}
        self.shown = privacy.shown(options.privacy)

    def clean(self, examples: Sequence[Example]) -> tuple[list[Example | Refusal], dict[str, Notes]]:
        """Return what becomes of each example, and what each step has to tell. A refused one meets no further step."""
        results: list[Example | Refusal] = [*examples]
        notes = {name: Notes() for name in self.steps}
        for name, step in self.steps.items():
            left = [(place, result) for place, result in enumerate(results) if not isinstance(result, Refusal)]
            after = run(step, [example for _, example in left], notes[name], self.shown)
            for (place, _), result in zip(left, after, strict=True):
                results[place] = result
        return results, notes
