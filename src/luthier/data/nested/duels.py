"""`{"prompt", "response_a", "response_b", "winner"}`: two answers, and beside them which is better.

So do Chatbot Arena, SHP, PKU-SafeRLHF, WebGPT's comparisons and AlpacaFarm tell preferences.
"""

from typing import Any

from luthier.core.text import one_line
from luthier.data.nested.unfolded import Unfolded
from luthier.data.rows import Refusal
from luthier.recipe.methods import Rows

PAIRS = (
    *((f"{name}_a", f"{name}_b") for name in ("response", "answer", "conversation", "completion", "output")),
    ("human_ref_A", "human_ref_B"),
    *((f"{name}_0", f"{name}_1") for name in ("response", "answer", "output")),
    *((f"{name}_1", f"{name}_2") for name in ("response", "answer", "output")),
)
"""Columns of the two answers."""

VERDICTS = ("winner", "preference", "preferred", "better_response_id", "labels", "label", "better")
PROMPTS = {"history": "prompt"}
"""Columns that have another meaning here than elsewhere: SHP's post."""

WORDS = tuple(second for _, second in PAIRS)


def unfold(record: dict[str, Any], rows: Rows) -> Unfolded | None:
    """Return the pair as `chosen` and `rejected`."""
    pair = next((pair for pair in PAIRS if record.keys() >= {*pair}), None)
    if pair is None or rows in ("class", "text"):
        return None
    suffixes = [name.rpartition("_")[2] for name in pair]
    scores = [score for suffix in suffixes if isinstance(score := record.get(f"score_{suffix}"), int | float)]
    verdict = next((name for name in VERDICTS if record.get(name) not in (None, "")), None)
    if verdict is not None:
        first = _first_wins(record[verdict], pair, suffixes)
        told = f"`{verdict}` is `{one_line(str(record[verdict]), 40)}`"
    elif len(scores) == 2:
        first = None if scores[0] == scores[1] else scores[0] > scores[1]
        told = "both have the same score"
    else:
        return None
    if first is None:
        return Unfolded((), refusal=Refusal("unranked", f"{told}: neither answer is better"))
    better, worse = pair if first else pair[::-1]
    above = {PROMPTS.get(key, key): value for key, value in record.items() if key not in (*pair, verdict)}
    return Unfolded([{**above, "chosen": record[better], "rejected": record[worse]}])


def _first_wins(verdict: Any, pair: tuple[str, str], suffixes: list[str]) -> bool | None:
    """Return whether the first answer is the better one; None where neither is, or the verdict says something else."""
    word = str(verdict).strip().lower()
    if pair == ("human_ref_A", "human_ref_B"):  # 1 is for A: Ethayarajh et al. 2022, arXiv:2110.08420
        return {"1": True, "0": False}.get(word)
    for first, name, suffix in zip((True, False), pair, suffixes, strict=True):
        if word in (suffix.lower(), name.lower(), f"model_{suffix.lower()}"):
            return first
    return None
