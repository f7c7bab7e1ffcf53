"""Every technique and optimizer goes the whole road: train, stop, resume to the same bits, evaluate, merge."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from luthier import workflow
from luthier.core.errors import Interrupted, ModelError
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.model.bits import bitsandbytes
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe
from luthier.tokens.stage import open_tokens

NEW = "new_tokens: ['This is ticket', 'Thank you.']"
WAYS = {
    "rslora": "technique: {kind: lora, rank: 4, rslora: true, dropout: 0.1}",
    "dora": "technique: {kind: dora, rank: 4}",
    "dora-rslora-patterns": "technique: {kind: lora, rank: 4, dora: true, rslora: true, rank_pattern: {q_proj: 2}}",
    "patterns": (
        "technique: {kind: lora, rank: 4, rank_pattern: {down_proj: 8, 'layers\\.0\\.self_attn\\.q_proj': 2}, "
        "alpha_pattern: {v_proj: 3, 'mlp\\..*': 16}}"
    ),
    "layers": "technique: {kind: lora, layers: [1], targets: [q_proj, up_proj]}",
    "targets_pattern": "technique: {kind: lora, targets_pattern: '.*\\.1\\.mlp\\.(up|down)_proj|lm_head'}",
    "loraplus": "technique: {kind: lora, lr_ratio: 8, init: gaussian}",
    "pissa": "technique: {kind: lora, rank: 4, init: pissa, dropout: 0.1}",
    "olora-modules": "technique: {kind: lora, rank: 4, init: olora, modules_to_save: [lm_head, norm]}",
    "qlora": "technique: {kind: qlora, rank: 4, dropout: 0.1}",
    "qlora-dora": "technique: {kind: qlora, dora: true, double: false, targets: [q_proj, down_proj]}",
    "qlora-int8": "technique: {kind: qlora, quantize: int8, layers: [1]}, gradient_checkpointing: on",
    "ia3": "technique: ia3",
    "ia3-named": "technique: {kind: ia3, outputs: [q_proj, up_proj], inputs: [o_proj]}",
    "prompt": "technique: {kind: prompt, tokens: 8}",
    "ptuning": "technique: {kind: ptuning, tokens: 6, width: 32}, optimizer: adafactor",
    "prefix": "technique: {kind: prefix, tokens: 6, width: 16}, gradient_checkpointing: on",
    "freeze_layers": "technique: {kind: full, freeze_layers: 1}",
    "train_layers": "technique: {kind: full, train_layers: [0]}",
    "adafactor": "optimizer: adafactor, schedule: {kind: wsd, warmup_steps: 2}",
    "lion": "optimizer: lion, schedule: linear",
    "adamw_8bit": "technique: full, optimizer: adamw_8bit, weight_decay: 0.1",
    "sgd": "optimizer: {kind: sgd, nesterov: true}, schedule: {kind: restarts, cycles: 3}",
    "ia3-adafactor": "technique: ia3, optimizer: {kind: adafactor, relative: true}, schedule: inverse_sqrt",
    "recompute": "technique: {kind: lora, dropout: 0.2}, gradient_checkpointing: on",
    "neftune": "neftune: 5, gradient_checkpointing: on",
    "new-tokens": f"technique: {{kind: lora, rank: 4}}, {NEW}",
    "new-tokens-qlora": f"technique: {{kind: qlora, rank: 4, init: pissa, modules_to_save: [norm]}}, {NEW}",
    "full-lion": "technique: full, optimizer: lion, weight_decay: 0.1, schedule: polynomial",
}
STEPS = 8

pytestmark = pytest.mark.slow


class StopsAt(Silent):
    """Somebody who watches, and asks the process to end after a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def update(self, done: int, note: str = "") -> None:
        if self.stage == "train" and done == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def recipe(way: str, data: Path, model: Path) -> tuple[Recipe, str]:
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.2}}}}\nevaluate: {{samples: 1, answers: 2}}\n"
        f"train: {{max_steps: {STEPS}, batch_size: 8, max_length: 128, learning_rate: 0.01, precision: fp32, {way}}}\n"
    )
    return parse_recipe(text, file="recipe.yaml"), text


def trained(asked: tuple[Recipe, str], out: Path, progress: Silent | None = None) -> Run:
    run = workflow.begin(*asked, out)
    workflow.train(asked[0], run, progress)
    return run


def told(run: Run) -> list[tuple[Any, ...]]:
    return sorted((event["step"], event["loss"]) for kind in ("step", "eval") for event in run.events(kind))


def weights(run: Run) -> bytes:
    (file,) = (run / "model").glob("*.safetensors")
    return file.read_bytes()


