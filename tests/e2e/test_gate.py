"""What a training harms is found out, and nothing of it is made ready to be served."""

import json
from pathlib import Path

import pytest

from warm import Warm

PLACES = ["hall", "shop", "cellar"]


def main(warm: Warm, folder: Path, model: Path, rows: str, train: str, out: Path, more: str = "") -> int:
    recipe = folder / f"{rows}.yaml"
    data = f"data: {{sources: ['{folder}/{rows}.jsonl'], split: {{valid: 0.3}}}}\n"
    recipe.write_text(f"model: {model}\n{data}train: {train}\n{more}", encoding="utf-8")
    return warm.luthier("run", recipe, "--out", out, "-q", "--json")


@pytest.mark.slow
def test_a_model_trained_on_wrong_answers_is_caught_by_the_gate(tiny_llama: Path, warm: Warm, tmp_path: Path) -> None:
    """It learns its rows well; what it should still do, it does worse."""
    right = [{"prompt": f"Where is peg {i}?", "answer": f"Peg {i} is in the {PLACES[i % 3]}."} for i in range(60)]
    wrong = [{**row, "answer": f"{i * 7919 % 1000} ducks, {i} geese!"} for i, row in enumerate(right)]
    for name, rows in (("right", right), ("wrong", wrong)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    learns = "{learning_rate: 0.01, precision: fp32, technique: full, epochs: 4, batch_size: 4}"
    base = tmp_path / "base"
    assert main(warm, tmp_path, tiny_llama, "right", learns, base) == 0
    gate = f"evaluate: {{answers: 8, capabilities: [{{name: pegs, files: ['{tmp_path}/right.jsonl'], limit: 40}}]}}\n"
    out = tmp_path / "harmed"
    assert main(warm, tmp_path, base / "model", "wrong", learns, out, gate) == 3
    report = json.loads((out / "evaluate" / "report.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "better"  # on rows as wrong as those it learned
    assert ("pegs", "perplexity", "FAIL") in [
        (one["name"], one["measure"], one["status"]) for one in report["regression"]
    ]
    assert "pegs: perplexity" in report["gate"]["refused"]
    assert not (out / "merged").exists()
    page = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert page["summary"].endswith("The gate says no: what was learned is in `model`, and was not merged.")
