"""What docs/reference/python.md shows is what happens."""

import doctest
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_examples_of_the_python_page_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[1] / "docs/reference/python.md"
    monkeypatch.chdir(tmp_path)
    tried = doctest.testfile(str(page), module_relative=False, parser=WithoutFences())
    assert tried.attempted >= 8
    assert tried.failed == 0


class WithoutFences(doctest.DocTestParser):
    """Reads examples in fenced blocks: a fence ends what an example printed."""

    def parse(self, string: str, name: str = "<string>") -> list[str | doctest.Example]:
        return super().parse(string.replace("\n```\n", "\n\n"), name)
