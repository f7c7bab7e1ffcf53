"""Cleaning, one file a step.

To add one: an option in `luthier.recipe.data.Clean`, a file that makes a `Step` of it, and a line in the table.
"""

from collections.abc import Callable, Sequence

from luthier.core.example import Example
from luthier.data.clean import (
    boilerplate,
    control,
    echo,
    empty,
    fillers,
    html,
    language,
    length,
    mojibake,
    privacy,
    profanity,
    punctuation,
    refusals,
    repetition,
    residue,
    roles,
    special_tokens,
    transcript,
    unicode_form,
    whitespace,
)
from luthier.data.clean.step import Notes, Step, of_texts, run, told
from luthier.data.clean.vocabulary import Vocabulary
from luthier.data.rows import Refusal
from luthier.recipe.data import Clean

STEPS: dict[str, Callable[[Clean, Vocabulary], Step | None]] = {
    "mojibake": lambda asked, _: of_texts(mojibake.apply) if asked.mojibake else None,
    "html": lambda asked, _: html.step if asked.html else None,
    "control": lambda asked, _: of_texts(control.apply) if asked.control else None,
    "unicode": lambda asked, _: of_texts(unicode_form.apply(asked.unicode)) if asked.unicode else None,
    "punctuation": lambda asked, _: of_texts(punctuation.apply) if asked.punctuation else None,
    "transcript": lambda asked, _: of_texts(transcript.apply(asked.transcript)) if asked.transcript else None,
    "fillers": lambda asked, _: of_texts(fillers.apply(asked.fillers)) if asked.fillers else None,
    "boilerplate": lambda asked, _: of_texts(boilerplate.apply(asked.boilerplate)) if asked.boilerplate else None,
    "special_tokens": lambda asked, vocabulary: (
        special_tokens.step(asked.special_tokens, vocabulary.special) if asked.special_tokens else None
    ),
    "residue": lambda asked, _: residue.step(asked.residue) if asked.residue else None,
    "whitespace": lambda asked, _: of_texts(whitespace.apply) if asked.whitespace else None,
    "roles": lambda asked, _: roles.step(asked.roles) if asked.roles else None,
    "empty": lambda asked, _: empty.step(asked.min_answer_chars),
    "length": lambda asked, vocabulary: length.step(asked.length, vocabulary.count) if asked.length else None,
    "language": lambda asked, _: language.step(asked.language) if asked.language else None,
    "echo": lambda asked, _: told(echo.find, asked.echo) if asked.echo else None,
    "refusals": lambda asked, _: told(refusals.find, asked.refusals) if asked.refusals else None,
    "repetition": lambda asked, _: told(repetition.find, asked.repetition) if asked.repetition else None,
    "privacy": lambda asked, _: privacy.step(asked.privacy),
    "profanity": lambda asked, _: profanity.step(asked.profanity),
}
"""Name in the report to what makes the step of the recipe's options, in the order in which they run."""

UNKNOWN = Vocabulary()


class Cleaner:
    """Runs the steps the recipe asks for on batches of examples.

    Args:
        options: Which steps run.
        vocabulary: The model's, as far as it is known.
    """

    def __init__(self, options: Clean, vocabulary: Vocabulary = UNKNOWN) -> None:
        made = {name: make(options, vocabulary) for name, make in STEPS.items()}
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
