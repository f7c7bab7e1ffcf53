"""Base against tuned: the contract's keys, honest verdicts, samples, and what is said about them."""

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.core.errors import DataError, Failed, ModelError
from luthier.core.example import TEXT, Example, Message, Source
from luthier.core.progress import Silent
from luthier.core.report import Comparison, Number, Paragraph, Report, Section
from luthier.evaluate import account
from luthier.evaluate.advice import Again
from luthier.evaluate.candidates import Local
from luthier.evaluate.candidates import Served as Elsewhere
from luthier.evaluate.compare import Asked, compare
from luthier.evaluate.likelihood import row_nll
from luthier.evaluate.stats import paired
from luthier.evaluate.subject import Loaded, Subject, Told
from luthier.model.adapters import lora
from luthier.model.load import load_model, load_tokenizer, stop_ids
from luthier.recipe.evaluate import Evaluate
from luthier.recipe.methods import Rows
from luthier.tokens.encode import Limits, encode
from luthier.tokens.render import Renderer
from served import Served, said

METRIC = {"name", "value", "n", "low", "high", "base", "tuned", "change", "p", "verdict", "detectable"}
KEYS = {
    "models",
    "slices",
    "wins",
    "contamination",
    "perplexity",
    "nll",
    "metrics",
    "benchmarks",
    "samples",
    "regression",
    "gate",
    "verdict",
    "detectable",
    "not_compared",
    "rows",
    "texts",
    "tokens",
}


def of(model: Path | Elsewhere, base: Path) -> Local | Elsewhere:
    return Local.of(str(model), model, base) if isinstance(model, Path) else model


@pytest.fixture
def against(tiny_llama: Path, rows: tuple[Example, ...], tmp_path: Path):
    def call(
        tuned: Any,
        *,
        chosen: Any = rows,
        base: Path = tiny_llama,
        max_length: int = 512,
        stored: Any = None,
        kind: Rows = "conversation",
        parts: Any = (),
        others: Any = (),
        again: Again | None = None,
        **options: Any,
    ) -> Report:
        asked = Asked(
            examples=lambda: chosen,
            stored=stored,
            rows=kind,
            limits=Limits(max_length),
            capacity=512,
            precision="fp32",
            again=again,
        )
        return compare(
            [Local("tiny", base), *(of(one, base) for one in (tuned, *others))],
            asked,
            Evaluate(**{"samples": 3, "answers": 3, "max_new_tokens": 24, **options}),
            parts=parts,
            out=tmp_path / "run" / "evaluate",
        )

    return call


def numbers(value: Any) -> list[dict[str, Any]]:
    """Return every measured number within a report's data."""
    if isinstance(value, dict):
        found = [value] if set(value) == {"value", "n", "low", "high"} else []
        return found + [number for part in value.values() for number in numbers(part)]
    return [number for part in value for number in numbers(part)] if isinstance(value, list) else []


def texts(report: Report) -> str:
    return " ".join(finding.text for finding in report.findings)


@pytest.fixture
def whole_model(tiny_llama: Path, tmp_path: Path):
    """Return a function that copies the tiny model with its weights changed."""

    def copy(change) -> Path:
        folder = shutil.copytree(tiny_llama, tmp_path / "whole")
        weights = load_file(folder / "model.safetensors")
        changed = {name: change(name, tensor).contiguous() for name, tensor in weights.items()}
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return copy


def test_a_trained_adapter_is_better_and_the_keys_are_the_contract_s(
    against, trained_adapter: Path, tmp_path: Path
) -> None:
    report = against(trained_adapter)
    data = report.data
    assert set(data) == KEYS
    assert data["verdict"] == "better"
    assert report.summary.startswith("Better: perplexity on 24 held-out conversations fell from ")
    assert data["models"] == {"base": "tiny", "tuned": str(trained_adapter)}
    change = data["perplexity"]["change"]
    assert change["value"] == pytest.approx(data["perplexity"]["tuned"]["value"] / data["perplexity"]["base"]["value"])
    assert change["low"] <= change["value"] <= change["high"] < 1
    assert data["nll"]["difference"]["high"] < 0
    assert set(data["detectable"]) == {"nats_per_token", "perplexity_ratio"}
    assert data["detectable"]["perplexity_ratio"] > 1
    assert data["rows"] == 24
    assert data["tokens"] > 24
    assert [set(sample) for sample in data["samples"]] == [{"source", "prompt", "expected", "base", "tuned"}] * 3
    assert {frozenset(metric) for metric in data["metrics"]} == {frozenset(METRIC)}
    assert [metric["name"] for metric in data["metrics"]] == [
        *("exact_match", "token_f1", "chrf", "repetition"),
        *("bits_per_byte", "nll_per_row", "nll_all_tokens", "perplexity_all_tokens"),
        *("answers_ended", "answer_characters"),
    ]  # fmt: skip
    assert (data["benchmarks"], data["gate"]) == ([], {"refused": []})
    assert [(one["name"], one["measure"], one["status"]) for one in data["regression"]] == [
        ("held-out rows", "perplexity", "OK")
    ]
    assert len(numbers(data)) == 54


