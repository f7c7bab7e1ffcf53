import json
from pathlib import Path

import pytest

from luthier import workflow
from luthier.core.errors import DataError, ModelError, Problems, RecipeError, RunError
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe
from luthier.workflow.candidates import candidates


def recipe(data: Path, model: Path | str = "bundled", more: str = "") -> tuple[Recipe, str]:
    text = f"model: {model}\ndata: {{sources: ['{data}']}}\n{more}"
    return parse_recipe(text, file="recipe.yaml"), text


def test_a_run_that_was_killed_while_it_began_begins_again(tickets: Path, tmp_path: Path) -> None:
    asked = recipe(tickets)
    run = workflow.begin(*asked, tmp_path / "run")
    (run / "events.jsonl").unlink()  # the recipe is written first
    assert workflow.begin(*asked, tmp_path / "run").events("state")[0]["state"] == "begun"
    (run / "events.jsonl").unlink()
    (run / ".lock").unlink()
    with pytest.raises(RunError, match="holds other things"):  # somebody's own folder with a recipe in it
        workflow.begin(*asked, tmp_path / "run")


def test_a_folder_with_other_things_is_never_taken_for_a_run(tickets: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "data" / "mine.jsonl").write_text("precious")
    (project / "recipe.yaml").write_text("model: bundled\n")  # `luthier init` writes one too
    with pytest.raises(RunError, match="holds other things"):
        workflow.begin(*recipe(tickets), project)
    assert (project / "data" / "mine.jsonl").read_text() == "precious"
    assert sorted(path.name for path in project.iterdir()) == ["data", "recipe.yaml"]


def test_what_a_kill_left_of_a_first_try_is_no_obstacle(tickets: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".recipe.yaml.0badcafe.tmp").write_text("mod")
    assert workflow.begin(*recipe(tickets), out).path == out


