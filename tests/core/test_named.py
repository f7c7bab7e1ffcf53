"""Functions that a recipe names."""

from pathlib import Path

import pytest

from luthier.core import named
from luthier.core.errors import RecipeError


def test_a_function_is_found_where_luthier_runs_and_its_file_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine_here.py").write_text("def shout(text):\n    return text.upper()\n", "utf-8")
    Path("mine_broken.py").write_text("raise SystemError\n", "utf-8")
    assert named.function("mine_here:shout", "an.option")("a") == "A"
    assert named.source("mine_broken:any") == tmp_path / "mine_broken.py"
    with pytest.raises(RecipeError, match=r"`an\.option` names `mine_broken:any`, and there is none: SystemError"):
        named.function("mine_broken:any", "an.option")


@pytest.mark.parametrize("missing", ["no_such_module:f", "no.such.module:f"])
def test_what_is_not_there_has_no_file(missing: str) -> None:
    assert named.source(missing) is None
