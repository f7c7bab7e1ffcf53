import csv
import json
from pathlib import Path

import pytest

SUMS = [(number, number + 2) for number in range(1, 16)]


def lines(path: Path, rows: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def table(path: Path, rows: list, delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle, delimiter=delimiter).writerows(rows)


def hellaswag(number: int) -> dict:
    return {
        "ind": number,
        "activity_label": "Cooking",
        "ctx_a": f"Somebody takes {number} eggs.",
        "ctx_b": "then they",
        "ctx": f"Somebody takes {number} eggs. then they",
        "endings": ["break them.", "sing [aloud].", "fly away.", "sleep."],
        "label": number % 4,
        "split": "val",
    }


def arc(number: int) -> dict:
    choices = [{"text": f"{number + more} apples", "label": label} for label, more in zip("ABC", range(3), strict=True)]
    return {
        "id": str(number),
        "question": {"stem": f"{number} apples?", "choices": choices},
        "answerKey": "ABC"[number % 3],
    }


@pytest.fixture
def released(tmp_path):
    """Return a folder with a few rows of well-known benchmarks as their authors publish them."""
    home = tmp_path / "benchmarks"
    asked = [{"question": f"What is {a} and {b}?", "answer": f"It is {a + b}.\n#### {a + b}"} for a, b in SUMS]
    lines(home / "gsm8k" / "test.jsonl", asked)
    lines(home / "gsm8k" / "train.jsonl", [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(8)])
    for task in ("navigate", "snarks"):
        examples = [{"input": f"{task} {a} {b}?", "target": "Yes" if a % 2 else "No"} for a, b in SUMS]
        (home / "bbh").mkdir(exist_ok=True)
        (home / "bbh" / f"{task}.json").write_text(json.dumps({"canary": "none", "examples": examples}))
    for split, count in (("test", 12), ("dev", 5)):
        rows = [[f"{split} {n}, please?", "1", "2", "3", "4", "ABCD"[n % 4]] for n in range(count)]
        table(home / "mmlu" / split / f"anatomy_{split}.csv", rows)
    lines(home / "hellaswag" / "hellaswag_val.jsonl", [hellaswag(n) for n in range(12)])
    targets = {"mc1_targets": {"no": 0, "yes": 1}, "mc2_targets": {"no": 0, "yes": 1, "sure": 1}}
    mc_task = [{"question": f"Is {n} a number?", **targets} for n in range(12)]
    (home / "truthfulqa").mkdir()
    (home / "truthfulqa" / "mc_task.json").write_text(json.dumps(mc_task))
    for split in ("Train", "Dev", "Test"):
        lines(home / "arc" / "ARC-Easy" / f"ARC-Easy-{split}.jsonl", [arc(n) for n in range(12)])
    gap = [
        {
            "qID": str(n),
            "sentence": f"{n} took the cup as _ was thirsty.",
            "option1": "Ann",
            "option2": "Bob",
            "answer": "1",
        }
        for n in range(12)
    ]
    lines(home / "winogrande_1.1" / "dev.jsonl", gap)
    table(home / "mgsm" / "mgsm_de.tsv", [[f"Was ist {a} plus {b}?", f"{a + b}"] for a, b in SUMS], "\t")
    return home
