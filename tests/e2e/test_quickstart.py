"""`luthier quickstart`: the README's first command, after the install."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_quickstart_ends_with_a_better_model_and_passed_certificates(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "luthier", "quickstart", "--out", "run", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = report["prepare"]["rows"]
    assert rows["in"] == rows["kept"] + rows["dropped"]
    assert rows["dropped"] > 50
    assert report["evaluate"]["verdict"] == "better"
    assert report["evaluate"]["perplexity"]["change"]["high"] < 0.1
    tuned = [sample["tuned"] for sample in report["evaluate"]["samples"]]
    assert sum(answer.startswith("Thank you for writing to the workshop") for answer in tuned) >= 5
    assert not any(s["base"].startswith("Thank you for writing") for s in report["evaluate"]["samples"])
    proofs = [report["merge"], *report["export"]]
    assert [entry["certificate"]["status"] for entry in proofs] == ["passed"] * 3
    assert (tmp_path / "run" / "report.html").is_file()
