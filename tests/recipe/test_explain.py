"""`luthier explain`: every key has an answer, however it is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import RecipeError
from luthier.recipe.explain import every_key, explain


def hint(key):
    with pytest.raises(RecipeError) as error:
        explain(key)
    return error.value.problem, error.value.hint


def test_a_key_tells_type_range_default_and_help():
    assert explain("train.technique.lora.rank").lines() == [
        "train.technique.rank",
        "  Width of the low-rank update. 8 to 64 is usual; more learns more and forgets more.",
        "  type: a whole number",
        "  allowed: above 0 and at most 512",
        "  default: 16",
        "  option of: `lora`",
    ]


@pytest.mark.parametrize(
    "key", ["rank", "technique.rank", "lora.rank", "train.technique.rank", "train.technique.lora.rank"]
)
def test_a_key_is_found_by_any_of_its_names(key):
    assert explain(key).key == "train.technique.rank"


@pytest.mark.parametrize("key", ["quant", "export.quant", "export.0.quant", "export.gguf.quant"])
def test_an_item_of_a_list_is_found_with_and_without_index(key):
    assert explain(key).key == "export.quant"


def test_a_section_lists_its_keys():
    explanation = explain("evaluate.gate")
    assert explanation.keys == (
        ("verdict", "What the comparison with the base must say. (any)"),
        (
            "at_least",
            "Smallest values of metrics and benchmarks, by their names in the report: "
            "{accuracy: 0.8, gsm8k: 0.3}. ({})",
        ),
        ("at_most", "Largest values: {perplexity: 3.0, repetition: 0.1}. ({})"),
    )
    assert explanation.lines()[-1] == "  at_most   Largest values: {perplexity: 3.0, repetition: 0.1}. ({})"
    keys = dict(explain("evaluate").keys)
    assert keys["gate"].startswith("What the result must be; where it isn't, the exit code is 3")


def test_a_union_lists_its_methods_with_their_options():
    names = [name for name, _ in explain("train.schedule").keys]
    assert names[:4] == ["cosine", "  warmup", "  warmup_steps", "  floor"]
    assert names[names.index("wsd") :][:6] == ["wsd", "  warmup", "  warmup_steps", "  floor", "  decay", "  shape"]
    assert explain("train.schedule.kind") == explain("schedule")


def test_no_key_gives_the_whole_recipe():
    assert [name for name, _ in explain().keys if not name.startswith(" ")] == [
        "name",
        "model",
        "data",
        "train",
        "evaluate",
        "export",
    ]
    assert len(explain().keys) == len(every_key())


SCHEDULES = ("cosine", "linear", "constant", "restarts", "polynomial", "wsd", "inverse_sqrt")


def test_an_option_of_several_methods_is_told_once():
    explanation = explain("warmup")
    assert (explanation.key, explanation.methods) == ("train.schedule.warmup", SCHEDULES)


@pytest.mark.parametrize(
    ("key", "kind", "allowed", "default"),
    [
        ("train.learning_rate", "a number, or `null`", "above 0", "null"),
        ("train.weight_decay", "a number", "from 0 up", "0.0"),
        ("schedule.floor", "a number", "from 0 to 1", "0.1"),
        ("split.valid", "a number", "from 0 to below 1", "0.1"),
        ("data.clean.html", "`true` or `false`", "", "true"),
        ("train.precision", "one of `auto`, `bf16`, `fp16`, `fp32`", "", "auto"),
        ("data.sources", "a list of texts", "with at least 1 item", "required"),
        ("targets", "`all-linear` or a list of texts", "", "all-linear"),
        ("name", "text", "that matches `^[A-Za-z0-9][A-Za-z0-9._-]*$`", "run"),
        ("train.technique", "one of `lora`, `qlora`, `ia3`, `prompt`, `ptuning`, `prefix`, `full`", "", "lora"),
        ("train.optimizer", "one of `adamw`, `adamw_8bit`, `adafactor`, `sgd`, `lion`", "", "adamw"),
        ("rank_pattern", "a mapping of names, each to a whole number above 0 and at most 512", "", "{}"),
        ("layers", "a list, each item a whole number from 0 up, or `null`", "", "null"),
        ("export", "a list, each item `gguf`", "", "[]"),
        ("data.fields", "a section with keys of its own, or `null`", "", "null"),
    ],
)
def test_types_in_words(key, kind, allowed, default):
    explanation = explain(key)
    assert (explanation.type, explanation.allowed, explanation.default) == (kind, allowed, default)


def test_an_ambiguous_name_lists_the_candidates():
    problem, what = hint("seed")
    assert problem == "several recipe keys are called `seed`"
    assert what.startswith("type `luthier explain data.split.seed` or `luthier explain train.seed`")


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("train.learning_rat", "did you mean `train.learning_rate`?"),
        ("learning_rat", "did you mean `train.learning_rate`?"),
        ("epoch", "did you mean `epochs`?"),
        ("zzz", "type `luthier explain` to see every key"),
    ],
)
def test_an_unknown_key_names_the_nearest(key, fix):
    assert hint(key) == (f"there is no recipe key `{key}`", fix)


def test_every_key_explains_itself_and_has_help():
    for key in every_key():
        explanation = explain(".".join(key.path))
        assert explanation.help, key.path
        assert all(len(line) <= 100 for line in explanation.lines()[: -len(explanation.keys) or None])


@given(st.text())
def test_any_text_is_explained_or_refused(key):
    try:
        lines = explain(key).lines()
    except RecipeError as error:
        lines = error.lines()
    assert lines
    assert all("\n" not in line for line in lines)
