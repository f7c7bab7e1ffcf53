"""Reading recipes: what is accepted, and that every mistake is told with its line and its fix."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from luthier.core.errors import LuthierError, Problems, RecipeError
from luthier.recipe.data import Boilerplate, Clean, Data, Fields, Split
from luthier.recipe.load import (
    COMMAND_LINE,
    SIZE_LIMIT,
    load_kept_recipe,
    load_recipe,
    parse_recipe,
    recipe_text,
)
from luthier.recipe.methods import Constant, Cosine, Full, Gguf, Lora
from luthier.recipe.schema import Recipe, Train

BASE = "model: bundled\ndata:\n  sources: [tickets.csv]\n"
DATA = Data(sources=("tickets.csv",))


def parse(text, *overrides):
    return parse_recipe(text, file="recipe.yaml", overrides=overrides)


def refusal(text, *overrides):
    """Return what the terminal shows."""
    with pytest.raises(LuthierError) as error:
        parse(text, *overrides)
    return str(error.value).splitlines()


def only(text, *overrides):
    """Return problem and hint of the one mistake in a recipe."""
    lines = refusal(text, *overrides)
    assert len(lines) == 2, lines
    return lines[0].removeprefix("error: "), lines[1].removeprefix("  hint: ")


# What is accepted ------------------------------------------------------------------------------------------


def test_the_smallest_recipe():
    assert parse(BASE) == Recipe(model="bundled", data=DATA)


def test_every_section_written_out():
    recipe = parse("""\
