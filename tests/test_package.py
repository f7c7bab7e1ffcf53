"""Promises about the package as a whole."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import luthier

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_the_public_names_are_these_and_each_can_be_had() -> None:
    assert luthier.__all__ == [
        *("Callback", "LuthierError", "Recipe", "Report", "Run", "evaluate", "export", "load_recipe"),
        *("merge", "plan", "prepare", "train", "workflow"),
    ]
    for name in luthier.__all__:
        assert getattr(luthier, name) is not None


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = luthier.nothing


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_runs_that_came_with_data_or_a_model(path: Path) -> None:
    forbidden = {"eval", "exec", "torch.load", "pickle.load", "pickle.loads", "os.system", "os.popen", "yaml.load"}
    walled_in = {"exec"} if path.parts[-3:] == ("evaluate", "sandbox", "sides.py") else set()
    for call in calls(path):
        assert name_of(call) not in forbidden - walled_in, f"{path}:{call.lineno}"
        for keyword in call.keywords:
            value = getattr(keyword.value, "value", None)
            assert not (keyword.arg in ("trust_remote_code", "shell") and value is True), f"{path}:{call.lineno}"
            assert not (keyword.arg == "use_safetensors" and value is False), f"{path}:{call.lineno}"


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    setup = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Set up")[2].partition("## ")[0]
    commands = re.findall(r"^(make \S+)", setup, flags=re.MULTILINE)
    assert commands == ["make quickstart", "make test"]


def test_every_link_in_the_documents_leads_to_a_file() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document}: {target}"


def test_no_document_or_source_names_a_place_on_our_machines() -> None:
    pattern = re.compile(r"/(?:work|root|farm)/")
    files = [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.*")]
    assert [
        str(path) for path in files if path.suffix in (".py", ".md", ".json") and pattern.search(path.read_text())
    ] == []
