"""A metric of the user's is measured anew when anything it is made of changes."""

from pathlib import Path

from luthier.workflow.imports import modules


def test_a_module_rests_on_what_it_imports_beside_it_and_on_nothing_else(tmp_path: Path) -> None:
    texts = {
        "score.py": "import json\nimport words\nfrom tools import split\n",
        "words.py": "import score\n",
        "tools/__init__.py": "",
        "tools/split.py": "from .deep import cut\nfrom ..other import far\n",
        "tools/deep.py": "this is no Python",
        "train.py": "import score\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = [path.relative_to(tmp_path).as_posix() for path in modules("score", tmp_path)]
    assert found == ["score.py", "tools/__init__.py", "tools/deep.py", "tools/split.py", "words.py"]
    assert [path.name for path in modules("tools.deep", tmp_path)] == ["__init__.py", "deep.py"]
    assert modules("nowhere", tmp_path) == []