def plain_base(folder: Path, adapter: Path) -> Any:
    """Return the base as plain Transformers loads it, in as many bits and with as many tokens as in training."""
    model = in_bits(folder, adapter)
    if (adapter / "new_tokens.json").is_file():
        model.resize_token_embeddings(len(AutoTokenizer.from_pretrained(adapter)))
    return model


def in_bits(folder: Path, adapter: Path) -> Any:
    if not (adapter / "quantization.json").is_file():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    about = json.loads((adapter / "quantization.json").read_text())
    if "load_in_4bit" in about["quantization_config"]:
        config = BitsAndBytesConfig(**about["quantization_config"])
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=config)
        for name in about["modules"]:
            model.get_submodule(name).support_avx512bf16_for_cpu = False  # a kernel that rounds to bfloat16
        return model
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name in about["modules"]:  # bitsandbytes' own layer would round activations too
        weight = model.get_submodule(name).weight.data
        whole, scale, _ = bitsandbytes().functional.int8_vectorwise_quant(weight.half())
        weight.copy_(whole * scale[:, None] / 127)
    return model


def logits(model: Any, ids: range = range(3, 60)) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=torch.tensor([[*ids]]), use_cache=False).logits
    return found


@pytest.mark.parametrize("name", WAYS)
def test_it_learns_resumes_to_the_same_bits_and_merges_to_what_was_trained(
    name: str, tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    goes_the_road(WAYS[name], tiny_llama, tickets, tmp_path)


@pytest.mark.parametrize("technique", ["{kind: lora, rank: 4, dora: true}", "full"])
def test_new_tokens_go_the_road_where_embeddings_are_the_head(
    technique: str, tiny_qwen2: Path, tickets: Path, tmp_path: Path
) -> None:
    _, run = goes_the_road(f"technique: {technique}, {NEW}", tiny_qwen2, tickets, tmp_path)
    assert open_tokens(run / "tokens", "train").most("highest") == 321
    merged = AutoModelForCausalLM.from_pretrained(run / "merged")
    rows = merged.lm_head.weight
    assert rows is merged.get_input_embeddings().weight
    assert rows.shape[0] == merged.config.vocab_size == 322
    assert not torch.equal(rows[320], rows[321])  # they began alike


def goes_the_road(way: str, base_folder: Path, tickets: Path, tmp_path: Path) -> tuple[Recipe, Run]:
    asked = recipe(way, tickets, base_folder)
    run = trained(asked, tmp_path / "whole")
    held_out = [event["loss"] for event in run.events("eval")]
    assert held_out[-1] < held_out[0]
    for step in (3, 6):
        with pytest.raises(Interrupted):
            trained(asked, tmp_path / "broken", StopsAt(step))
    broken = trained(asked, tmp_path / "broken")
    assert weights(broken) == weights(run)
    assert told(broken) == told(run)
    assert not broken.events("warning")

    report = workflow.evaluate(asked[0], run).data
    assert report["nll"]["tuned"]["value"] == pytest.approx(held_out[-1], rel=1e-4)
    if not asked[0].train.technique.merges:
        with pytest.raises(ModelError, match="virtual tokens are inputs, not weights"):
            workflow.merge(asked[0], run)
        whole = workflow.run_all(asked[0], run)
        assert "can't be merged" in whole.summary
        assert not {"merge"} & whole.data.keys()
        return asked[0], run
    assert workflow.merge(asked[0], run).data["certificate"]["status"] == "passed"
    merged = AutoModelForCausalLM.from_pretrained(run / "merged", dtype=torch.float32)
    if (run / "model" / "adapter_config.json").is_file():
        unmerged = PeftModel.from_pretrained(plain_base(base_folder, run / "model"), str(run / "model"))
    else:
        unmerged = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    base = logits(AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32))
    assert (logits(merged)[..., : base.shape[-1]] - base).abs().max() > 1e-3
    every = range(merged.config.vocab_size)
    assert (logits(merged, every) - logits(unmerged, every)).abs().max() < 1e-4
    return asked[0], run


def test_a_frozen_layer_is_kept_as_it_was_and_left_out_of_checkpoints(
    tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    run = trained(recipe(WAYS["train_layers"], tickets, tiny_llama), tmp_path / "run")
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_llama, run / "model"))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if ".layers.0." in name}
    (newest, *_) = sorted((run / "checkpoints").glob("step-*"), reverse=True)
    assert load_file(newest / "model.safetensors").keys() == moved
    assert json.loads((newest / "state.json").read_text())["step"] == STEPS
