"""What a task asks of a model gets the answers of lm-evaluation-harness's own model of Transformers."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
import yaml
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM

from luthier.core.errors import DataError
from luthier.evaluate.benchmarks.catalog import Leaf
from luthier.evaluate.benchmarks.harness import Scorer
from luthier.evaluate.benchmarks.run import answers
from luthier.evaluate.benchmarks.tasks import Ready
from luthier.model.load import load_model, load_tokenizer
from luthier.recipe.benchmarks import Benchmark

TOPICS = ("violins", "bread", "rivers", "clocks", "wool", "maps")
CHOICES = ("It is made by hand.", "Nobody knows.", "It is made", "It sings in the rain, and then it sleeps.")


def hellaswag(i: int) -> dict[str, Any]:
    return {
        "ind": i,
        "activity_label": f"Making {TOPICS[i % 6]}",
        "ctx_a": f"A person is seen with {TOPICS[i % 6]} on table {i}.",
        "ctx_b": "the person",
        "endings": [
            f"{verb} {TOPICS[(i + n) % 6]} slowly." for n, verb in enumerate(("takes", "drops", "takes", "is"))
        ],
        "label": str(i % 4),
    }


def mmlu(i: int) -> dict[str, Any]:
    return {"question": f"What is said of {TOPICS[i % 6]} ({i})?", "choices": [*CHOICES], "answer": i % 4}


def truthfulqa(i: int) -> dict[str, Any]:
    targets = {"choices": [f"{choice} {i}" for choice in CHOICES[: 2 + i % 3]], "labels": [1, 0, 1, 0][: 2 + i % 3]}
    return {"question": f"How are {TOPICS[i % 6]} made?", "mc1_targets": targets, "mc2_targets": targets}


def arc(i: int) -> dict[str, Any]:
    choices = {"text": [*CHOICES[: 3 + i % 2]], "label": ["A", "B", "C", "D"][: 3 + i % 2]}
    return {"id": str(i), "question": f"Where do {TOPICS[i % 6]} come from?", "choices": choices, "answerKey": "B"}


def winogrande(i: int) -> dict[str, Any]:
    sentence = f"Ann gave Eve the {TOPICS[i % 6]} because _ was leaving on day {i}."
    return {"sentence": sentence, "option1": "Ann", "option2": "Eve", "answer": str(1 + i % 2)}


def gsm8k(i: int) -> dict[str, Any]:
    return {"question": f"Ann has {i} maps and buys 2. How many?", "answer": f"She has {i}+2={i + 2}.\n#### {i + 2}"}


def bbh(i: int) -> dict[str, Any]:
    return {"input": f"not ( {i % 2 == 0} ) and True is", "target": str(i % 2 == 1)}


SHORT = {"until": ["Question:", "\n\n"], "max_gen_toks": 24}
TASKS = {
    "hellaswag": ("hellaswag/hellaswag.yaml", hellaswag, {}),
    "mmlu": ("mmlu/default/mmlu_anatomy.yaml", mmlu, {"num_fewshot": 2}),
    "mc1": ("truthfulqa/truthfulqa_mc1.yaml", truthfulqa, {}),
    "mc2": ("truthfulqa/truthfulqa_mc2.yaml", truthfulqa, {}),
    "arc": ("arc/arc_easy.yaml", arc, {}),
    "winogrande": ("winogrande/default.yaml", winogrande, {}),
    "gsm8k": ("gsm8k/gsm8k.yaml", gsm8k, {"num_fewshot": 2, "generation_kwargs": SHORT}),
    "bbh": ("bbh/cot_fewshot/boolean_expressions.yaml", bbh, {"generation_kwargs": SHORT}),
}
SPLITS = ("train", "dev", "validation", "test")
"""Wherever a task looks for rows, it finds the same ones."""


@dataclass(frozen=True)
class Both:
    """Our model and the harness's own, over the same weights."""

    ours: Scorer
    theirs: HFLM


