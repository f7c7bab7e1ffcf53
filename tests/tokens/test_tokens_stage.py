"""From a recipe to tokens: what the plan tells, what is left out, and what a second start finds."""

import json
from pathlib import Path

import pytest

from luthier import workflow
from luthier.core.errors import DataError, ModelError, RecipeError, RunError
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe
from luthier.tokens.stage import open_tokens


def recipe(model: Path, data: Path, **train: object) -> Recipe:
    text = json.dumps({"model": str(model), "data": {"sources": [str(data)]}, "train": train})
    return parse_recipe(text, file="test")


def begun(asked: Recipe, out: Path) -> Run:
    return workflow.begin(asked, "model: x\ndata: {sources: [y]}\n", out)


def test_every_prepared_row_is_learned_or_named(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    run = begun(asked := recipe(tiny_llama, tickets, max_length=110), tmp_path / "run")
    report = workflow.tokens(asked, run)
    named = [json.loads(line) for line in (run / "left_out.jsonl").read_text().splitlines()]
    for split, counts in report.data["splits"].items():
        prepared = len((run / "data" / f"{split}.jsonl").read_text().splitlines())
        assert counts["examples"] == prepared
        assert prepared == counts["rows"] + sum(row["split"] == split for row in named)
        stored = open_tokens(run / "tokens", split)
        assert len(stored) == counts["rows"]
        assert sum(int(row.learned[1:].sum()) for row in stored) == counts["learned"]
    assert named
    assert all(row["reason"] == "longer than 110 tokens" for row in named)


def test_a_second_start_does_nothing_again(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    run = begun(asked := recipe(tiny_llama, tickets), tmp_path / "run")
    workflow.tokens(asked, run)
    before = {path: path.stat().st_mtime_ns for path in (run / "tokens").rglob("*.npy")}
    again = workflow.tokens(asked, run)
    assert {path: path.stat().st_mtime_ns for path in (run / "tokens").rglob("*.npy")} == before
    assert again.findings[0].text.startswith("this was done before")


@pytest.mark.parametrize(
    "change",
    [{"template": "zephyr"}, {"learn": "all"}, {"too_long": "left", "max_length": 40}, {"template_options": {"a": 1}}],
)
def test_whatever_changes_a_token_makes_them_anew(
    tiny_llama: Path, tickets: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    run = begun(first := recipe(tiny_llama, tickets), tmp_path / "run")
    workflow.tokens(first, run)
    key = run.manifest()["stages"]["tokens"]["key"]
    workflow.tokens(recipe(tiny_llama, tickets, **change), run)
    assert run.manifest()["stages"]["tokens"]["key"] != key


def test_tokens_under_a_training_that_began_are_not_exchanged(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    run = begun(asked := recipe(tiny_llama, tickets), tmp_path / "run")
    workflow.tokens(asked, run)
    (run / "checkpoints" / "step-000001").mkdir(parents=True)
    with pytest.raises(RunError, match="the tokenizer, the chat template"):
        workflow.tokens(recipe(tiny_llama, tickets, learn="last"), run)


def test_the_plan_counts_what_will_be_learned_and_shows_the_template_s_checks(tiny_llama: Path, tickets: Path) -> None:
    report = workflow.preview(recipe(tiny_llama, tickets, max_length=110))
    counts = report.data["tokens"]["splits"]["train"]
    assert report.data["rows"]["train"] == counts["rows"] < counts["examples"]
    assert {check["name"] for check in report.data["tokens"]["template"]["checks"]} >= {"stop_learned", "history"}
    assert any("left out" in finding.text for finding in report.findings)


def test_rows_that_all_can_t_be_learned_are_an_error_with_the_reason(
    tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    run = begun(asked := recipe(tiny_llama, tickets, max_length=5), tmp_path / "run")
    with pytest.raises(DataError, match="longer than 5 tokens"):
        workflow.tokens(asked, run)
    assert (run / "left_out.jsonl").read_text()


def test_an_unknown_template_says_which_there_are(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    asked = recipe(tiny_llama, tickets, template="chatlm")
    with pytest.raises(RecipeError, match="did you mean `chatml`"):
        workflow.tokens(asked, begun(asked, tmp_path / "run"))


def test_a_template_file_with_a_mistake_is_an_error_before_anything_is_tokenised(
    tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.jinja").write_text("{% for m in messages %}{{ m.content }}")
    asked = recipe(tiny_llama, tickets, template=str(tmp_path / "mine.jinja"))
    with pytest.raises(ModelError, match="can't be used"):
        workflow.tokens(asked, begun(asked, tmp_path / "run"))


@pytest.mark.slow
def test_template_and_options_travel_with_the_trained_model(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    from luthier.model.load import load_tokenizer
    from luthier.tokens.render import Renderer

    (tmp_path / "mine.jinja").write_text(
        "{% for m in messages %}{{ ('LOUD ' if loud else '') + m.role + ':' + m.content }}"
        "{{ eos_token if m.role == 'assistant' else '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ ('LOUD ' if loud else '') + 'assistant:' }}{% endif %}"
    )
    asked = recipe(
        tiny_llama,
        tickets,
        template=str(tmp_path / "mine.jinja"),
        template_options={"loud": True},
        max_steps=1,
        batch_size=4,
    )
    run = begun(asked, tmp_path / "run")
    workflow.train(asked, run)
    trained = open_tokens(run / "tokens", "train")[0]
    renderer = Renderer(load_tokenizer(run / "model"))
    assert renderer.tokenizer.decode(trained.input_ids).startswith("LOUD user:")
    row = json.loads((run / "data" / "train.jsonl").read_text().splitlines()[0])
    rendered = renderer.tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=False)
    assert rendered == trained.input_ids.tolist()
