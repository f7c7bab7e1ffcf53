import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import RecipeError
from luthier.core.hardware import Hardware
from luthier.recipe.facts import ModelFacts, RowFacts
from luthier.recipe.plan import Plan, plan
from luthier.recipe.schema import Recipe

MODEL = ModelFacts(
    name="m",
    path="/m",
    architecture="LlamaForCausalLM",
    parameters=8_000_000_000,
    weight_bytes=16_000_000_000,
    dtype="BF16",
    hidden_size=4096,
    layers=32,
    intermediate_size=14336,
    vocabulary=128_256,
    context=8192,
    fingerprint="f",
)
LAPTOP = Hardware(cores=2, memory_bytes=24 * 10**9, bf16=True, gpu=None, gpu_memory_bytes=0, system="Linux")


def rows(train: int) -> RowFacts:
    return RowFacts(train=train, valid=10, mean_tokens=200.0, longest_tokens=900, fingerprint="r")


def recipe(**train: object) -> Recipe:
    return Recipe.model_validate({"model": "m", "data": {"sources": ["a.csv"]}, "train": train}, strict=False)


@given(train=st.integers(1, 10**7))
def test_a_plan_decides_everything_and_gives_a_reason_for_each(train: int) -> None:
    decided = plan(recipe(), MODEL, rows(train), LAPTOP)
    names = {field.name for field in dataclasses.fields(Plan)} - {"reasons"}
    assert set(decided.reasons) == names
    assert all(decided.reasons.values())
    assert 1 <= decided.batch_size <= train
    assert decided.steps >= 1


def test_the_same_facts_give_the_same_plan() -> None:
    assert plan(recipe(), MODEL, rows(800), LAPTOP) == plan(recipe(), MODEL, rows(800), LAPTOP)


def test_a_plan_survives_its_file() -> None:
    decided = plan(recipe(), MODEL, rows(800), LAPTOP)
    assert Plan.from_dict(decided.as_dict()) == decided


def test_what_the_recipe_says_is_done() -> None:
    decided = plan(recipe(learning_rate=3e-4, batch_size=4, epochs=2, checkpoint_every=7), MODEL, rows(10), LAPTOP)
    assert (decided.learning_rate, decided.batch_size, decided.steps, decided.checkpoint_every) == (
        3e-4,
        4,
        6,
        7,
    )


def test_lora_gets_ten_times_the_rate_of_full_training() -> None:
    lora = plan(recipe(technique={"kind": "lora"}), MODEL, rows(800), LAPTOP)
    full = plan(recipe(technique={"kind": "full"}), MODEL, rows(800), LAPTOP)
    assert lora.learning_rate == pytest.approx(10 * full.learning_rate, rel=0.1)
    # Schulman et al. 2025: 5e-4 * (2000 / 4096) ** 0.78
    assert lora.learning_rate == pytest.approx(2.9e-4, rel=0.02)


@pytest.mark.parametrize(
    ("objective", "low", "high"),
    [("dpo", 1e-6, 5e-6), ("kto", 5e-7, 5e-6), ("orpo", 5e-6, 8e-6), ("cpo", 5e-6, 8e-6), ("simpo", 3e-7, 1e-6)],
)
def test_preferences_get_a_rate_near_what_their_papers_use_for_full_training(
    objective: str, low: float, high: float
) -> None:
    decided = plan(recipe(technique={"kind": "full"}, objective={"kind": objective}), MODEL, rows(20_000), LAPTOP)
    assert low <= decided.learning_rate <= high
    assert "arXiv" in decided.reasons["learning_rate"]
    assert decided.epochs == 1


def test_length_is_cut_to_the_models_context_with_the_reason() -> None:
    decided = plan(recipe(max_length=100_000), MODEL, rows(800), LAPTOP)
    assert decided.max_length == 8192
    assert "context ends at 8,192" in decided.reasons["max_length"]
    assert decided.pack_tokens >= decided.max_length


def test_a_processor_without_bf16_computes_in_fp32() -> None:
    old = dataclasses.replace(LAPTOP, bf16=False)
    assert plan(recipe(), MODEL, rows(800), old).precision == "fp32"
    assert plan(recipe(), MODEL, rows(800), LAPTOP).precision == "bf16"


def test_full_training_is_estimated_to_need_sixteen_bytes_a_weight() -> None:
    decided = plan(recipe(technique={"kind": "full"}, max_length=16), MODEL, rows(800), LAPTOP)
    assert decided.memory_bytes > 16 * MODEL.parameters
    assert decided.trainable_parameters == MODEL.parameters


def test_a_quantised_base_is_estimated_to_need_its_bits_and_the_head_and_embeddings_as_stored() -> None:
    outside = 2 * 128_256 * 4096
    whole = plan(recipe(technique={"kind": "lora"}), MODEL, rows(800), LAPTOP).memory_bytes
    for options, bits in (({}, 4.127), ({"double": False}, 4.5), ({"quantize": "int8"}, 8.0)):
        decided = plan(recipe(technique={"kind": "qlora", **options}), MODEL, rows(800), LAPTOP)
        expected = whole - 16e9 + 2 * outside + (8e9 - outside) * bits / 8
        assert decided.memory_bytes == pytest.approx(expected, rel=1e-3)
        assert "bits a weight" in decided.reasons["memory_bytes"]
        assert decided.learning_rate == plan(recipe(), MODEL, rows(800), LAPTOP).learning_rate