def begins_texts(tokenizer: Any) -> Any:
    """Return the tokenizer with a token before every text, as Llama's has."""
    tokenizer.bos_token = "<|im_start|>"
    first = ("<|im_start|>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", pair=None, special_tokens=[first]
    )
    return tokenizer


@pytest.fixture(scope="module", params=["bare", "begun"])
def both(request: pytest.FixtureRequest, tiny_llama: Path) -> Both:
    tokenizers = [load_tokenizer(tiny_llama) for _ in range(2)]
    one, other = map(begins_texts, tokenizers) if request.param == "begun" else tokenizers
    plain = AutoModelForCausalLM.from_pretrained(str(tiny_llama))
    return Both(Scorer(load_model(tiny_llama), one, capacity=1024), HFLM(plain, tokenizer=other, batch_size=4))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tasks")
    for name, (path, row, options) in TASKS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row(i)) + "\n" for i in range(5)), encoding="utf-8")
        task = {
            "include": str(Path(lm_eval.tasks.__file__).parent / path),
            "task": f"tiny_{name}",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": dict.fromkeys(SPLITS, str(data)), "cache_dir": str(folder / "cache")},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task | options), encoding="utf-8")
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded: dict[str, Any] = manager.load([f"tiny_{name}" for name in TASKS])
    return loaded


def results(model: Any, tasks: dict[str, Any], **options: bool) -> dict[str, Any]:
    for task in tasks["tasks"].values():
        task.set_fewshot_seed(1234)
    found: dict[str, Any] = evaluate(model, tasks, bootstrap_iters=0, log_samples=True, **options)
    return found


def ask(kind: str, *args: Any) -> Instance:
    return Instance(kind, {}, args, 0, ("tiny", 0, 1))


def test_every_task_has_the_harness_own_likelihoods_answers_and_scores(both: Both, tasks: dict[str, Any]) -> None:
    ours, theirs = results(both.ours, tasks), results(both.theirs, tasks)
    assert len(ours["samples"]) == 8
    for name, samples in ours["samples"].items():
        for one, other in zip(samples, theirs["samples"][name], strict=True):
            assert one["arguments"] == other["arguments"]
            for (mine,), (own,) in zip(one["resps"], other["resps"], strict=True):
                if isinstance(own, str):
                    assert mine == own
                else:
                    assert mine == (pytest.approx(own[0], abs=1e-4), own[1])
        for metric, value in ours["results"][name].items():
            wanted = theirs["results"][name][metric]
            # The score of mc2 is a share of likelihoods, every other a count of right ones.
            assert value == (pytest.approx(wanted, abs=1e-6) if name == "tiny_mc2" and metric == "acc,none" else wanted)


def test_a_task_asked_as_a_chat_has_the_harness_own_prompts_answers_and_scores(
    both: Both, tasks: dict[str, Any]
) -> None:
    asked = {name: tasks["tasks"][name] for name in ("tiny_mmlu", "tiny_arc", "tiny_gsm8k")}
    theirs = results(both.theirs, {"tasks": asked}, apply_chat_template=True, fewshot_as_multiturn=True)
    ready = [
        Ready(f"{name}-chat", Benchmark(task=name, chat=True), Leaf(name, {}), task, 5, range(5))
        for name, task in asked.items()
    ]
    ours = answers(both.ours, ready)
    for name, task in asked.items():
        turns = 1 + (task.config.num_fewshot or 0)
        assert {instance.args[0].count("<|im_start|>user") for instance in task.instances} == {turns}
        for answer, sample in zip(ours[f"{name}-chat"], theirs["samples"][name], strict=False):
            for mine, (own,) in zip(answer.said, sample["resps"], strict=True):
                assert mine == (own if isinstance(own, str) else pytest.approx(own[0], abs=1e-4))
            for measure, score in answer.scores.items():
                metric, _, kind = measure.partition(",")
                if kind == sample["filter"].replace("none", ""):
                    assert score == sample[metric]


def test_the_tables_of_the_harness_and_what_they_need_are_never_loaded(both: Both, tasks: dict[str, Any]) -> None:
    results(both.ours, {"tasks": {"tiny_arc": tasks["tasks"]["tiny_arc"]}})
    assert not {"pytablewriter", "dominate"} & sys.modules.keys()


STRINGS = [
    ("Question: why?\nAnswer:", " It is."),
    ("Question: why?\nAnswer: ", "It is."),
    ("Two spaces  ", "  and two more"),
    ("A line\n\n", "another"),
    ("wor", "d joined"),
    ("", "The violin buzzes."),
    ("", "<|im_start|>user"),
    ("<|im_start|>user", " begins by itself"),
    ("<|im_end|>", "after an end"),
    ("long " * 700, "ending of a context that is cut"),
    ("ü", "mläut 日本"),
]


def test_contexts_and_continuations_are_parted_and_cut_as_the_harness_does(both: Both) -> None:
    requests = [ask("loglikelihood", *pair) for pair in STRINGS]
    before = both.ours.clipped["tiny"]
    ours, theirs = both.ours.loglikelihood(requests), both.theirs.loglikelihood(requests, disable_tqdm=True)
    assert [likelihood for likelihood, _ in ours] == pytest.approx([likelihood for likelihood, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert both.ours.clipped["tiny"] == before + 1


def test_long_texts_are_rolled_over_in_windows_as_the_harness_does(both: Both) -> None:
    requests = [ask("loglikelihood_rolling", text) for text in ("The bow slips. " * 300, "Short.", "x")]
    theirs = both.theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert both.ours.loglikelihood_rolling(requests) == pytest.approx(theirs, rel=1e-6, abs=1e-4)


def test_answers_end_where_those_of_the_harness_end(both: Both) -> None:
    contexts = ["The violin", "Keep the guitar in its case; dry", "Why does " * 200]
    plain = [ask("generate_until", context, {"max_gen_toks": 12, "until": []}) for context in contexts]
    answers = both.ours.generate_until(plain)
    assert answers == both.theirs.generate_until(plain, disable_tqdm=True)
    until = {"max_gen_toks": 12, "until": [answers[0][3:5]]}
    stopped = [ask("generate_until", context, until) for context in contexts]
    assert both.ours.generate_until(stopped) == both.theirs.generate_until(stopped, disable_tqdm=True)
    assert both.ours.generate_until(stopped)[0] == answers[0].split(answers[0][3:5])[0]


def test_drawn_answers_are_the_same_for_the_same_seed_and_differ_for_one_prompt_asked_twice(both: Both) -> None:
    drawn = {"max_gen_toks": 8, "do_sample": True, "temperature": 1.0, "until": []}
    requests = [ask("generate_until", "The violin", drawn)] * 2
    first, second = both.ours.generate_until(requests)
    assert first != second
    assert both.ours.generate_until(requests) == [first, second]


CHATS = [
    [{"role": "user", "content": "Is the bow ready?"}],
    [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Is it?"}],
]


def test_conversations_become_the_texts_of_the_harness(both: Both) -> None:
    for chat in CHATS:
        assert both.ours.apply_chat_template(chat) == both.theirs.apply_chat_template(chat)
        begun = [*chat, {"role": "assistant", "content": "The answer is"}]
        wanted = both.theirs.apply_chat_template(begun, add_generation_prompt=False)
        assert both.ours.apply_chat_template(begun, add_generation_prompt=False) == wanted


@pytest.mark.parametrize(
    ("kind", "args", "problem"),
    [
        ("loglikelihood", ("A context", ""), "no token of its own"),
        ("loglikelihood", ("A context", "the peg slips " * 300), "the model reads 512 at once"),
        ("generate_until", ("A context", {"num_beams": 4}), "generates with `num_beams`"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_task(
    both: Both, kind: str, args: tuple[Any, ...], problem: str
) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        getattr(both.ours, kind)([ask(kind, *args)])
    assert caught.value.place == "tiny"