def test_the_folder_holds_what_the_report_says(against, random_adapter: Path, tmp_path: Path) -> None:
    report = against(random_adapter)
    out = tmp_path / "run" / "evaluate"
    kept = {"report.json", "report.md", "report.html", "samples.jsonl", "answers.jsonl"}
    assert {file.name for file in out.iterdir()} == kept
    assert json.loads((out / "report.json").read_text()) == report.as_dict()
    lines = (out / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == report.data["samples"]
    assert [path.name for path in out.parent.iterdir()] == ["evaluate"]


def test_a_model_is_not_better_than_itself(against, tiny_llama: Path) -> None:
    report = against(tiny_llama)
    assert report.data["verdict"] == "same"
    assert report.data["perplexity"]["change"] == Number(1.0, 24, 1.0, 1.0).as_dict()
    assert report.summary.startswith("Same: ")
    assert "nothing was learned" in texts(report)


def test_a_spoiled_whole_model_is_worse_and_what_to_do_names_the_run(against, whole_model) -> None:
    torch.manual_seed(0)
    folder = whole_model(lambda name, tensor: tensor + torch.randn_like(tensor) * (0.2 if tensor.ndim == 2 else 0))
    report = against(folder, again=Again(Path("runs/a"), {"train.learning_rate": 0.1}))
    (slower, *_) = report.next_steps
    assert shlex.split(slower, comments=True)[:3] == ["luthier", "run", "runs/a/recipe.yaml"]
    assert report.data["verdict"] == "worse"
    assert ("perplexity", "WARN") in [(entry["measure"], entry["status"]) for entry in report.data["regression"]]
    assert report.findings[0].level == "warning"
    assert report.summary.startswith("Worse: ")


def test_few_rows_carry_no_verdict(against, trained_adapter: Path, rows: tuple[Example, ...]) -> None:
    report = against(trained_adapter, chosen=rows[:4])
    assert report.data["verdict"] == "undecided"
    for part in (*report.data["perplexity"].values(), *report.data["nll"].values()):
        assert (part["n"], part["low"], part["high"]) == (4, None, None)
    assert report.data["detectable"] == {"nats_per_token": None, "perplexity_ratio": None}
    assert "4 conversations can't carry a verdict" in texts(report)


def test_rows_that_can_t_be_measured_are_told(against, random_adapter: Path, rows: tuple[Example, ...]) -> None:
    unanswered = Example((Message("user", "Hello?"),), Source("rows.jsonl", 90))
    long = Example((Message("user", "Hello?"), Message("assistant", "Ho. " * 300)), Source("rows.jsonl", 91))
    report = against(random_adapter, chosen=[*rows, unanswered, long], max_length=128)
    assert report.data["rows"] == 24
    assert "1 conversation without a learned token" in texts(report)
    assert "1 conversation longer than 128 tokens" in texts(report)
    with pytest.raises(DataError, match=r"no held-out conversation can be measured \(1 without a learned token\)"):
        against(random_adapter, chosen=[unanswered])


def test_questions_are_spread_over_the_rows_and_end_before_the_last_answer(
    against, random_adapter: Path, rows: tuple[Example, ...]
) -> None:
    turns = (Message("system", "Be kind."), *rows[0].messages, Message("user", "And?"), Message("assistant", "So."))
    talk = Example(turns, Source("talk.jsonl", 1))
    samples = against(random_adapter, chosen=[talk, *rows], answers=5, samples=5).data["samples"]
    assert [sample["source"]["line"] for sample in samples] == [1, 5, 10, 15, 20]
    assert samples[0]["prompt"].startswith("system: Be kind.\n\nuser: Is the bridge ready?")
    assert samples[0]["prompt"].endswith("user: And?")
    assert samples[0]["expected"] == "So."
    assert samples[1]["prompt"] == rows[4].messages[0].text


def test_without_samples_nothing_is_asked(against, random_adapter: Path) -> None:
    report = against(random_adapter, answers=0)
    assert report.data["samples"] == []
    assert {metric["name"] for metric in report.data["metrics"]} == {
        *("bits_per_byte", "nll_per_row", "nll_all_tokens", "perplexity_all_tokens")
    }
    assert not any(isinstance(block, Comparison) for section in report.sections for block in section.blocks)


def test_answers_that_never_end_are_told(against, random_adapter: Path) -> None:
    report = against(random_adapter, max_new_tokens=1)
    *_, ended, length = report.data["metrics"]
    assert ended["name"] == "answers_ended"
    assert ended["tuned"]["value"] == 0
    assert 0 < ended["tuned"]["high"] < 1
    assert length["tuned"]["n"] == 3
    assert "3 of 3 tuned answers did not end within 1 token (base: 3 of 3)" in texts(report)


def test_the_trained_adapter_learns_to_stop(against, trained_adapter: Path) -> None:
    ended = against(trained_adapter, max_new_tokens=64, answers=6, samples=6).data["metrics"][-2]
    assert ended["tuned"]["value"] > ended["base"]["value"]


def test_a_loss_that_is_no_number_is_an_error_and_leaves_what_was_there(
    against, random_adapter: Path, whole_model, tmp_path: Path
) -> None:
    against(random_adapter)
    before = (tmp_path / "run" / "evaluate" / "report.json").read_bytes()
    start = torch.tensor([1])  # the token every turn begins with; a model of which all is NaN can't even be loaded
    folder = whole_model(lambda name, it: it.index_fill(0, start, float("nan")) if "embed" in name else it)
    with pytest.raises(Failed, match="the loss of the tuned model is not a number on 24 of 24 conversations"):
        against(folder)
    assert (tmp_path / "run" / "evaluate" / "report.json").read_bytes() == before


def test_a_folder_without_a_model_is_an_error(against, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither an adapter nor a model"):
        against(tmp_path)


def test_an_adapter_of_which_a_part_is_missing_is_an_error(against, random_adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(random_adapter, tmp_path / "part")
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[2:]), folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="the adapter can't be put on this base"):
        against(folder)


def test_an_adapter_of_another_base_is_an_error(against, random_adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(random_adapter, tmp_path / "other")
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: tensor.repeat(2, 2) for name, tensor in weights.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="the adapter can't be put on this base"):
        against(folder)


def test_a_tuned_model_with_more_tokens_can_t_be_compared(against, tiny_llama: Path, whole_model) -> None:
    base = whole_model(
        lambda name, tensor: tensor[:250] if name.endswith(("embed_tokens.weight", "lm_head.weight")) else tensor
    )
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": 250}))
    with pytest.raises(ModelError, match="the base model knows 250 tokens"):
        against(tiny_llama, base=base)


def renumbered(folder: Path) -> Path:
    """Give the tokens of a model's tokenizer other numbers."""
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["content"] for token in told["added_tokens"]}
    plain = [token for token in told["model"]["vocab"] if token not in special]
    numbers_of = [told["model"]["vocab"][token] for token in plain]
    told["model"]["vocab"] |= dict(zip(plain, reversed(numbers_of), strict=True))
    (folder / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def test_models_with_other_tokens_are_compared_by_byte(
    against, whole_model, tiny_llama: Path, rows: tuple[Example, ...]
) -> None:
    other = renumbered(whole_model(lambda _, tensor: tensor))
    report = against(other)
    data = report.data
    assert data["perplexity"] == {"base": None, "tuned": None, "change": None}
    assert data["nll"] == {"base": None, "tuned": None, "difference": None}
    assert data["detectable"]["nats_per_byte"] > 0
    assert "their tokens are others" in data["not_compared"]
    bits = data["metrics"][[metric["name"] for metric in data["metrics"]].index("bits_per_byte")]
    size = sum(len(row.messages[1].text.encode()) for row in rows)
    for name, folder in (("base", tiny_llama), ("tuned", other)):
        renderer = Renderer(load_tokenizer(folder), stop_ids(folder))
        texts_of = [text for row in rows for text in renderer.encode(row)]
        nats = row_nll(load_model(folder), texts_of, capacity=512).nll_R.sum()
        assert bits[name]["value"] == pytest.approx(nats / np.log(2) / size, rel=0.1)
    assert data["regression"][0]["measure"] == "bits_per_byte"
    assert "bits per byte on 24 held-out conversations" in report.summary
    pairs = [replace(row, rejected=(*row.messages[:1], Message("assistant", "No."))) for row in rows]
    with pytest.raises(ModelError, match="models with the same tokens"):
        against(other, chosen=pairs, kind="pair")


def test_several_models_stand_beside_one_base_and_count_together(
    against, random_adapter: Path, trained_adapter: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    alone = against(trained_adapter).data
    models = [*map(str, (trained_adapter, random_adapter, tiny_llama))]
    report = against(trained_adapter, others=[random_adapter, tiny_llama])
    data = report.data
    assert [one["models"]["tuned"] for one in data["compared"]] == models
    assert [one["verdict"] for one in data["compared"]][::2] == ["better", "same"]
    assert data["nll"] == alone["nll"]
    assert data["compared"][2]["nll"]["difference"]["value"] == 0
    assert data["models"] == alone["models"]
    for name, metric in ((one["name"], one) for one in data["metrics"] if one["p"] is not None):
        single = next(one for one in alone["metrics"] if one["name"] == name)
        assert metric["p"] >= single["p"]
        assert metric["base"] == single["base"]
    (table,) = report.sections[0].blocks
    assert [row[0] for row in table.rows] == ["base", *models]
    answers = (tmp_path / "run" / "evaluate" / "answers.jsonl").read_text().splitlines()
    assert {"base", "tuned", "tuned_2", "tuned_3"} <= set(json.loads(answers[0]))


def test_a_model_elsewhere_is_compared_by_its_answers(
    against, tiny_llama: Path, rows: tuple[Example, ...], tmp_path: Path
) -> None:
    expected = {row.messages[0].text: row.messages[1].text for row in rows}
    with Served(lambda asked: said(expected[asked.body["messages"][-1]["content"]])) as server:
        there = Elsewhere("there", server.url, "right")
        report = against(there, answers=24, max_new_tokens=7, sampling={"temperature": 0.5, "seed": 4})
    body = server.asked[0].body
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("right", 7, 0.5, 4)
    data = report.data
    assert (data["verdict"], data["perplexity"]["tuned"]) == ("better", None)
    assert data["not_compared"] == "an endpoint tells no likelihood of texts"
    exact = data["metrics"][0]
    assert (exact["name"], exact["tuned"]["value"], exact["verdict"]) == ("accuracy", 1, "better")
    assert report.summary.startswith("Better: ")
    assert " of 24 answers: 100 % (" in report.summary
    assert data["rows"] == 24


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.12, "−88 %"),
        (1.004, "+0.40 %"),
        (1.0, "0 %"),
        (0.99999999, "0 %"),
        (1.05, "+5.0 %"),
        (0.0003, "−99.97 %"),
        (13.0, "+1,200 %"),
    ],
)
def test_a_change_keeps_the_digits_that_matter(ratio: float, text: str) -> None:
    assert account.percent(ratio) == text


