"""The page of failures names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_line_of_the_page_names_its_test() -> None:
    page = (ROOT / "docs" / "reference" / "failures.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| ") and "| --- |" not in line][1:]
    assert len(lines) >= 20
    for line in lines:
        (named,) = re.findall(r"`(tests/[\w/]+\.py)::(\w+)` \|$", line)
        assert f"def {named[1]}(" in (ROOT / named[0]).read_text(encoding="utf-8"), line