def test_virtual_tokens_take_places_of_the_context_and_have_rates_of_their_own() -> None:
    decided = plan(recipe(technique={"kind": "prompt", "tokens": 50}, max_length=10_000), MODEL, rows(800), LAPTOP)
    assert decided.max_length == 8192 - 50
    assert "50 are virtual" in decided.reasons["max_length"]
    assert decided.trainable_parameters == 50 * 4096
    adafactor = plan(recipe(technique={"kind": "prompt"}, optimizer={"kind": "adafactor"}), MODEL, rows(800), LAPTOP)
    assert adafactor.learning_rate == 0.3  # Lester et al. 2021, section 3
    rates = {
        plan(recipe(technique={"kind": kind}), MODEL, rows(800), LAPTOP).learning_rate for kind in ("ptuning", "prefix")
    }
    assert rates == {1e-3}


def test_a_warm_up_is_a_share_or_a_number_of_steps() -> None:
    assert plan(recipe(max_steps=200), MODEL, rows(800), LAPTOP).warmup_steps == 10
    share = {"kind": "wsd", "warmup": 0.1}
    assert plan(recipe(max_steps=200, schedule=share), MODEL, rows(800), LAPTOP).warmup_steps == 20
    number = plan(recipe(max_steps=200, schedule={"kind": "linear", "warmup_steps": 300}), MODEL, rows(800), LAPTOP)
    assert number.warmup_steps == 300
    assert "never reaches its peak" in number.reasons["warmup_steps"]


def test_the_rate_depends_on_the_optimizer_and_says_why() -> None:
    def decided(**train: object) -> Plan:
        return plan(recipe(**train), MODEL, rows(800), LAPTOP)

    adamw, lion = decided(), decided(optimizer={"kind": "lion"})
    assert adamw.learning_rate / 10 <= lion.learning_rate <= adamw.learning_rate / 3  # Chen et al., section 5
    assert "Chen et al. 2023" in lion.reasons["learning_rate"]
    assert decided(optimizer={"kind": "adafactor"}).learning_rate == adamw.learning_rate
    assert decided(optimizer={"kind": "adafactor", "relative": True}).learning_rate == 0.01
    assert decided(technique={"kind": "ia3"}).learning_rate == 3e-3


def test_an_optimizer_with_less_state_is_estimated_to_need_less_memory() -> None:
    def needs(**optimizer: object) -> int:
        train = {"technique": {"kind": "full"}, "learning_rate": 1e-3, "optimizer": optimizer}
        return plan(recipe(**train), MODEL, rows(800), LAPTOP).memory_bytes

    adamw, lion, adafactor = needs(kind="adamw"), needs(kind="lion"), needs(kind="adafactor")
    assert adamw - lion == lion - adafactor == 4 * MODEL.parameters
    assert needs(kind="sgd") == lion
    assert needs(kind="sgd", momentum=0.0) == adafactor


def test_frozen_layers_need_no_gradients_in_the_estimate() -> None:
    whole = plan(recipe(technique={"kind": "full"}), MODEL, rows(800), LAPTOP)
    part = plan(recipe(technique={"kind": "full", "train_layers": (30, 31)}), MODEL, rows(800), LAPTOP)
    assert part.trainable_parameters < whole.trainable_parameters / 10
    assert part.memory_bytes < whole.memory_bytes


def test_activations_are_computed_again_only_where_memory_is_short_or_it_was_asked() -> None:
    room = dataclasses.replace(LAPTOP, memory_bytes=10**12)
    assert plan(recipe(), MODEL, rows(800), LAPTOP).gradient_checkpointing
    assert not plan(recipe(), MODEL, rows(800), room).gradient_checkpointing
    asked = plan(recipe(gradient_checkpointing="on"), MODEL, rows(800), room)
    assert asked.gradient_checkpointing
    assert asked.memory_bytes < plan(recipe(), MODEL, rows(800), room).memory_bytes
    refused = plan(recipe(gradient_checkpointing="off"), MODEL, rows(800), LAPTOP)
    assert not refused.gradient_checkpointing
    assert refused.memory_bytes > plan(recipe(), MODEL, rows(800), LAPTOP).memory_bytes


def test_a_pack_holds_both_texts_of_a_pair() -> None:
    assert plan(recipe(max_length=4000), MODEL, rows(800), LAPTOP).pack_tokens == 4000
    pairs = plan(recipe(max_length=4000, objective={"kind": "dpo"}), MODEL, rows(800), LAPTOP)
    assert pairs.pack_tokens == 8000
    assert "a pair is two" in pairs.reasons["pack_tokens"]


def test_a_gpu_without_bf16_computes_in_fp16_and_a_processor_never() -> None:
    t4 = dataclasses.replace(LAPTOP, bf16=False, gpu="Tesla T4", gpu_memory_bytes=16 * 10**9)
    assert plan(recipe(), MODEL, rows(800), t4).precision == "fp16"
    with pytest.raises(RecipeError, match="is for GPUs"):
        plan(recipe(precision="fp16"), MODEL, rows(800), LAPTOP)


@pytest.mark.parametrize("asked", [{"keep": "best"}, {"early_stopping": {}}, {"samples": {}}])
def test_a_choice_by_held_out_rows_is_refused_where_the_split_held_none_out(asked: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="of 12 rows none was held out"):
        plan(recipe(**asked), MODEL, dataclasses.replace(rows(12), valid=0), LAPTOP)
    plan(recipe(**asked), MODEL, rows(12), LAPTOP)


def test_plain_text_is_counted_in_chunks() -> None:
    decided = plan(recipe(objective={"kind": "pretrain"}, epochs=2), MODEL, rows(1), LAPTOP)
    assert decided.reasons["steps"] == "2 passes over 1 chunk, 1 a step"
