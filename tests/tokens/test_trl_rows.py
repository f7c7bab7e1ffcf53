"""The ids of a preference are those TRL trains on, but for what stands behind the stop token. Skipped without TRL."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vocabularies import tokenizer_of

from luthier.core.example import Example, Message, Source
from luthier.tokens.render import Renderer
from luthier.tokens.template import named, names

pytest.importorskip("trl")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TALKS: list[list[tuple[str, str]]] = [
    [("user", "Why is it so?")],
    [("system", "Be kind."), ("user", "  Why?\n\n")],
    [("user", "One?"), ("assistant", "First."), ("user", "Two? Émile 🎻")],
]
ENDINGS = [("Because it is so.", "No."), ("First, then.", "First, not then."), ("  spaced ", "Because")]


def turn(said: tuple[str, str]) -> dict[str, str]:
    return {"role": said[0], "content": said[1]}


def theirs(tokenizer: Any, rows: list[dict[str, Any]], folder: Path) -> list[dict[str, list[int]]]:
    """Return what TRL's DPO trainer makes of rows."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    args = DPOConfig(str(folder), max_length=None, report_to="none", use_cpu=True, bf16=False)
    prepared = DPOTrainer._prepare_dataset(
        SimpleNamespace(_tokenizer=tokenizer), Dataset.from_list(rows), tokenizer, args, "train"
    )
    return list(prepared)


@pytest.mark.parametrize("template", sorted({*names()} & {"chatml", "llama3", "gemma", "zephyr", "phi3", "phi4"}))
def test_a_preference_has_the_ids_of_trl(template: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of("bytes", "<|begin_of_text|>", "<|im_end|>")
    tokenizer.chat_template = named(template, tokenizer)
    renderer = Renderer(tokenizer, rows="pair")
    talks = [talk for talk in TALKS if template != "gemma" or talk[0][0] != "system"]
    rows = [
        {"prompt": [*map(turn, talk)], "chosen": [turn(("assistant", a))], "rejected": [turn(("assistant", b))]}
        for talk in talks
        for a, b in ENDINGS
    ]
    behind = set()
    for row, their in zip(rows, theirs(tokenizer, rows, tmp_path), strict=True):
        both = [
            tuple(Message(one["role"], one["content"]) for one in [*row["prompt"], *row[ending]])
            for ending in ("chosen", "rejected")
        ]
        result = renderer.encode(Example(both[0], Source("here", 1), rejected=both[1]))
        assert isinstance(result, tuple), result
        for ours, ending in zip(result, ("chosen_ids", "rejected_ids"), strict=True):
            assert ours.input_ids.tolist() == their["prompt_ids"] + their[ending]
            first, past = np.flatnonzero(ours.learned)[[0, -1]]
            assert first == len(their["prompt_ids"])
            # TRL learns the whole rest of the text; here an answer ends with its stop token.
            behind.add(tokenizer.decode(ours.input_ids[past + 1 :]))
    assert all(not text.strip() for text in behind)
