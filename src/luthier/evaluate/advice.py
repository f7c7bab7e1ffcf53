"""What to do next, as commands to type: what findings ask for, with the values that the run has now."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.core.report import Finding, Paragraph, Section, Setting
from luthier.evaluate.stats import Verdict

MOST_HELD_BACK = 0.5
"""Share of the rows beyond which what is left to learn from is the lack."""

REASONS = {
    "data.split.valid": "more to compare on",
    "data.sources": "with rows that keep what was lost",
    "train.learning_rate": "another rate, to see where it turns",
    "train.epochs": "another length, to see where it turns",
}
"""Why a value is changed, in a few words."""


@dataclass(frozen=True, slots=True)
class Again:
    """How the same is done again with other values."""

    run: Path | None = None
    """Of the training; None where models were there already."""
    now: Mapping[str, Any] = field(default_factory=dict)
    """Values that the run has, by their keys in the recipe."""

    def command(self, setting: Setting) -> str:
        """Return what to type to have a recipe value changed; empty where nobody knows how.

        What only changes how is measured needs no second training.
        """
        told = self._told(setting)
        if not told:
            return ""
        if self.run is None:
            return f"--set {shlex.quote(told)}"
        run = str(self.run)
        if setting.key.startswith("evaluate."):
            rows = str(self.run / "data" / "valid.jsonl")
            return shlex.join(
                ["luthier", "evaluate", "--model", run, "--data", rows, "--set", told, "--out", f"{run}-again"]
            )
        bounded = setting.key == "train.epochs" and self.now.get("train.max_steps")
        without = ["--set", "train.max_steps=null"] if bounded else []
        return shlex.join(
            ["luthier", "run", str(self.run / "recipe.yaml"), "--set", told, *without, "--out", f"{run}-2"]
        )

    def commands(self, said: Finding) -> list[str]:
        """Return what to type to do as a finding hints, one command for each way."""
        return [command for setting in said.settings if (command := self.command(setting))]

    def _told(self, setting: Setting) -> str:
        """Return `KEY=VALUE`; empty where that hangs on a value that nobody knows."""
        if setting.value:
            known = self.run is not None or setting.key.startswith("evaluate.")
            return f"{setting.key}={setting.value}" if known else ""
        was = self.now.get(setting.key)
        if was is None:
            return ""
        if setting.also:
            return f"{setting.key}=[{', '.join([*map(quoted, was), setting.also])}]"
        share = setting.key == "data.split.valid"
        number = min(MOST_HELD_BACK, was * setting.times) if share else was * setting.times
        return f"{setting.key}={_number(number)}" if number > was or not share else ""


def _number(value: float) -> str:
    """Return three digits as YAML reads them: `5e-05` is a text there."""
    told = f"{value:.3g}"
    return told if "e" not in told or "." in told else told.replace("e", ".0e")


def quoted(name: str) -> str:
    """Return a name as an item of a YAML list."""
    plain = all(letter.isalnum() or letter in "/._-" for letter in name)
    return name if plain else "'" + name.replace("'", "''") + "'"


def recommendations(said: Sequence[Finding], again: Again, verdict: Verdict) -> Section:
    """Return what to do next, each for the finding it follows from, the most serious first.

    Args:
        said: The findings, sorted.
        again: How the same is done again.
        verdict: What the comparison says.
    """
    advised = dict.fromkeys((one.hint, *again.commands(one)) for one in said if one.hint)
    steps = [(f"{hint[0].upper()}{hint[1:]}", *commands) for hint, *commands in advised]
    if verdict == "better" and not refuses(said):
        steps += used(again)
    if not steps:
        return Section("Recommendations", (Paragraph("None: nothing here calls for a change."),))
    told = (
        Paragraph("\n".join([f"{number}. {words}.", *(f"`{command}`" for command in commands)]))
        for number, (words, *commands) in enumerate(steps, start=1)
    )
    return Section("Recommendations", tuple(told), detail=True)


def refuses(said: Sequence[Finding]) -> bool:
    """Return whether a finding says no."""
    return any(one.level in ("gate", "failure") for one in said)


def used(again: Again) -> list[tuple[str, str]]:
    """Return how a model that is better is put to use."""
    if again.run is None:
        return []
    run = shlex.quote(str(again.run))
    return [
        ("Use it with transformers or vLLM: merge it into one model", f"luthier merge {run}"),
        ("Use it in llama.cpp, Ollama or LM Studio: export it to one file", f"luthier export {run} --to gguf"),
    ]


def next_steps(said: Sequence[Finding], again: Again, verdict: Verdict) -> tuple[str, ...]:
    """Return the command to type first, where the models are a run's."""
    if again.run is None:
        return ()
    if verdict == "better" and not refuses(said):
        export = f"luthier export {shlex.quote(str(again.run))} --to gguf"
        return (f"{export}  # one file for llama.cpp, Ollama and LM Studio",)
    steps = (
        f"{command}  # {REASONS.get(setting.key, 'ask again')}"
        for one in said
        for setting in one.settings
        if (command := again.command(setting))
    )
    return tuple(islice(steps, 1))