def test_before_training_a_recipe_may_change(tickets: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    workflow.prepare(recipe(tickets)[0], workflow.begin(*recipe(tickets), out))
    changed = recipe(tickets, more="train: {epochs: 2}\n")
    assert workflow.begin(*changed, out).path == out
    assert workflow.reopen(out)[0] == changed[0]


def test_after_training_only_what_follows_it_may_change(tickets: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    workflow.begin(*recipe(tickets), out)
    (out / "checkpoints").mkdir()
    with pytest.raises(RunError, match=r"`train.epochs` changed"):
        workflow.begin(*recipe(tickets, more="train: {epochs: 2}\n"), out)
    later = recipe(tickets, more="evaluate: {samples: 2}\nexport: [{to: gguf, quant: f16}]\n")
    workflow.begin(*later, out)
    assert workflow.reopen(out)[0] == later[0]


def test_prepared_data_are_not_replaced_under_a_training_that_has_begun(tickets: Path, tmp_path: Path) -> None:
    asked, text = recipe(tickets)
    run = workflow.begin(asked, text, tmp_path / "run")
    workflow.prepare(asked, run)
    before = (run / "data" / "train.jsonl").read_bytes()
    (run / "checkpoints" / "step-000010").mkdir(parents=True)
    original = tickets.read_bytes()
    tickets.write_bytes(original + json.dumps({"question": "New?", "answer": "New."}).encode() + b"\n")
    with pytest.raises(RunError, match="changed since this run was begun"):
        workflow.prepare(asked, run)
    assert (run / "data" / "train.jsonl").read_bytes() == before
    tickets.write_bytes(original)
    assert "done before" in workflow.prepare(asked, run).findings[0].text


@pytest.mark.parametrize("option", ["valid_sources: ['{}']", "decontaminate: {{against: ['{}']}}"])
def test_rows_are_prepared_anew_when_what_they_are_compared_with_changed(
    option: str, tickets: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "Something that no ticket says?", "answer": "No."}\n', encoding="utf-8")
    clean = "clean: {near_duplicates: false}"  # tickets are cut to one pattern
    text = f"model: bundled\ndata: {{sources: ['{tickets}'], {clean}, {option.format(other)}}}\n"
    asked = parse_recipe(text, file="recipe.yaml")
    run = workflow.begin(asked, text, tmp_path / "run")
    assert not {"held_out", "leaked"} & workflow.prepare(asked, run).data["rows"]["by_reason"].keys()
    assert "done before" in workflow.prepare(asked, run).findings[0].text
    other.write_text(tickets.read_text(encoding="utf-8").partition("\n")[0] + "\n", encoding="utf-8")
    assert {"held_out", "leaked"} & workflow.prepare(asked, run).data["rows"]["by_reason"].keys()


def test_the_dataset_report_is_about_the_model_and_the_length_asked_for_now(
    tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    run = workflow.begin(*recipe(tickets), tmp_path / "run")
    first = workflow.prepare(recipe(tickets)[0], run).data
    shorter = workflow.prepare(recipe(tickets, more="train: {max_length: 16}\n")[0], run).data
    assert (first["max_length"]["rows"], shorter["max_length"]["rows"]) == (0, shorter["rows"]["kept"])
    other = workflow.prepare(recipe(tickets, tiny_llama)[0], run).data
    assert other["tokens"]["total"] != first["tokens"]["total"]


def test_stages_that_build_on_training_say_when_there_is_none(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    asked, text = recipe(tickets, tiny_llama)
    run = workflow.begin(asked, text, tmp_path / "run")
    for verb in (workflow.evaluate, workflow.merge):
        with pytest.raises(RunError, match="no trained model yet") as caught:
            verb(asked, run)
        assert f"luthier train {run.path}/recipe.yaml --out {run.path}" in caught.value.hint


def test_a_base_that_was_exchanged_after_training_is_noticed(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    asked, text = recipe(tickets, tiny_llama)
    run = workflow.begin(asked, text, tmp_path / "run")
    run.finish("train", key="k", report={}, files=[], base="another fingerprint")
    with pytest.raises(RunError, match="is not the one this run was trained on"):
        workflow.merge(asked, run)


def test_check_tells_missing_data_and_model_at_once(tmp_path: Path) -> None:
    data = f"{{sources: ['{tmp_path}/none.csv'], valid_sources: [held.csv], decontaminate: {{against: [humaneval]}}}}"
    kept = "evaluate: {capabilities: [{name: sums, files: [sums.jsonl]}]}"
    asked = parse_recipe(f"model: {tmp_path}/nowhere\ndata: {data}\n{kept}\n", file="recipe.yaml")
    with pytest.raises(Problems) as caught:
        workflow.check(asked)
    told = "\n".join(caught.value.lines())
    for missing in (f"{tmp_path}/none.csv", "held.csv", "humaneval", "sums.jsonl", f"{tmp_path}/nowhere"):
        assert f"error: {missing}: " in told


def test_a_wrong_model_is_told_before_the_data_are_prepared(tickets: Path, tmp_path: Path) -> None:
    asked, text = recipe(tickets, tmp_path / "nowhere")
    run = workflow.begin(asked, text, tmp_path / "run")
    with pytest.raises(ModelError):
        workflow.train(asked, run)
    assert not (run / "data").exists()


def test_a_plan_leaves_nothing_behind(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    report = workflow.preview(recipe(tickets, tiny_llama)[0])
    assert report.data["values"]["steps"]["reason"]
    assert ("gradient checkpointing", "no") in {row[:2] for row in report.sections[0].blocks[0].rows}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    """Forty pairs of a better and a worse ending."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Where is peg {i}?", "chosen": f"On shelf {i * 3}.", "rejected": "No idea."} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_pass_over_preferences_sees_every_pair_once(tiny_llama: Path, preferences: Path) -> None:
    asked, _ = recipe(preferences, tiny_llama, more="train: {objective: dpo, epochs: 1, batch_size: 4}\n")
    report = workflow.preview(asked).data
    pairs = report["tokens"]["splits"]["train"]["examples"]
    assert report["rows"]["train"] == pairs
    assert report["values"]["steps"]["value"] == -(-pairs // 4)


def test_preferences_may_be_learned_with_none_held_back(tiny_llama: Path, preferences: Path) -> None:
    data = f"data: {{sources: ['{preferences}'], split: {{valid: 0}}}}"
    asked = parse_recipe(f"model: {tiny_llama}\n{data}\ntrain: {{objective: dpo}}\n", file="recipe.yaml")
    report = workflow.preview(asked).data
    assert (report["rows"]["train"], report["rows"]["valid"]) == (40, 0)


def test_a_plan_tells_that_half_of_each_preference_is_not_learned(tiny_llama: Path, preferences: Path) -> None:
    report = workflow.preview(recipe(preferences, tiny_llama)[0])
    (told,) = [finding for finding in report.findings if "only the chosen ending is learned" in finding.text]
    assert "--set train.objective=dpo" in told.hint


def test_the_same_command_finds_its_unfinished_run_the_next_day(tickets: Path, tmp_path: Path) -> None:
    asked, text = recipe(tickets)
    assert workflow.unfinished(asked, tmp_path) is None
    workflow.begin(asked, text, tmp_path / "2026-01-30-run")
    assert workflow.unfinished(asked, tmp_path) == tmp_path / "2026-01-30-run"
    assert workflow.unfinished(recipe(tickets, more="train: {epochs: 2}\n")[0], tmp_path) is None
    (tmp_path / "2026-01-30-run" / "report.json").write_text("{}")
    assert workflow.unfinished(asked, tmp_path) is None


def test_every_command_that_a_text_advises_exists() -> None:
    import re

    from luthier.cli.main import COMMANDS

    root = Path(__file__).parents[1]
    for path in [*(root / "src").rglob("*.py"), root / "README.md"]:
        for word in re.findall(r"`luthier ([a-z]+)", path.read_text(encoding="utf-8")):
            assert word in COMMANDS, f"{path}: luthier {word}"


def test_a_gate_without_held_out_rows_is_refused_before_training(
    tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    data = f"data: {{sources: ['{tickets}'], split: {{valid: 0}}}}"
    text = f"model: {tiny_llama}\n{data}\nevaluate: {{gate: {{verdict: better}}}}\n"
    asked = parse_recipe(text, file="recipe.yaml")
    run = workflow.begin(asked, text, tmp_path / "run")
    with pytest.raises(DataError, match="no row was held out to find out"):
        workflow.run_all(asked, run)
    assert "train" not in run.manifest()["stages"]


def test_rows_that_measure_may_be_nearly_the_same(tiny_llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "pegs.jsonl"
    told = " ".join(f"word{number}" for number in range(24))
    rows = [{"prompt": f"{told}: where is the {name}?", "answer": f"The {name} is {told}."} for name in "abcdefghijkl"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    more = f"evaluate: {{answers: 0, capabilities: [{{name: pegs, files: ['{file}']}}]}}\n"
    asked = recipe(file, tiny_llama, more=more)
    report = workflow.evaluate_models(asked[0], str(tiny_llama), workflow.begin(*asked, tmp_path / "run")).data
    assert report["rows"] == 12
    assert [one["base"]["n"] for one in report["regression"] if one["name"] == "pegs"] == [12]


def test_any_two_models_are_compared_on_all_rows(tickets: Path, tiny_llama: Path, tmp_path: Path) -> None:
    first = tickets.read_text().splitlines()[0]
    with tickets.open("a") as file:
        file.write(first + "\n" + json.dumps({"question": "Without an answer?", "answer": ""}) + "\n")
    asked = recipe(tickets, tiny_llama, more="evaluate: {answers: 4, max_new_tokens: 4, metrics: [exact_match]}\n")
    run = workflow.begin(*asked, tmp_path / "run")
    whole = workflow.evaluate_models(asked[0], str(tiny_llama), run)
    report = whole.data
    assert "not measured: 1 conversation dropped as" in " ".join(finding.text for finding in whole.findings)
    assert report["rows"] == 41
    kept = run.finished("evaluate", run.manifest()["stages"]["evaluate"]["key"])
    assert kept is not None
    assert report["rows"] == len((run / "data" / "train.jsonl").read_text().splitlines())
    assert report["verdict"] == "same"
    assert report["metrics"][0]["name"] == "exact_match"
    assert not (run / "data" / "valid.jsonl").read_text()


def test_a_run_is_compared_with_the_base_it_names_and_beside_others(
    tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    asked, text = recipe(tickets, tiny_llama, more="evaluate: {answers: 2, max_new_tokens: 2}\n")
    trained = workflow.begin(asked, text, tmp_path / "trained")
    workflow.train(asked, trained)
    named = asked.model_copy(update={"model": str(trained.path)})
    run = workflow.begin(named, text.replace(str(tiny_llama), str(trained.path)), tmp_path / "run")
    report = workflow.evaluate_models(named, None, run, others=[str(trained / "model"), str(tiny_llama)]).data
    assert report["models"] == {"base": str(tiny_llama), "tuned": str(trained.path)}
    first, second, base = report["compared"]
    assert first["nll"] == second["nll"]
    assert base["nll"]["tuned"] == base["nll"]["base"] == first["nll"]["base"]
    (trained / "model" / "adapter_config.json").rename(tmp_path / "kept.json")  # as where all weights were trained
    for file in tiny_llama.iterdir():
        if not (trained / "model" / file.name).exists():
            (trained / "model" / file.name).symlink_to(file)
    base, whole = candidates([str(trained.path)], None)
    assert (base.told, whole.path) == (str(tiny_llama), trained / "model")
    with pytest.raises(RecipeError, match="nothing says what"):
        workflow.evaluate_models(asked, None, run)
    with pytest.raises(RecipeError, match="which model of the endpoint"):
        workflow.evaluate_models(asked, "http://localhost:9/v1", run)


def test_a_changed_metric_or_schema_is_evaluated_again_and_old_results_are_told(
    tickets: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    schema = tmp_path / "schema.json"
    schema.write_text("{}")
    more = "evaluate: {answers: 2, max_new_tokens: 2, metrics: [{kind: json, json_schema: schema.json}]}\n"
    asked, text = recipe(tickets, tiny_llama, more=more)
    run = workflow.begin(asked, text, tmp_path / "run")
    workflow.train(asked, run)
    workflow.evaluate(asked, run)
    again = "this was done before; nothing was done again"
    assert workflow.evaluate(asked, run).findings[0].text == again
    schema.write_text('{"type": "object"}')
    assert workflow.evaluate(asked, run).findings[0].text != again
    workflow.merge(asked, run)
    strict = {"gate": asked.evaluate.gate.model_copy(update={"at_most": {"perplexity": 1.0}})}
    refused = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update=strict)})
    assert workflow.evaluate(refused, run).findings[-1].text == "`merged` was made before this evaluation said no"
    assert workflow.evaluate(refused, run).findings[-1].text == "`merged` was made before this evaluation said no"
