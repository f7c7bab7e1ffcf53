"""Every technique trains every objective, or is refused with a reason before training begins.

A few cells, each technique and each objective among them, run here. `make table` runs all of them on a small real
model and writes docs/reference/techniques-objectives.md.
"""

import os
import re
from pathlib import Path

import pytest
from cells import OBJECTIVES, TECHNIQUES, Cell, cell, prepared

from luthier.core.files import write_text

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "techniques-objectives.md"

DIAGONAL = [
    ([*TECHNIQUES][place % len(TECHNIQUES)], [*OBJECTIVES][place % len(OBJECTIVES)])
    for place in range(max(len(TECHNIQUES), len(OBJECTIVES)))
]


@pytest.mark.slow
@pytest.mark.parametrize(("technique", "objective"), DIAGONAL)
def test_a_cell_is_killed_resumed_evaluated_and_merged(
    technique: str, objective: str, tiny_llama: Path, tmp_path: Path
) -> None:
    start = prepared(objective, tiny_llama, tmp_path)
    assert cell(technique, objective, tiny_llama, start, tmp_path).status in ("merged", "adapter")


def test_the_page_has_a_word_for_every_cell() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    header, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert header[1:] == [*OBJECTIVES]
    assert [row[0] for row in body] == [*TECHNIQUES]
    assert all(re.fullmatch(r"(merged|adapter|refused)( \d+)?", entry) for row in body for entry in row[1:])


@pytest.mark.skipif("LUTHIER_TABLE_MODEL" not in os.environ, reason="many minutes: run by `make table`")
def test_the_whole_table(tmp_path: Path) -> None:
    model = Path(os.environ["LUTHIER_TABLE_MODEL"])
    starts = {objective: prepared(objective, model, tmp_path) for objective in OBJECTIVES}
    found: dict[tuple[str, str], Cell] = {}
    for technique in TECHNIQUES:
        for objective, start in starts.items():
            found[technique, objective] = cell(technique, objective, model, start, tmp_path)
    write_text(PAGE, page(found, model))


def page(found: dict[tuple[str, str], Cell], model: Path) -> str:
    """Return the table as Markdown; reasons of what was not merged stand below, by number."""
    reasons = [*dict.fromkeys(one.words for one in found.values() if one.words)]

    def shown(one: Cell) -> str:
        return f"{one.status} {reasons.index(one.words) + 1}" if one.words else one.status

    lines = [[technique, *(shown(found[technique, objective]) for objective in OBJECTIVES)] for technique in TECHNIQUES]
    rows = [["", *OBJECTIVES], ["---"] * (len(OBJECTIVES) + 1), *lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))
    return (
        "# Techniques and objectives\n\n"
        f"Written by `make table` on {model.parent.name}/{model.name}. Each cell was trained twice, once stopped in "
        "the middle and resumed, to the same bits; then evaluated; then merged with a passed certificate, or left as "
        f"an adapter for the reason given.\n\n{table}\n\n{notes}\n"
    )
