"""The whole road as a person walks it: commands in, files and reports out, on a tiny real model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from warm import Warm

pytestmark = pytest.mark.slow

RECIPE = """\
name: tickets
model: {model}
data: {{sources: [tickets.jsonl], split: {{valid: 0.3}}}}
train: {{max_steps: 12, batch_size: 8, max_length: 256}}
evaluate: {{samples: 3, max_new_tokens: 16}}
export: [{{to: gguf, quant: f16}}, {{to: gguf, quant: q8_0}}]
"""


class Luthier:
    """The command line, in processes that start warm; returns what it wrote to stdout."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm

    def __call__(self, *arguments: str, cwd: Path, code: int = 0) -> str:
        assert self._warm.luthier(*arguments, cwd=cwd) == code, self._warm.errors
        return self._warm.output

    @property
    def errors(self) -> str:
        return self._warm.errors


@pytest.fixture
def luthier(warm: Warm) -> Luthier:
    return Luthier(warm)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> tuple[Path, dict[str, Any]]:
    """Return a folder in which `luthier run` was called, and its report."""
    home = tmp_path_factory.mktemp("home")
    rows = [{"question": f"What about peg {i}?", "answer": f"Peg {i} needs {i * 3} turns."} for i in range(60)]
    rows += [rows[0], {"question": "And this?", "answer": "  "}]
    (home / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"question": "torn')
    (home / "recipe.yaml").write_text(RECIPE.format(model=tiny_llama))
    command = [sys.executable, "-m", "luthier", "run", "recipe.yaml", "--out", "run", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=home)
    return home, json.loads(done.stdout)


def test_every_row_is_accounted_for(walked: tuple[Path, dict[str, Any]]) -> None:
    home, report = walked
    rows = report["prepare"]["rows"]
    assert rows["in"] == 63
    assert rows["in"] == rows["kept"] + rows["dropped"]
    assert rows["by_reason"] == {"duplicate": 1, "empty_answer": 1, "invalid_json": 1}
    dropped = [json.loads(line) for line in (home / "run/data/dropped.jsonl").read_text().splitlines()]
    assert sorted(row["line"] for row in dropped) == [61, 62, 63]
    assert [row["matched"]["line"] for row in dropped if row["reason"] == "duplicate"] == [1]


def test_the_report_has_the_keys_the_contract_promises(walked: tuple[Path, dict[str, Any]]) -> None:
    _, report = walked
    assert {"prepare", "plan", "train", "evaluate", "merge", "export", "run"} <= set(report)
    assert {"in", "kept", "dropped", "by_reason"} == set(report["prepare"]["rows"])
    assert set(report["prepare"]["splits"]) == {"train", "valid", "test"}
    assert all({"value", "reason"} == set(entry) for entry in report["plan"]["values"].values())
    train = {"state", "steps", "tokens", "supervised_tokens", "tokens_per_second", "loss", "valid_loss"}
    assert train | {"peak_memory_bytes", "resumed_from", "model"} <= set(report["train"])
    assert set(report["train"]["loss"]) == {"first", "last", "best"}
    for number in report["evaluate"]["perplexity"].values():
        assert set(number) == {"value", "n", "low", "high"}
    assert report["evaluate"]["verdict"] in ("better", "worse", "same", "undecided")
    for entry in (report["merge"], *report["export"]):
        assert all({"path", "bytes", "sha256"} == set(file) for file in entry["files"])
        proof = {"prompt_ids_equal", "max_kl", "mean_kl", "top1_agreement", "rows", "limit", "status"}
        assert proof <= set(entry["certificate"])


def test_the_run_directory_holds_what_the_contract_says(walked: tuple[Path, dict[str, Any]]) -> None:
    home, _ = walked
    run = home / "run"
    names = [
        *("recipe.yaml", "plan.json", "manifest.json", "events.jsonl", "left_out.jsonl", "report.json", "report.md"),
        *("report.html", "data/train.jsonl", "data/valid.jsonl", "data/test.jsonl", "data/report.html"),
        *("model/adapter_config.json", "model/adapter_model.safetensors", "model/tokenizer.json"),
        *("model/chat_template.jinja", "model/generation_config.json", "evaluate/report.html"),
        *("evaluate/samples.jsonl", "merged/model.safetensors", "merged/certificate.json"),
        *("export/gguf-f16/tickets-f16.gguf", "export/gguf-f16/certificate.json"),
        *("export/gguf-q8_0/tickets-q8_0.gguf", "export/gguf-q8_0/certificate.json"),
    ]
    assert [name for name in names if not (run / name).is_file()] == []
    assert (run / "recipe.yaml").read_bytes() == (home / "recipe.yaml").read_bytes()
    assert not list(run.rglob("*.tmp"))


def test_training_learned_and_the_proofs_hold(walked: tuple[Path, dict[str, Any]]) -> None:
    _, report = walked
    assert report["train"]["loss"]["last"] < report["train"]["loss"]["first"] - 0.2
    assert report["evaluate"]["verdict"] == "better"
    assert report["evaluate"]["perplexity"]["change"]["high"] < 1
    statuses = [entry["certificate"]["status"] for entry in (report["merge"], *report["export"])]
    assert statuses == ["passed"] * 3


def test_the_adapter_is_plain_pefts(walked: tuple[Path, dict[str, Any]], tiny_llama: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    home, _ = walked
    tokenizer = AutoTokenizer.from_pretrained(home / "run/model")
    ids = tokenizer("What about peg 7?", return_tensors="pt")["input_ids"]
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    merged = AutoModelForCausalLM.from_pretrained(home / "run/merged")
    tuned = PeftModel.from_pretrained(base, str(home / "run/model"))
    with torch.inference_mode():
        assert torch.allclose(tuned(ids).logits, merged(ids).logits, atol=1e-4)


def test_the_same_command_again_does_nothing_again(walked: tuple[Path, dict[str, Any]], luthier: Luthier) -> None:
    home, report = walked
    before = {path: path.stat().st_mtime_ns for path in (home / "run").rglob("*.safetensors")}
    again = json.loads(luthier("run", "recipe.yaml", "--out", "run", "--json", cwd=home))
    assert {path: path.stat().st_mtime_ns for path in (home / "run").rglob("*.safetensors")} == before
    assert again["train"]["loss"] == report["train"]["loss"]
    assert again["evaluate"]["perplexity"] == report["evaluate"]["perplexity"]


def test_another_recipe_in_the_same_folder_is_refused(walked: tuple[Path, dict[str, Any]], luthier: Luthier) -> None:
    home, _ = walked
    luthier("run", "recipe.yaml", "--out", "run", "--set", "train.max_steps=13", cwd=home, code=2)
    assert "`train.max_steps` changed" in luthier.errors


def test_single_stages_answer_for_a_run(walked: tuple[Path, dict[str, Any]], luthier: Luthier) -> None:
    home, _ = walked
    for arguments in (["evaluate", "run"], ["merge", "run"], ["export", "run", "--quant", "bf16"]):
        report = json.loads(luthier(*arguments, "--json", cwd=home))
        assert report["summary"]
    assert (home / "run/export/gguf-bf16/tickets-bf16.gguf").is_file()


def test_json_mode_prints_one_object_and_no_noise(walked: tuple[Path, dict[str, Any]], luthier: Luthier) -> None:
    home, _ = walked
    told = luthier("train", "recipe.yaml", "--out", "quiet", "--json", "-q", "--set", "train.max_steps=2", cwd=home)
    assert json.loads(told)["state"] == "done"
    assert luthier.errors == ""


def test_init_writes_a_recipe_that_checks_and_explains_itself(
    walked: tuple[Path, dict[str, Any]], tiny_llama: Path, luthier: Luthier
) -> None:
    home, _ = walked
    luthier("init", "--data", "tickets.jsonl", "--model", str(tiny_llama), "--out", "mine.yaml", cwd=home)
    text = (home / "mine.yaml").read_text()
    assert "Schulman" in text
    assert luthier("check", "mine.yaml", cwd=home)
    luthier("init", "--data", "tickets.jsonl", "--model", "bundled", "--out", "mine.yaml", cwd=home, code=2)
    assert (home / "mine.yaml").read_text() == text


@pytest.mark.parametrize("kind", ["tiny_qwen2", "tiny_llama"])
def test_full_fine_tuning_goes_the_road_too(
    kind: str, tmp_path: Path, luthier: Luthier, request: pytest.FixtureRequest
) -> None:
    rows = [{"prompt": f"Peg {i}?", "completion": f"Turn it {i} times."} for i in range(30)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    model = request.getfixturevalue(kind)
    arguments = ["run", "--data", "rows.json", "--model", str(model), "--technique", "full", "--out", "run", "--json"]
    settings = ["--set", "train.max_steps=6", "--set", "export=[{to: gguf, quant: f16}]"]
    report = json.loads(luthier(*arguments, *settings, cwd=tmp_path))
    assert [entry["certificate"]["status"] for entry in (report["merge"], *report["export"])] == ["passed"] * 2
    assert (tmp_path / "run/model/model.safetensors").is_file()
