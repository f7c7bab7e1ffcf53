"""How the authors of well-known benchmarks publish their files, and what a row of each becomes.

A row becomes what the data set on the Hugging Face hub has, which is what the harness's tasks read. Anything else lies
below the folder as the hub stores it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

NO_TRUTH = "neither or both of right and wrong answers are missing"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one data set as published, and its columns as the hub has them."""

    known_as: str
    """What people call it."""
    folders: tuple[str, ...]
    """Where below the named folder its files may be; the folder itself counts too."""
    files: Mapping[str, tuple[str, ...]]
    """Names of the files of each split; `{part}` stands for the part of the data set."""
    columns: Mapping[str, Any]
    """Columns a task reads, each with its type, a list of one type, or a mapping of such."""
    reshape: Callable[[Row], dict[str, Any]] = dict
    """Makes those columns of a row as published.

    Raises:
        KeyError, ValueError, TypeError: It is no such row.
    """
    header: bool = True
    """Whether the first line of a table names its columns."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """What parts are called in the names of files, where that differs."""


def _mmlu(row: Row) -> dict[str, Any]:
    question, *choices, answer = row.values()
    if len(choices) != 4 or answer not in tuple("ABCD"):
        message = f"six cells are a question, four choices and a letter from A to D; here are {len(row)}"
        raise ValueError(message)
    return {"question": question, "choices": choices, "answer": "ABCD".index(answer)}


def _arc(row: Row) -> dict[str, Any]:
    asked = row["question"]
    columns = {key: [choice[key] for choice in asked["choices"]] for key in ("text", "label")}
    return {"question": asked["stem"], "choices": columns, "answerKey": str(row["answerKey"])}


def _hellaswag(row: Row) -> dict[str, Any]:
    texts = {name: row[name] for name in ("activity_label", "ctx_a", "ctx_b")}
    return {**texts, "endings": row["endings"], "label": str(int(row["label"]))}


def _winogrande(row: Row) -> dict[str, Any]:
    if "_" not in row["sentence"] or str(row["answer"]) not in ("1", "2"):
        message = "a sentence has a gap `_`, and its answer is 1 or 2"
        raise ValueError(message)
    return {**{name: row[name] for name in ("sentence", "option1", "option2")}, "answer": str(row["answer"])}


def _truthful(row: Row) -> dict[str, Any]:
    """Make choices of `mc_task.json`, or of `TruthfulQA.csv` as its authors do (arXiv:2109.07958)."""
    if "mc1_targets" in row:
        asked, found = row["question"], {name: [*row[f"{name}_targets"].items()] for name in ("mc1", "mc2")}
    else:
        asked, wrong = row["Question"], _several(row["Incorrect Answers"])
        right = {"mc1": [_ended(row["Best Answer"])], "mc2": _several(row["Correct Answers"])}
        found = {name: [(text, 1) for text in true] + [(text, 0) for text in wrong] for name, true in right.items()}
    targets: dict[str, Any] = {"question": asked}
    for name, choices in found.items():
        # The task takes the first for the right one.
        choices.sort(key=lambda choice: -int(choice[1]))
        labels = [int(label) for _, label in choices]
        if not 0 < sum(labels) < len(labels):
            raise ValueError(NO_TRUTH)
        targets[f"{name}_targets"] = {"choices": [text for text, _ in choices], "labels": labels}
    return targets


def _truthful_open(row: Row) -> dict[str, Any]:
    names = ("Type", "Category", "Question", "Best Answer", "Source")
    texts = {name.lower().replace(" ", "_"): row[name] for name in names}
    lists = {name.lower().replace(" ", "_"): _several(row[name]) for name in ("Correct Answers", "Incorrect Answers")}
    return {**texts, **lists}


def _several(text: str) -> list[str]:
    return [_ended(one) for one in text.split(";") if one.strip()]


def _ended(text: str) -> str:
    text = text.strip()
    return text if text.endswith(".") else f"{text}."


def _mgsm(row: Row) -> dict[str, Any]:
    question, number = row.values()
    return {"question": question, "answer": None, "answer_number": int(number.replace(",", ""))}


CHOICES = {"choices": [str], "labels": [int]}

LAYOUTS: Mapping[tuple[str, str], Layout] = {
    ("openai/gsm8k", ""): Layout(
        "grade-school-math (GSM8K)",
        ("gsm8k", "grade-school-math/grade_school_math/data", "grade_school_math/data"),
        {"train": ("train.jsonl",), "test": ("test.jsonl",)},
        {"question": str, "answer": str},
    ),
    ("SaylorTwift/bbh", ""): Layout(
        "BIG-Bench-Hard",
        ("bbh", "BIG-Bench-Hard/bbh", "BIG-Bench-Hard"),
        {"test": ("{part}.json", "{part}.jsonl")},
        {"input": str, "target": str},
    ),
    ("cais/mmlu", ""): Layout(
        "MMLU (hendrycks/test)",
        ("mmlu", "mmlu/data", "data"),
        {"test": ("test/{part}_test.csv",), "dev": ("dev/{part}_dev.csv",), "validation": ("val/{part}_val.csv",)},
        {"question": str, "choices": [str], "answer": int},
        _mmlu,
        header=False,
    ),
    ("Rowan/hellaswag", ""): Layout(
        "HellaSwag",
        ("hellaswag", "hellaswag/data"),
        {"validation": ("hellaswag_val.jsonl",), "train": ("hellaswag_train.jsonl",)},
        {"activity_label": str, "ctx_a": str, "ctx_b": str, "endings": [str], "label": str},
        _hellaswag,
    ),
    ("truthfulqa/truthful_qa", "multiple_choice"): Layout(
        "TruthfulQA",
        ("truthfulqa", "truthful_qa", "TruthfulQA", "TruthfulQA/data"),
        {"validation": ("mc_task.json", "data/mc_task.json", "TruthfulQA.csv")},
        {"question": str, "mc1_targets": CHOICES, "mc2_targets": CHOICES},
        _truthful,
    ),
    ("truthfulqa/truthful_qa", "generation"): Layout(
        "TruthfulQA",
        ("truthfulqa", "truthful_qa", "TruthfulQA"),
        {"validation": ("TruthfulQA.csv",)},
        {"question": str, "best_answer": str, "correct_answers": [str], "incorrect_answers": [str]},
        _truthful_open,
    ),
    ("allenai/ai2_arc", ""): Layout(
        "ARC",
        ("arc", "ai2_arc", "ARC-V1-Feb2018-2", "arc/ARC-V1-Feb2018-2"),
        {
            "test": ("{part}/{part}-Test.jsonl",),
            "validation": ("{part}/{part}-Dev.jsonl",),
            "train": ("{part}/{part}-Train.jsonl",),
        },
        {"question": str, "choices": {"text": [str], "label": [str]}, "answerKey": str},
        _arc,
    ),
    ("allenai/winogrande", ""): Layout(
        "WinoGrande",
        ("winogrande", "winogrande_1.1", "winogrande/winogrande_1.1"),
        {"validation": ("dev.jsonl",), "train": ("train_{part}.jsonl",)},
        {"sentence": str, "option1": str, "option2": str, "answer": str},
        _winogrande,
        parts={f"winogrande_{size}": size for size in ("xs", "s", "m", "l", "xl")},
    ),
    ("juletxara/mgsm", ""): Layout(
        "MGSM",
        ("mgsm",),
        {"test": ("mgsm_{part}.tsv",)},
        {"question": str, "answer_number": int},
        _mgsm,
        header=False,
    ),
}
"""By name on the hub, and part where layouts of parts differ."""


def layout_of(dataset: str, part: str) -> Layout | None:
    """Return how a data set is published, where that is known."""
    return LAYOUTS.get((dataset, part)) or LAYOUTS.get((dataset, ""))


def misfit(row: Row, columns: Mapping[str, Any]) -> str | None:
    """Return the first column that a row lacks or that holds something else, in words; None when all are right."""
    for name, wanted in columns.items():
        if name not in row:
            return f"it has no `{name}`"
        if not _is(row[name], wanted):
            return f"`{name}` should be {_words(wanted)}, got {type(row[name]).__name__}"
    return None


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(value, list) and bool(value) and all(_is(one, wanted[0]) for one in value)
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and misfit(value, wanted) is None
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def _words(wanted: Any) -> str:
    if isinstance(wanted, list):
        return f"a list, each {_words(wanted[0])}"
    if isinstance(wanted, Mapping):
        return "a mapping of " + ", ".join(f"`{name}`" for name in wanted)
    return {str: "a text", int: "a whole number"}[wanted]