REWRITES = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{{ '!' if loop.last and m.role == 'assistant' else '' }}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Ends the last answer with a mark, so that each answer of a conversation is a text of its own."""


def test_a_conversation_of_several_texts_is_one_observation(
    against: Any, tiny_llama: Path, random_adapter: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    (base / "chat_template.jinja").write_text(REWRITES)
    turns = [
        Message("user", "Is it ready?"),
        Message("assistant", "Yes."),
        Message("user", "And the bow?"),
        Message("assistant", "No."),
    ]
    long = [Example(tuple(turns * 3), Source("rows.jsonl", line)) for line in range(1, 4)]
    report = against(random_adapter, base=base, chosen=long)
    assert report.data["perplexity"]["base"]["n"] == 3
    assert report.data["verdict"] == "undecided"  # three observations say nothing, whatever they are cut into
    short = against(random_adapter, base=base, chosen=[Example(tuple(turns[:2]), Source("rows.jsonl", 1))])
    assert short.data["tokens"] < report.data["tokens"]


LAST = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role }}"
    "{{ '!' if loop.last and m.role == 'assistant' else '' }}{{ m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant!' }}{% endif %}"
)
"""Rewrites earlier answers, so that each is a text of its own."""


@pytest.fixture
def rewriting(tiny_llama: Path, trained_adapter: Path, tmp_path: Path) -> Path:
    """Return an adapter whose chat template rewrites history."""
    folder = shutil.copytree(trained_adapter, tmp_path / "rewriting")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_llama / name, folder / name)
    (folder / "chat_template.jinja").write_text(LAST)
    return folder


def talk(rows: tuple[Example, ...], number: int, turns: int = 4) -> Example:
    """Return a conversation of several questions and answers."""
    parts = [rows[(number + place) % len(rows)] for place in range(turns)]
    return Example(tuple(turn for part in parts for turn in part.messages), Source("talks.jsonl", number + 1))


def test_a_conversation_of_several_texts_counts_once(against, rewriting: Path, rows: tuple[Example, ...]) -> None:
    report = against(rewriting, chosen=[talk(rows, number) for number in range(3)])
    assert report.data["rows"] == 3
    assert {part["n"] for part in report.data["perplexity"].values()} == {3}
    assert report.data["verdict"] == "undecided"
    assert report.data["perplexity"]["change"]["low"] is None
    assert report.summary.startswith("Undecided: perplexity on 3 held-out conversations ")
    assert "3 conversations can't carry a verdict" in texts(report)
    assert "in 3 held-out conversations (12 texts, because" in str(report.sections)
    assert report.data["texts"] == 12


def test_the_verdict_on_expanded_conversations_is_that_on_their_sums(
    tiny_llama: Path, against, rewriting: Path, rows: tuple[Example, ...]
) -> None:
    talks = [talk(rows, number, turns=2 + number % 3) for number in range(12)]
    data = against(rewriting, chosen=talks).data
    renderer = Renderer(load_tokenizer(rewriting), stop_ids(tiny_llama))
    groups = [renderer.encode(one) for one in talks]
    assert [len(group) for group in groups] == [2 + number % 3 for number in range(12)]
    texts = [text for group in groups for text in group]
    model = lora.load(load_model(tiny_llama), rewriting)
    with model.disable_adapter():
        base = row_nll(model, texts, capacity=512)
    tuned = row_nll(model, texts, capacity=512)
    ends = np.cumsum([len(group) for group in groups])[:-1]
    sums = [[part.sum() for part in np.split(each, ends)] for each in (base.nll_R, tuned.nll_R, base.tokens_R)]
    wanted = paired(*map(np.array, sums))
    assert data["nll"]["difference"] == pytest.approx(wanted.difference.as_dict(), rel=1e-4)
    assert data["verdict"] == wanted.verdict
    assert data["nll"]["difference"]["n"] == 12
    assert (data["rows"], data["texts"]) == (12, len(texts))


def test_a_tokenizer_of_vocab_and_merges_keeps_the_trained_template(
    against, trained_adapter: Path, tiny_llama: Path, rows: tuple[Example, ...], tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_llama, tmp_path / "base")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    (base / "tokenizer.json").unlink()
    (base / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (base / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, tokenizer["model"]["merges"])) + "\n")
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "Qwen2Tokenizer"}))
    tuned = shutil.copytree(trained_adapter, tmp_path / "tuned")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(base / name, tuned / name)
    (tuned / "chat_template.jinja").write_text(LAST)
    report = against(tuned, base=base, chosen=[talk(rows, number) for number in range(2)])
    assert report.data["texts"] == 8
    assert "chat template of the tuned model" in str(report.sections)


def test_stored_tokens_measure_what_those_made_in_memory_do(
    against, rewriting: Path, tiny_llama: Path, rows: tuple[Example, ...], tmp_path: Path
) -> None:
    unanswered = Example((Message("user", "Hello?"),), Source("talks.jsonl", 3))
    talks = [talk(rows, number, turns=1 + number % 3) for number in range(12)]
    talks[2] = unanswered
    path = tmp_path / "valid.jsonl"
    path.write_text("".join(json.dumps(one.as_dict()) + "\n" for one in talks))
    renderer = Renderer(load_tokenizer(rewriting), stop_ids(tiny_llama))
    stored = encode(path, tmp_path / "tokens", renderer, Limits(512), key="k", processes=1, progress=Silent())
    made, mapped = against(rewriting, chosen=talks), against(rewriting, chosen=talks, stored=stored)
    assert mapped.as_dict() == made.as_dict()
    assert (made.data["rows"], made.data["texts"]) == (11, len(stored))
    assert [sample["source"]["line"] for sample in made.data["samples"]] == [1, 5, 9]
    assert "1 conversation without a learned token" in texts(mapped)


def test_plain_text_is_documents_without_a_template(against, random_adapter: Path) -> None:
    documents = [
        Example((Message(TEXT, f"Peg {i} is in the hall. " * (1 + 9 * (i == 0))),), Source("a", i)) for i in range(5)
    ]
    report = against(random_adapter, chosen=documents, kind="text", max_length=40)
    told = f"{report.summary} {texts(report)} {report.sections}"
    assert "5 held-out documents" in report.summary
    assert "long ones in chunks" in told
    assert "conversation" not in told
    assert "chat template" not in told


def test_every_answer_is_kept_and_few_are_shown(against, random_adapter: Path, tmp_path: Path) -> None:
    report = against(random_adapter, answers=9, samples=2)
    lines = (tmp_path / "run" / "evaluate" / "answers.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [(answer["set"], set(answer["ended"])) for answer in answers] == [("held-out rows", {"base", "tuned"})] * 9
    shown = [{key: answer[key] for key in ("source", "prompt", "expected", "base", "tuned")} for answer in answers]
    assert report.data["samples"] == [shown[0], shown[4]]


class Letters:
    """A part that counts the parameters of a model, and refuses ones that have more."""

    def measure(self, subject: Subject) -> int:
        assert isinstance(subject, Loaded)
        return subject.model.num_parameters()

    def told(self, base: int, others: Sequence[int]) -> list[Told]:
        return [
            Told(
                data={"parameters": [base, tuned]},
                refused=["it grew"] if tuned > base else (),
                sections=[Section("Parameters", (Paragraph("Counted."),))],
            )
            for tuned in others
        ]


def test_a_part_measures_both_models_and_stands_in_the_report(against, random_adapter: Path) -> None:
    report = against(random_adapter, parts=[Letters()])
    base, tuned = report.data["parameters"]
    assert 0 < base < tuned
    assert report.data["gate"] == {"refused": ["it grew"]}
    assert "Parameters" in [section.title for section in report.sections]


def test_texts_longer_than_the_window_are_measured_whole(
    against, random_adapter: Path, rows: tuple[Example, ...]
) -> None:
    long = Example((Message("user", "Hello?"), Message("assistant", "Ho. " * 300)), Source("rows.jsonl", 91))
    report = against(random_adapter, chosen=[*rows, long], max_length=128, answers=0, window={"tokens": 128})
    assert report.data["rows"] == 25
    assert report.data["texts"] > 30
    assert not any("not measured" in finding.text for finding in report.findings)
    assert "windows of 128 tokens that move by 64" in str(report.sections)
    wide = against(random_adapter, chosen=rows, answers=0, window={"tokens": 400})
    assert wide.data == against(random_adapter, chosen=rows, answers=0).data


def test_bytes_and_rows_count_what_is_learned(against, random_adapter: Path, rows: tuple[Example, ...]) -> None:
    data = against(random_adapter, answers=0).data
    found = {metric["name"]: metric for metric in data["metrics"]}
    answers = sum(len(row.messages[1].text.encode()) for row in rows)
    bits = data["nll"]["tuned"]["value"] * data["tokens"] / np.log(2)
    # A template may put a space before an answer or a line end behind it.
    assert found["bits_per_byte"]["value"] == pytest.approx(bits / answers, rel=0.1)
    assert found["nll_per_row"]["value"] == pytest.approx(data["nll"]["tuned"]["value"], rel=0.2)
    assert found["nll_all_tokens"]["n"] == 24


def test_drawn_answers_and_texts_that_end_them(against, random_adapter: Path, tmp_path: Path) -> None:
    greedy = against(random_adapter).data["samples"]
    letters = {letter for sample in greedy for letter in sample["tuned"]}
    ended = against(random_adapter, stop=tuple(letters)).data
    assert [sample["tuned"] for sample in ended["samples"]] == [""] * 3
    assert {metric["name"]: metric["value"] for metric in ended["metrics"]}["answers_ended"] == 1
    drawn = [against(random_adapter, sampling={"seed": seed}).data["samples"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] not in (drawn[2], greedy)
