"""Written recipes load back equal, and read well."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from luthier.recipe.data import Boilerplate, Clean, Data, Fields, Length, Lengths, Split
from luthier.recipe.evaluate import Evaluate
from luthier.recipe.explain import every_key
from luthier.recipe.load import parse_recipe
from luthier.recipe.methods import (
    Adafactor,
    AdamW,
    Constant,
    Cosine,
    Full,
    Gguf,
    Ia3,
    InverseSqrt,
    Lion,
    Lora,
    Restarts,
    Sgd,
    Wsd,
)
from luthier.recipe.schema import Recipe, Train
from luthier.recipe.write import to_yaml

SMALL = Recipe(model="bundled", data=Data(sources=("tickets.csv",)))

# Anything but what a recipe refuses: control characters and lone surrogates.
letters = st.characters(exclude_categories=["Cs"]).filter(lambda letter: letter in "\t\n\r" or ord(letter) >= 32)
texts = st.text(letters.filter(lambda letter: letter != "\x7f"), min_size=1, max_size=12)
texts |= st.sampled_from(["null", "yes", "3", "1e3", "~", "- a", "a: b", "#", " a ", "*.csv", "2026-01-31", ".inf"])
shares = st.floats(0, 1, exclude_max=True)
positive = st.integers(1, 10**9)
reals = st.floats(0, exclude_min=True, allow_infinity=False)
ranks = st.integers(1, 512)
layers = st.none() | st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple)
techniques = st.builds(Full, train_layers=layers) | st.builds(Full, freeze_layers=st.integers(0, 9))
techniques |= st.builds(Ia3, inputs=st.none() | st.lists(texts, min_size=1, max_size=3).map(tuple))
techniques |= st.builds(
    Lora,
    rank=ranks,
    alpha=st.none() | reals,
    dropout=shares,
    targets=st.just("all-linear") | st.lists(texts, max_size=3).map(tuple),
    layers=layers,
    rank_pattern=st.dictionaries(texts, ranks, max_size=2),
    alpha_pattern=st.dictionaries(texts, reals, max_size=2),
    rslora=st.booleans(),
)
techniques |= st.builds(Lora, targets_pattern=texts)
falls = {"warmup_steps": st.none() | st.integers(0, 99), "floor": st.floats(0, 1)}
schedules = st.builds(Cosine, warmup=shares, floor=st.floats(0, 1)) | st.builds(Constant, warmup=shares)
schedules |= st.builds(Restarts, cycles=positive, **falls) | st.builds(InverseSqrt, timescale=st.none() | positive)
schedules |= st.builds(Wsd, decay=st.floats(0, 1), shape=st.sampled_from(["1-sqrt", "linear"]), **falls)
optimizers = (
    st.builds(AdamW, beta2=shares) | st.builds(Adafactor, relative=st.booleans()) | st.builds(Lion, beta1=shares)
)
trains = st.builds(
    Train,
    technique=techniques,
    learning_rate=st.none() | reals,
    optimizer=optimizers,
    schedule=schedules,
    epochs=st.none() | reals,
    batch_size=st.none() | positive,
    max_length=positive,
    weight_decay=st.floats(0, allow_infinity=False),
    clip=reals,
    precision=st.sampled_from(["auto", "bf16", "fp16", "fp32"]),
    seed=st.integers(0, 2**31 - 1),
    checkpoint_every=st.none() | positive,
)
datas = st.builds(
    Data,
    sources=st.lists(texts, min_size=1, max_size=3).map(tuple),
    format=st.sampled_from(["auto", "alpaca", "completion"]),
    fields=st.none() | st.builds(Fields, prompt=texts, answer=texts, context=st.none() | texts),
    clean=st.builds(
        Clean,
        html=st.booleans(),
        min_answer_chars=positive,
        special_tokens=st.sampled_from(["tell", False]),
        boilerplate=st.just(False) | st.builds(Boilerplate, lines=st.lists(texts, max_size=2).map(tuple)),
        length=st.just(False) | st.builds(Lengths, row=st.none() | st.builds(Length, max_words=positive)),
    ),
    split=st.builds(Split, valid=st.floats(0, 0.5), test=st.floats(0, 0.4), seed=st.integers(0, 2**31 - 1)),
)
recipes = st.builds(
    Recipe,
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z"),
    model=texts,
    data=datas,
    train=trains | st.just(Train(max_steps=7)) | st.just(Train(optimizer=Sgd(nesterov=True), learning_rate=0.1)),
    evaluate=st.builds(Evaluate, samples=st.integers(0, 99)),
    export=st.lists(st.builds(Gguf, quant=st.sampled_from(["f32", "q4_k_m"])), max_size=2).map(tuple),
)
keys = sorted({".".join(key.short) for key in every_key() if not key.method})


@given(recipes, st.booleans(), st.dictionaries(st.sampled_from(keys), st.text(max_size=40), max_size=3))
def test_a_written_recipe_loads_back_equal(recipe, comments, reasons):
    text = to_yaml(recipe, comments=comments, reasons=reasons)
    assert parse_recipe(text, file="recipe.yaml") == recipe


@given(recipes)
def test_yaml_1_1_reads_the_same_numbers(recipe):
    train = yaml.safe_load(to_yaml(recipe, comments=True))["train"]
    for name in ("learning_rate", "epochs", "weight_decay", "clip", "seed", "batch_size"):
        assert train[name] == getattr(recipe.train, name)


def test_without_comments_only_what_was_asked_is_written():
    recipe = Recipe(
        model="bundled",
        data=Data(sources=("a b.csv", "c.csv")),
        train=Train(technique=Lora(rank=8), learning_rate=1e-5, epochs=3.0, schedule=Constant()),
        export=(Gguf(), Gguf(quant="f16")),
    )
    assert (
        to_yaml(recipe, comments=False)
        == """\
