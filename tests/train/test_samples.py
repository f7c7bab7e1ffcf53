"""The model in training is asked what it would answer, and training doesn't notice."""

import json
from pathlib import Path
from typing import Any

import pytest

from luthier import workflow
from luthier.core.errors import Interrupted, LuthierError
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe

PROMPTS = ("Why does the peg slip?", "What does a new bridge cost?")


def trained(data: Path, model: Path, out: Path, samples: str = "", *, stop: int | None = None) -> Run:
    # Dropout and noise: whatever drew a random number, or left the model in another mode, would show.
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.2}}}}\n"
        "train: {technique: {kind: lora, dropout: 0.1}, neftune: 5, max_steps: 6, evaluate_every: 2, batch_size: 8,"
        f" max_length: 128, learning_rate: 0.01{samples}}}\n"
    )
    recipe = parse_recipe(text, file="recipe.yaml")
    run = workflow.begin(recipe, text, out)
    with run.listening(lambda event: "stop" if event.get("step") == stop and event["kind"] == "step" else None):
        workflow.train(recipe, run)
    return run


def samples(run: Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name != "time"} for event in run.events("sample")]


def test_training_with_samples_is_training_without_them_to_the_bit_also_when_it_was_stopped_in_between(
    tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    asked = ", samples: {max_new_tokens: 8}"
    without = trained(tickets, tiny_llama, tmp_path / "without")
    whole = trained(tickets, tiny_llama, tmp_path / "whole", asked)
    with pytest.raises(Interrupted):
        trained(tickets, tiny_llama, tmp_path / "stopped", asked, stop=3)
    stopped = trained(tickets, tiny_llama, tmp_path / "stopped", asked)
    for run in (whole, stopped):
        assert [e["loss"] for e in run.events("step")] == [e["loss"] for e in without.events("step")]
        assert [e["loss"] for e in run.events("eval")] == [e["loss"] for e in without.events("eval")]
        weights = "model/adapter_model.safetensors"
        assert (run / weights).read_bytes() == (without / weights).read_bytes()
    assert samples(stopped) == samples(whole)
    assert [event["step"] for event in samples(whole)] == [step for step in (0, 2, 4, 6) for _ in range(3)]
    held_out = [json.loads(line) for line in (whole / "data/valid.jsonl").read_text().splitlines()][:3]
    assert [event["expected"] for event in samples(whole)[:3]] == [row["messages"][-1]["content"] for row in held_out]
    kept = [json.loads(line) for line in (stopped / "samples.jsonl").read_text().splitlines()]
    assert kept == stopped.events("sample")
    assert held_out[0]["messages"][0]["content"].split(".")[0] in (whole / "train/report.md").read_text()


def test_the_first_answers_are_those_of_the_base_as_transformers_gives_them(
    tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked = f", precision: fp32, samples: {{prompts: {json.dumps(PROMPTS)}, max_new_tokens: 8}}"
    run = trained(tickets, tiny_llama, tmp_path / "run", asked)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)
    for prompt, told in zip(PROMPTS, samples(run), strict=False):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        answer = model.generate(**ids, do_sample=False, max_new_tokens=8, pad_token_id=0)[
            0, ids["input_ids"].shape[1] :
        ]
        expected = {"kind": "sample", "step": 0, "prompt": prompt}
        assert told == {**expected, "answer": tokenizer.decode(answer, skip_special_tokens=True)}


@pytest.mark.parametrize("objective", ["reward", "classify", "pretrain"])
def test_a_model_that_learns_no_answers_is_asked_nothing(objective: str) -> None:
    text = f"model: m\ndata: {{sources: a}}\ntrain: {{objective: {objective}, samples: {{rows: 2}}}}\n"
    with pytest.raises(LuthierError, match=f"`objective: {objective}` learns none"):
        parse_recipe(text, file="recipe.yaml")


def test_questions_of_held_out_rows_need_held_out_rows() -> None:
    text = "model: m\ndata: {sources: a, split: {valid: 0}}\ntrain: {samples: {rows: 2}}\n"
    with pytest.raises(LuthierError, match="give it `prompts`"):
        parse_recipe(text, file="recipe.yaml")


def test_weights_that_are_spread_over_processes_answer_nothing() -> None:
    text = "model: m\ndata: {sources: a}\ntrain: {samples: {rows: 2}, parallel: fsdp2}\n"
    with pytest.raises(LuthierError, match="`samples` are answers of the whole model"):
        parse_recipe(text, file="recipe.yaml")