name: tickets-2
model: ./models/small
data:
  sources:
    - a.csv
    - b/*.jsonl
  format: alpaca
  fields: {prompt: question, answer: reply}
  clean: {html: false, min_answer_chars: 3}
  split: {valid: 0.2, seed: 7}
train:
  technique: {kind: lora, rank: 8, targets: [q_proj, v_proj]}
  objective: {kind: sft}
  learning_rate: 2e-4
  schedule: {kind: cosine, floor: 0}
  epochs: 3
  batch_size: 16
evaluate: {samples: 0}
export: [{to: gguf, quant: f16}, gguf]
""")
    assert recipe.data == Data(
        sources=("a.csv", "b/*.jsonl"),
        format="alpaca",
        fields=Fields(prompt="question", answer="reply"),
        clean=Clean(html=False, min_answer_chars=3),
        split=Split(valid=0.2, seed=7),
    )
    assert recipe.train == Train(
        technique=Lora(rank=8, targets=("q_proj", "v_proj")),
        learning_rate=0.0002,
        schedule=Cosine(floor=0.0),
        epochs=3.0,
        batch_size=16,
    )
    assert (recipe.name, recipe.model, recipe.evaluate.samples) == ("tickets-2", "./models/small", 0)
    assert recipe.export == (Gguf(quant="f16"), Gguf())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("lora", Lora()),
        ("full", Full()),
        ("{kind: full}", Full()),
        ("{rank: 8}", Lora(rank=8)),
        ("dora", Lora(dora=True)),
        ("{kind: dora, rank: 8}", Lora(rank=8, dora=True)),
        ("{}", Lora()),
    ],
)
def test_a_method_may_be_written_short(written, meant):
    assert parse(BASE + f"train: {{technique: {written}}}").train.technique == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("false", False),
        ("true", Boilerplate()),
        ("{}", Boilerplate()),
        ("{lines: Acme}", Boilerplate(lines=("Acme",))),
    ],
)
def test_a_section_that_may_be_off_is_written_false_true_or_with_its_keys(written, meant):
    assert parse(BASE + f"  clean: {{boilerplate: {written}}}").data.clean.boilerplate == meant


@pytest.mark.parametrize(
    ("clean", "told"),
    [
        ("{boilerplate: {linez: [a]}}", "unknown key `data.clean.boilerplate.linez`"),
        ("{fillers: {languages: [xx]}}", "`data.clean.fillers.languages.0` should be one of `en`, `de`"),
        ("{fillers: 3}", "`data.clean.fillers` should be a section with keys of its own, or `false`, got 3"),
        ("{fillers: true}", "`data.clean.fillers.languages` is missing"),
        ("{roles: maybe}", "`drop` or `false`, got the text 'maybe'"),
        (
            "{length: {answer: {min_chars: -3}}}",
            "`data.clean.length.answer.min_chars` should be a whole number above 0",
        ),
        ("{length: {answer: {}}}", "`data.clean.length.answer`: names no bound"),
    ],
)
def test_what_is_wrong_below_a_section_that_may_be_off_is_told_once_where_it_stands(clean, told):
    assert told in only(BASE + f"  clean: {clean}")[0]


@pytest.mark.parametrize("written", ["gguf", "[gguf]", "{to: gguf}", "[{to: gguf}]"])
def test_one_export_needs_no_list(written):
    assert parse(BASE + f"export: {written}").export == (Gguf(),)


def test_one_source_needs_no_list():
    assert parse("model: bundled\ndata: {sources: tickets.csv}\n").data == DATA


def test_a_section_with_nothing_under_it_takes_its_defaults():
    text = BASE + "  clean:\n    # html: false\ntrain:\n  # epochs: 3\nevaluate:\nexport:\n"
    assert parse(text) == parse(BASE)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2e-4", 0.0002),
        ("1E-3", 0.001),
        ("1", 1.0),
        (".5", 0.5),
        ("+2.", 2.0),
        ("010", 10.0),
        ("0x10", 16.0),
        ("0o17", 15.0),
        ("~", None),
        ("", None),
        ("null", None),
    ],
)
def test_numbers_are_read_as_yaml_1_2(written, meant):
    assert parse(BASE + f"train:\n  learning_rate: {written}").train.learning_rate == meant


@pytest.mark.parametrize("text", ["yes", "on", "No", "2026-01-31", "1.2.3", "12h", "1_000", "'3'", '"true"'])
def test_texts_stay_texts(text):
    assert parse(f"name: {text}\n" + BASE).name == text.strip("'\"")


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter():
    assert parse("\ufeff" + BASE.replace("\n", "\r\n")) == parse(BASE)


def test_json_is_yaml():
    assert parse(json.dumps({"model": "bundled", "data": {"sources": ["tickets.csv"]}})) == parse(BASE)


# What is refused -------------------------------------------------------------------------------------------


def test_four_mistakes_print_four_located_hinted_errors():
    text = """\
model: bundled
data:
  sources: tickets.csv
  format: alpacca
learning_rate: 2e-4
train:
  epochs: three
  learning_rat: 2e-4
"""
    assert refusal(text) == [
        "error: recipe.yaml:4: `data.format` should be one of `auto`, `openai`, `sharegpt`, `alpaca`, `completion`, "
        "`qa`, `choice`, `summary`, `translation`, `transcript`, `preference`, `kto`, "
        "`classification`, `text`, got the text 'alpacca'",
        "  hint: did you mean `alpaca`?",
        "error: recipe.yaml:5: unknown key `learning_rate`",
        "  hint: write it under `train`",
        "error: recipe.yaml:7: `train.epochs` should be a number above 0, got the text 'three'",
        "  hint: see `luthier explain train.epochs`",
        "error: recipe.yaml:8: unknown key `train.learning_rat`",
        "  hint: did you mean `learning_rate`?",
    ]


def test_several_mistakes_are_problems_and_one_is_a_recipe_error():
    with pytest.raises(Problems) as several:
        parse("model: 3\n")
    assert [error.place for error in several.value.problems] == ["recipe.yaml:1", "recipe.yaml:1"]
    with pytest.raises(RecipeError) as one:
        parse("model: bundled\n")
    assert one.value.exit_code == 2


@pytest.mark.parametrize(
    ("lines", "problem", "hint"),
    [
        ("margiin: 1", "unknown key `margiin`", "did you mean `data.fields.margin` or `train.objective.margin`?"),
        ("margin: 1", "unknown key `margin`", "write it under `data.fields` or `train.objective`"),
        ("warmup: 0.1", "unknown key `warmup`", "write it under `train.schedule`"),
        (
            "train: {model: x}",
            "unknown key `train.model`",
            "write it at the left margin, outside of any section",
        ),
        ("zzz: 1", "unknown key `zzz`", "a recipe takes name, model, data, train, evaluate, export"),
        (
            "evaluate: {gate: {zzz: 1}}",
            "unknown key `evaluate.gate.zzz`",
            "`evaluate.gate` takes verdict, at_least, at_most",
        ),
        ("<<: {name: x}", "unknown key `<<`", "a recipe has no merge keys: write the keys out"),
        (
            "train: {technique: {kind: full, rank: 8}}",
            "unknown key `train.technique.rank`",
            "`rank` is an option of `lora` and `qlora`",
        ),
        ("export: [{to: gguf, quan: f16}]", "unknown key `export.0.quan`", "did you mean `quant`?"),
    ],
)
def test_an_unknown_key_says_where_it_belongs(lines, problem, hint):
    assert only(BASE + lines) == (f"recipe.yaml:4: {problem}", hint)


SCHEDULES = "one of `cosine`, `linear`, `constant`, `restarts`, `polynomial`, `wsd`, `inverse_sqrt`"


@pytest.mark.parametrize(
    ("lines", "problem", "hint"),
    [
        (
            "train: {epochs: '3'}",
            "`train.epochs` should be a number above 0, got the text '3'",
            "write 3, without quotes",
        ),
        (
            "train: {max_steps: 1_000}",
            "`train.max_steps` should be a whole number above 0, got the text '1_000'",
            "write 1000, without separators",
        ),
        (
            "train: {batch_size: 8.0}",
            "`train.batch_size` should be a whole number above 0, got 8.0",
            "write 8",
        ),
        (
            "train: {batch_size: 8.5}",
            "`train.batch_size` should be a whole number above 0, got 8.5",
            "see `luthier explain train.batch_size`",
        ),
        (
            "train: {batch_size: true}",
            "`train.batch_size` should be a whole number above 0, got true",
            "see `luthier explain train.batch_size`",
        ),
        (
            "train: {clip: .inf}",
            "`train.clip` should be a number above 0, got the text '.inf'",
            "see `luthier explain train.clip`",
        ),
        (
            "train: {clip: 1e999}",
            "`train.clip` should be a number above 0, got the text '1e999'",
            "see `luthier explain train.clip`",
        ),
        (
            "train: {epochs: none}",
            "`train.epochs` should be a number above 0, got the text 'none'",
            "write `null`",
        ),
        (
            "train: {seed: }",
            "`train.seed` should be a whole number from 0 to below 2147483648, got nothing",
            "write a value, or remove the line to take the default",
        ),
        (
            "train: {technique: {rank: 600}}",
            "`train.technique.rank` should be a whole number above 0 and at most 512, got 600",
            "see `luthier explain train.technique.rank`",
        ),
        (
            "train: {technique: {targets: q_proj}}",
            "`train.technique.targets` should be `all-linear` or a list of texts, got the text 'q_proj'",
            "write it as a list: [q_proj]",
        ),
        (
            "train: {technique: {targets: [q_proj, 3]}}",
            "`train.technique.targets` should be `all-linear` or a list of texts, got a list of 2 items",
            "see `luthier explain train.technique.targets`",
        ),
        (
            "train: {schedule: cosin}",
            f"`train.schedule` should be {SCHEDULES}, got the text 'cosin'",
            "did you mean `cosine`?",
        ),
        (
            "train: {schedule: {kind: 3}}",
            f"`train.schedule` should be {SCHEDULES}, got 3",
            "see `luthier explain train.schedule`",
        ),
        (
            "train: {schedule: {warmup: 0.1, warmup_steps: 5}}",
            "`train.schedule`: `warmup` and `warmup_steps` exclude each other: keep one",
            "see `luthier explain train.schedule`; `null` clears a key",
        ),
        (
            "train: {technique: {kind: prefix, projection: false}}",
            "`train.technique`: `init: zero` without `projection` lets all virtual tokens stay alike: take `random`",
            "see `luthier explain train.technique`; `null` clears a key",
        ),
        (
            "train: {technique: ptuning, objective: reward}",
            "`train`: `technique: ptuning` can't learn the head of `reward`: take `lora`",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {optimizer: sgd}",
            "`train`: `optimizer: sgd` needs a `learning_rate`: 0.1 is a start, as `clip` holds the gradient's norm",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {technique: {kind: lora, targets: [q_proj], targets_pattern: '.*'}}",
            "`train.technique`: `targets` and `targets_pattern` exclude each other: keep one",
            "see `luthier explain train.technique`; `null` clears a key",
        ),
        (
            "train: {technique: {kind: full, freeze_layers: 2, train_layers: 3}}",
            "`train.technique`: `freeze_layers` and `train_layers` exclude each other: keep one",
            "see `luthier explain train.technique`; `null` clears a key",
        ),
        (
            "train: {schedule: {warmup: 1}}",
            "`train.schedule.warmup` should be a number from 0 to below 1, got 1",
            "see `luthier explain train.schedule.warmup`",
        ),
        (
            "evaluate: {gate: 3}",
            "`evaluate.gate` should be a section with keys of its own, got 3",
            "write its keys below it, indented: verdict, at_least, at_most",
        ),
        ("export: [{quant: f16}]", "`export.0.to` is missing", "add `to`: `gguf`"),
        (
            "export: [{to: gguf, quant: q8}]",
            "`export.0.quant` should be one of `f32`, `f16`, `bf16`, `q8_0`, `q6_k`, `q5_k_m`, `q5_k_s`, `q4_k_m`, "
            "`q4_k_s`, `q4_0`, `q3_k_m`, `q2_k`, got the text 'q8'",
            "did you mean `q8_0`?",
        ),
        (
            "name: 1e3",
            "`name` should be text that matches `^[A-Za-z0-9][A-Za-z0-9._-]*$`, got 1e3",
            'put it in quotes: "1e3"',
        ),
        (
            "train: {epochs: 3, max_steps: 9}",
            "`train`: `epochs` and `max_steps` exclude each other: keep one (`--set train.epochs=null` clears it)",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {objective: dpo, too_long: turn}",
            "`train`: `too_long: turn` has no meaning for `objective: dpo`: take `drop` or `left`",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {too_long: right}",
            "`train`: `too_long: right` has no meaning for `objective: sft`: take `drop` or `turn` or `left`",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {technique: prefix, new_tokens: [a]}",
            "`train`: `technique: prefix` leaves embeddings as they are, so `new_tokens` could not learn: take "
            "`lora` or `full`",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {technique: {kind: full, freeze_layers: 1}, new_tokens: [a]}",
            "`train`: `freeze_layers` and `train_layers` leave embeddings as they are, so `new_tokens` could not learn",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {objective: reward, new_tokens: [a]}",
            "`train`: `objective: reward` can't learn `new_tokens`: its model has no head for them. Train them with "
            "`sft` or `pretrain`, merge, and begin with the merged model",
            "see `luthier explain train`; `null` clears a key",
        ),
        (
            "train: {new_tokens: [a, b, a]}",
            "`train`: `new_tokens` names one twice",
            "see `luthier explain train`; `null` clears a key",
        ),
    ],
)
def test_a_wrong_value_names_key_rule_value_and_fix(lines, problem, hint):
    assert only(BASE + lines) == (f"recipe.yaml:4: {problem}", hint)


@pytest.mark.parametrize(("written", "meant"), [("yes", "true"), ("On", "true"), ("no", "false"), ("off", "false")])
def test_a_yes_is_told_to_be_true(written, meant):
    problem, hint = only(BASE + f"  clean: {{html: {written}}}")
    assert problem == f"recipe.yaml:4: `data.clean.html` should be `true` or `false`, got the text '{written}'"
    assert hint == f"write `{meant}`"


def test_a_missing_key_is_told_at_its_section():
    assert only("model: bundled\n\ndata:\n  format: auto\n") == (
        "recipe.yaml:3: `data.sources` is missing",
        "add `sources: …`: Files, folders or globs: CSV, TSV, JSON, JSONL, Parquet, Arrow, Excel; for plain text also "
        "TXT, MD and HTML, each file one document. Any of them may be packed as gz, bz2, xz, zst or zip. `-` is what "
        "is piped in, `hub:owner/name`, with `@revision` and `:config/split` where wanted, a data set on the hub, "
        "`bundled` the sample data in the package.",
    )


def test_a_misspelt_required_key_is_one_mistake():
    assert only(BASE.replace("model", "modle")) == (
        "recipe.yaml:1: unknown key `modle`",
        "did you mean `model`?",
    )
    assert only("model: x\nsources: a.csv\n") == (
        "recipe.yaml:2: unknown key `sources`",
        "write it under `data`",
    )


def test_an_empty_list_of_sources_is_refused():
    problem, _ = only("model: x\ndata: {sources: []}")
    assert problem.endswith("`data.sources` should be a list of texts with at least 1 item, got a list of 0 items")


def test_a_key_written_twice_names_both_lines():
    problem, hint = only(BASE + "train:\n  seed: 1\n  epochs: 1\n  seed: 2\n")
    assert problem == "recipe.yaml:7: `train.seed` is written twice, on lines 5 and 7"
    assert hint == "keep one of them"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("", "1: the recipe is empty", "`luthier init` writes one"),
        ("# nothing yet\n", "1: the recipe is empty", "`luthier init`"),
        ("- a\n", "1: a recipe should be a mapping of keys, got a list of 1 item", "`key: value`"),
        ("model:bundled", "1: a recipe should be a mapping of keys, got the text", "a space after the colon"),
        (
            "train:\n\tepochs: 3",
            "2: not valid YAML: a tab where YAML wants spaces (column 1)",
            "indent with spaces",
        ),
        ("model: a: b", "1: not valid YAML: a second `: ` on the line", "in quotes"),
        ("model: x\nfoo\nbar: 3", "2: not valid YAML: this line is neither `key: value`", "`key: value`"),
        ("train:\n  epochs: 3\n model: x", "3: not valid YAML: the line doesn't fit", "the same column"),
        ("name: x\nmodel: @foo", "2: not valid YAML: a text can't begin with", "in quotes"),
        ("a: [1,\nb", "2: not valid YAML: a bracket or comma is missing", "`]`"),
        ('a: 1\nb: "x\n', "2: not valid YAML: a quote is never closed", "close it"),
        ("a: 1\n---\nb: 2", "2: not valid YAML: a second document begins", "`---`"),
        ("a: &x 1\nb: *x", "2: not valid YAML: a recipe has no aliases", "write the value out"),
        ("a: *.csv", "1: not valid YAML: an unquoted `*` begins an alias", '"*.csv"'),
        ("a: 1\nb: \x07", "2: the character U+0007 can't stand in YAML", "remove it"),
        ('a: "\\UFFFFFFFF"', "1: an escape such as \\U in quotes names no character", "single quotes"),
        ("[" * 3000, "1: nested too deeply", "luthier explain"),
        (BASE + "? [a]\n: 1", "4: a key should be a word", "`key: value`"),
        (BASE + "name: !foo x", "4: a recipe has no tags such as `!foo`", "remove it"),
        (BASE + 'name: "\\0"', "4: `name` holds the character U+0000", "remove it"),
        (BASE.replace("bundled", '"\\ud800"'), "1: `model` holds the character U+D800", "remove it"),
    ],
)
def test_what_is_no_recipe_at_all(text, problem, hint):
    told, fix = refusal(text)[:2]
    assert told.startswith(f"error: recipe.yaml:{problem}")
    assert hint in fix


def test_mistakes_of_all_kinds_come_in_the_order_of_lines():
    text = BASE + "name: a b\nname: a c\nzzz: 1\ntrain: {seed: x}\n"
    places = [line.split(": ")[1] for line in refusal(text, "train.epochs=x", "=") if line.startswith("error")]
    assert places == [*(f"recipe.yaml:{line}" for line in (5, 5, 6, 7)), "--set train.epochs", "--set"]


def test_a_message_never_carries_control_characters():
    lines = refusal(BASE + '"\\e[31m": 1\nname: "\\u202e x"')
    assert all(letter.isprintable() for line in lines for letter in line)


# Overrides -------------------------------------------------------------------------------------------------


def test_an_override_wins_over_the_file_and_later_ones_over_earlier():
    text = BASE + "train: {epochs: three}\n"
    assert parse(text, "train.epochs=2").train.epochs == 2
    assert parse(text, "train.epochs=2", "train.epochs=4").train.epochs == 4


def test_an_override_is_read_as_yaml():
    recipe = parse(BASE, "data.sources=[a.csv, b.csv]", "train.learning_rate=2e-4", "name=a=b".replace("=b", "-b"))
    assert (recipe.data.sources, recipe.train.learning_rate, recipe.name) == (
        ("a.csv", "b.csv"),
        0.0002,
        "a-b",
    )


def test_a_value_may_hold_equal_signs():
    assert parse(BASE, "model=hub/a=b").model == "hub/a=b"


def test_null_and_nothing_clear_a_key():
    text = BASE + "train: {epochs: 3}\n"
    assert parse(text, "train.epochs=null", "train.max_steps=9").train == Train(max_steps=9)
    assert parse(text, "train.epochs=", "train.max_steps=9").train == Train(max_steps=9)


def test_overrides_alone_are_a_recipe():
    assert parse("", "model=bundled", "data.sources=tickets.csv") == parse(BASE)


@pytest.mark.parametrize("technique", ["", "technique: lora", "technique: {kind: lora}", "technique: {dropout: 0}"])
def test_an_option_of_a_method_can_be_set_however_the_file_names_it(technique):
    recipe = parse(BASE + f"train:\n  {technique}\n", "train.technique.rank=8")
    assert recipe.train.technique == Lora(rank=8)


def test_setting_a_method_whole_replaces_its_options():
    text = BASE + "train: {technique: {kind: lora, rank: 8}, schedule: constant}\n"
    assert parse(text, "train.technique=full").train.technique == Full()
    recipe = parse(text, "train.technique=lora", "train.technique.alpha=4", "train.schedule.warmup=0.2")
    assert (recipe.train.technique, recipe.train.schedule) == (Lora(alpha=4.0), Constant(warmup=0.2))


def test_switching_only_the_kind_tells_which_options_stay_behind():
    problem, hint = only(BASE + "train: {technique: {kind: lora, rank: 8}}\n", "train.technique.kind=full")
    assert problem == "recipe.yaml:4: unknown key `train.technique.rank`"
    assert hint == "`rank` is an option of `lora` and `qlora`"


def test_items_of_lists_are_set_by_index():
    assert parse(BASE, "export.0=gguf", "export.0.quant=f16").export == (Gguf(quant="f16"),)
    assert parse(BASE + "export: [gguf]", "export.0.quant=f16", "export.1=gguf").export == (
        Gguf(quant="f16"),
        Gguf(),
    )
    assert parse(BASE, "data.sources.1=b.csv").data.sources == ("tickets.csv", "b.csv")


@pytest.mark.parametrize(
    ("override", "problem", "hint"),
    [
        (
            "train.epochs",
            "--set: `train.epochs` has no `=`",
            "write a key, `=` and a value: `--set train.epochs=2`",
        ),
        ("=2", "--set: `=2` names no key", "write a key, `=` and a value: `--set train.epochs=2`"),
        ("a..b=2", "--set: `a..b=2` names no key", "write a key, `=` and a value: `--set train.epochs=2`"),
        ("train.epoch=2", "--set train.epoch: unknown key `train.epoch`", "did you mean `epochs`?"),
        ("trian.epochs=2", "--set trian.epochs: unknown key `trian`", "did you mean `train`?"),
        ("epochs=2", "--set epochs: unknown key `epochs`", "write it under `train`"),
        (
            "train.epochs=x",
            "--set train.epochs: `train.epochs` should be a number above 0, got the text 'x'",
            "see `luthier explain train.epochs`",
        ),
        (
            "train.epochs.x=2",
            "--set train.epochs.x: `train.epochs` should be a number above 0, got a mapping",
            "see `luthier explain train.epochs`",
        ),
        ("export.2=gguf", "--set export.2: `export` has 0 items", "the next one is `export.0`"),
        (
            "export.x=gguf",
            "--set export.x: `export` is a list",
            "name an item by its number, e.g. `export.0`",
        ),
        (
            "data.sources=[a",
            "--set data.sources: not valid YAML: a bracket or comma is missing",
            "close every `[` with `]` and every `{` with `}`",
        ),
        (
            "train={seed: 1, seed: 2}",
            "--set train: `seed` is written twice",
            "keep one of them",
        ),
    ],
)
def test_a_wrong_override_is_told_like_a_wrong_line(override, problem, hint):
    assert only(BASE, override) == (problem, hint)


# Files -----------------------------------------------------------------------------------------------------


def refused_file(path):
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    return error.value


def test_a_file_is_named_in_its_problems(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(BASE + "train: {epochs: 0}\n")
    assert refused_file(path).place == f"{path}:4"
    assert load_recipe(path, ["train.epochs=1"]).train.epochs == 1


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "tickets.yaml").touch()
    assert refused_file(tmp_path / "tickts.yaml").hint == f"did you mean `{tmp_path / 'tickets.yaml'}`?"
    assert refused_file(tmp_path / "qq").hint == f"name the file: `{tmp_path / 'tickets.yaml'}`"
    assert "is not there either" in refused_file(tmp_path / "no" / "x.yaml").hint


def test_a_folder_is_no_recipe(tmp_path):
    assert refused_file(tmp_path).hint == "name a YAML file; `luthier init` writes one"
    (tmp_path / "recipe.yaml").touch()
    error = refused_file(tmp_path)
    assert (error.problem, error.hint) == (
        "this is a folder, not a recipe",
        f"name the file: `{tmp_path / 'recipe.yaml'}`",
    )


def test_a_data_file_is_no_recipe(tmp_path):
    error = refused_file(tmp_path / "rows.jsonl")
    assert error.hint == f"type `luthier run --data {tmp_path / 'rows.jsonl'} --model bundled`"


@pytest.mark.parametrize(
    ("content", "problem", "place"),
    [
        (b"model: x\nname: caf\xe9\n", "byte 0xe9 is not UTF-8", ":2"),
        (b"\x7fELF\x00\x01", "this is not UTF-8 text", ""),
        ("model: x\n".encode("utf-16"), "this is not UTF-8 text", ""),
        (b"#" * (SIZE_LIMIT + 1), "too large for a recipe", ""),
    ],
)
def test_a_file_that_is_no_text(tmp_path, content, problem, place):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    error = refused_file(path)
    assert (error.problem, error.place) == (problem, f"{path}{place}")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_an_impossible_name_is_refused(name):
    assert "can't be read" in refused_file(Path(name)).problem


@pytest.mark.parametrize("text", [BASE, BASE.rstrip(), "\ufeff" + BASE.replace("\n", "\r\n")])
@pytest.mark.parametrize(
    "overrides", [[], ["train.epochs=2", "name=a"], ['model="b\\n\u2028é"', "data.sources=[x\n,y]"]]
)
def test_the_kept_text_is_the_users_and_loads_with_the_overrides(tmp_path, text, overrides):
    path, kept = tmp_path / "recipe.yaml", tmp_path / "kept.yaml"
    path.write_bytes(text.encode())
    kept.write_bytes(recipe_text(path, overrides).encode())
    assert kept.read_bytes().startswith(path.read_bytes())
    assert (kept.read_bytes() == path.read_bytes()) == (not overrides)
    assert load_kept_recipe(kept) == load_recipe(path, overrides)
    assert load_recipe(kept) == load_recipe(path)


def test_a_kept_text_used_as_a_recipe_starts_afresh(tmp_path):
    path, kept, again = tmp_path / "recipe.yaml", tmp_path / "kept.yaml", tmp_path / "again.yaml"
    path.write_text(BASE)
    kept.write_text(recipe_text(path, ["name=first"]))
    again.write_text(recipe_text(kept))
    assert load_kept_recipe(again).name == "run"
    assert again.read_text().count(COMMAND_LINE) == 2


# Anything at all -------------------------------------------------------------------------------------------

tokens = st.sampled_from(
    [
        *"[]{}:,-?&*!|>'\"#%@`~ \t\n\r.",
        *(
            "\n  ",
            ": ",
            "- ",
            "model",
            "data",
            "sources",
            "train",
            "technique",
            "kind",
            "rank",
            "lora",
            "export",
        ),
        *("to", "gguf", "3", "1e3", "null", "true", "&a", "*a", "<<", "---", "...", "\\U", "\x00", "\ufeff"),
        *("\ud800", "\x85", "\u2028", "%YAML 9.9", "!!int", "!!float x", "!!null", "0x", "9" * 5000),
    ]
)
soup = st.lists(tokens, max_size=30).map("".join)
yamls = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["model", "data", "sources", "train", "technique", "kind", "export", "split", "valid", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def told_or_read(text, *overrides):
    """Anything but a recipe or a problem of the user's passes through and fails the test."""
    lines = []
    try:
        parse(text, *overrides)
    except LuthierError as error:
        lines = error.lines()
    assert all("\n" not in line and line.strip() for line in lines)


@given(st.text() | soup)
@example("? ")
@example("!<tag:yaml.org,2002:int> x: y")
def test_any_text_is_a_recipe_or_a_problem_of_the_users(text):
    told_or_read(text)
    told_or_read(BASE + text)


@pytest.mark.parametrize("depth", [20, 60, 100, 140, 180, 300, 1000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("{train: ", "}"), ("{kind: ", "}")])
def test_any_depth_is_read_or_told(depth, opening, closing):
    nested = opening * depth + closing * depth
    told_or_read(nested)
    told_or_read(BASE, f"train.technique={nested}", "train." * depth + "epochs=1", "export." + "0." * depth + "to=x")


@given(yamls)
def test_any_structure_is_a_recipe_or_a_problem_of_the_users(value):
    told_or_read(json.dumps(value))


@given(
    st.lists(
        st.builds(
            "{}={}".format,
            st.lists(tokens, min_size=1, max_size=4).map(".".join) | st.text(max_size=5),
            soup | yamls.map(json.dumps),
        )
        | soup,
        max_size=3,
    )
)
def test_any_override_is_applied_or_told(overrides):
    told_or_read(BASE, *overrides)


@given(
    st.integers(1, 10**6),
    st.sampled_from(["train.max_steps", "train.batch_size", "data.clean.min_answer_chars"]),
)
def test_an_override_sets_what_the_file_would(number, key):
    section, name = key.rsplit(".", 1)
    recipe = parse(BASE, f"{key}={number}")
    for part in section.split("."):
        recipe = getattr(recipe, part)
    assert getattr(recipe, name) == number


@pytest.mark.parametrize("asked", ["{keep: best}", "{early_stopping: {patience: 2}}"])
def test_a_choice_by_the_held_out_loss_needs_held_out_rows(asked: str) -> None:
    text = f"model: m\ndata: {{sources: [a], split: {{valid: 0.0}}}}\ntrain: {asked}\n"
    with pytest.raises(LuthierError, match=r"recipe\.yaml:3: `train.*hold out some rows"):
        parse_recipe(text, file="recipe.yaml")


def test_an_export_of_what_can_not_be_merged_is_refused_before_training() -> None:
    with pytest.raises(LuthierError, match="are no weights"):
        parse_recipe(BASE + "train: {technique: prompt}\nexport: [{to: gguf}]\n", file="recipe.yaml")


def test_a_contradiction_is_placed_where_the_key_it_names_stands():
    written = f"{BASE}\ntrain:\n  max_steps: 8\n  objective: dpo\n"
    with pytest.raises(LuthierError) as error:
        parse(f"{written}  learn: all\n")
    assert error.value.place == f"recipe.yaml:{written.count(chr(10)) + 1}"
    with pytest.raises(LuthierError) as error:
        parse(BASE, "train.max_steps=8", "train.objective=dpo", "train.learn=all")
    assert error.value.place == "--set train.learn"
