"""Beginning with the weights of an earlier training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from luthier import workflow
from luthier.core.errors import RecipeError, RunError
from luthier.core.run import Run
from luthier.model.load import load_model
from luthier.model.quantised import Quantised
from luthier.recipe.load import parse_recipe
from luthier.recipe.options import locate
from luthier.recipe.schema import Recipe
from luthier.recipe.write import to_yaml
from luthier.train.inherit import inherit


def recipe(model: Path, data: Path, **train: Any) -> Recipe:
    settings = {"technique": "lora", "max_steps": 2, "batch_size": 4, "max_length": 256, **train}
    sets = [f"train.{key}={value}" for key, value in settings.items()]
    return parse_recipe(f"model: {model}\ndata: {{sources: [{data}]}}\n", file="recipe.yaml", overrides=sets)


def trained(asked: Recipe, out: Path) -> Run:
    run = workflow.begin(asked, to_yaml(asked, comments=False), out)
    workflow.train(asked, run)
    return run


def attached(asked: Recipe) -> Any:
    technique = asked.train.technique
    model = load_model(Path(asked.model), quantised=Quantised.asked(technique))
    return locate(technique)(model, technique, base=asked.model, seed=1)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> tuple[Recipe, Run]:
    home = tmp_path_factory.mktemp("parent")
    data = home / "tickets.jsonl"
    lines = (f'{{"question": "What about peg {i}?", "answer": "Turn it {i} times."}}\n' for i in range(20))
    data.write_text("".join(lines), encoding="utf-8")
    asked = recipe(tiny_llama, data)
    return asked, trained(asked, home / "run")


def test_a_new_run_begins_with_the_weights_of_an_old_one_and_says_so(
    parent: tuple[Recipe, Run], tmp_path: Path
) -> None:
    asked, old = parent
    # A rate of nearly nothing: what comes out is what went in.
    new = recipe(Path(asked.model), Path(asked.data.sources[0]), continue_from=old.path, learning_rate=1e-12)
    run = trained(new, tmp_path / "run")
    weights = old / "model" / "adapter_model.safetensors"
    before, after = attached(asked), attached(asked)
    inherit(before, asked, weights)
    inherit(after, asked, run / "model" / "adapter_model.safetensors")
    for name, value in before.trainable.items():
        torch.testing.assert_close(after.trainable[name], value, rtol=0, atol=1e-9)
    assert any(value.abs().max() > 1e-4 for name, value in before.trainable.items() if "lora_B" in name)
    entry = run.manifest()["stages"]["train"]
    (file,) = [file for file in old.manifest()["stages"]["train"]["files"] if file["path"].endswith(weights.name)]
    assert entry["parent"] == {"path": str(weights), "sha256": file["sha256"]}
    assert run.events("step")[0]["loss"] < old.events("step")[0]["loss"]


def test_a_run_that_began_with_other_weights_is_another_run(parent: tuple[Recipe, Run]) -> None:
    asked, old = parent
    new = recipe(Path(asked.model), Path(asked.data.sources[0]), continue_from=old.path)
    with pytest.raises(RunError, match=r"`train\.continue_from` changed"):
        workflow.begin(new, "", old.path)


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ({"technique": "{kind: lora, rank: 4}"}, "`lora_alpha` is 32 there and 8 here"),
        ({"technique": "{kind: lora, alpha: 8}"}, "`lora_alpha` is 32 there and 8"),
        ({"technique": "full"}, "is not what `full` learns"),
        ({"technique": "prompt"}, "a finished `prompt` holds what"),
        ({"technique": "qlora"}, "`modules` is null there and"),
    ],
)
def test_weights_of_another_training_are_refused_with_the_difference(
    train: dict[str, str], problem: str, parent: tuple[Recipe, Run]
) -> None:
    asked, old = parent
    other = recipe(Path(asked.model), Path(asked.data.sources[0]), **train)
    with pytest.raises(RecipeError, match=problem):
        inherit(attached(other), other, old / "model" / "adapter_model.safetensors")


def test_an_adapter_of_another_base_is_refused(parent: tuple[Recipe, Run]) -> None:
    asked, old = parent
    other = asked.model_copy(update={"model": "another"})
    with pytest.raises(RecipeError, match="this recipe names `another`"):
        inherit(attached(asked), other, old / "model" / "adapter_model.safetensors")


def test_a_checkpoint_is_taken_too_and_a_damaged_one_is_not(parent: tuple[Recipe, Run]) -> None:
    asked, old = parent
    folder = old / "checkpoints" / "step-000002"
    adapted = attached(asked)
    inherit(adapted, asked, folder / "adapter_model.safetensors")
    (folder / "state.json").write_bytes(b"{}")
    with pytest.raises(RecipeError, match="this checkpoint is damaged"):
        inherit(adapted, asked, folder / "adapter_model.safetensors")


def test_a_folder_without_weights_is_refused(parent: tuple[Recipe, Run], tmp_path: Path) -> None:
    asked, _ = parent
    none = asked.model_copy(update={"train": asked.train.model_copy(update={"continue_from": str(tmp_path)})})
    with pytest.raises(RecipeError, match="there are no trained weights in"):
        workflow.parent_weights(none)


def test_an_objective_that_compares_with_the_base_is_refused(parent: tuple[Recipe, Run]) -> None:
    from luthier.recipe.methods import Dpo
    from luthier.train.inherit import refuse

    objective = Dpo()
    with pytest.raises(RecipeError, match="must begin with a whole model"):
        refuse(locate(objective)(objective))
