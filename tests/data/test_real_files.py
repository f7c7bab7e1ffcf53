"""The page on real files says what preparing them gives, where they are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "reference" / "data-files.md"

LINE = re.compile(r"^\| (\S+) \| (.*?) \| (.*?) \| ([\d,]+) \| [\d,]+ \|", re.MULTILINE)
"""File, format, what it was read as and how many rows came in; how many stay depends on every cleaning step."""


def test_the_page_has_formats_and_counts() -> None:
    told = {name: (shape, rows) for name, shape, _, rows in LINE.findall(PAGE.read_text(encoding="utf-8"))}
    assert told["mgsm/mgsm_en.tsv"] == ("`completion`", "250")
    assert told["oasst/en_100_tree.jsonl"] == ("`openai`", "100")
    assert told["tinyshakespeare/input.txt"] == ("`text`", "1")


@pytest.mark.slow
@pytest.mark.skipif(not FILES.is_dir(), reason="these files are not part of the repository")
def test_every_file_is_found_to_be_what_the_page_says(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    subprocess.run([sys.executable, "-m", "scripts.formats_found", str(FILES), str(page)], cwd=ROOT, check=True)
    assert LINE.findall(page.read_text(encoding="utf-8")) == LINE.findall(PAGE.read_text(encoding="utf-8"))