model: bundled
data:
  sources: ["a b.csv", c.csv]
train:
  technique:
    kind: lora
    rank: 8
  learning_rate: 1.0e-05
  schedule: constant
  epochs: 3
export:
  - to: gguf
  - to: gguf
    quant: f16
"""
    )


def test_with_comments_every_key_stands_below_its_help():
    lines = to_yaml(SMALL, comments=True).splitlines()
    epochs = lines.index("  epochs: null")
    assert lines[epochs - 1] == "  # Passes over the training rows. `null` lets the plan choose by their number."
    written = {line.strip().partition(":")[0] for line in lines if not line.strip().startswith("#")}
    # What stands inside a method that wasn't chosen, or inside a section that isn't there, is told by `explain`.
    inside = {("train", "technique"), ("train", "objective"), ("train", "optimizer"), ("train", "schedule")}
    inside |= {("train", "parallel"), ("data", "fields"), ("train", "early_stopping"), ("train", "track"), ("export",)}
    inside |= {
        ("train", "samples"),
        ("evaluate", "metrics"),
        ("evaluate", "capabilities"),
        ("evaluate", "benchmarks"),
        ("evaluate", "sampling"),
        ("evaluate", "window"),
        ("evaluate", "judge"),
        ("data", "clean", "privacy", "ner"),
        ("data", "clean", "semantic_duplicates", "embed"),
    }
    inside |= {("evaluate", name) for name in ("people", "judge", "window", "sampling")}
    inside |= {("data", "clean", off) for off in ("transcript", "fillers", "boilerplate", "length", "language")}
    missing = [key.path for key in every_key() if key.path[-1] not in written]
    assert [path for path in missing if not any(path[: len(place)] == place for place in inside)] == []
    assert {path[-1] for path in missing} > {"prompt", "adafactor", "momentum", "cycles"}
    assert all(len(line) <= 110 for line in lines)


def test_a_reason_stands_above_its_key_which_is_then_written():
    text = to_yaml(SMALL, comments=False, reasons={"train.technique.rank": "small data,\nsmall update"})
    assert text.endswith(
        """\
train:
  technique:
    kind: lora
    # Why: small data, small update
    rank: 16
"""
    )


def test_a_reason_for_no_key_is_our_mistake():
    with pytest.raises(AssertionError, match=r"train\.nothing"):
        to_yaml(SMALL, comments=True, reasons={"train.nothing": "x"})
