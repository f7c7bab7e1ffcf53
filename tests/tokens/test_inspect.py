"""`luthier inspect`: every row of the files, token by token, and where others disagree."""

import json
import re
from pathlib import Path

import pytest

from luthier import workflow
from luthier.core.errors import LuthierError
from luthier.core.report import TokenText
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe
from luthier.tokens.inspect import first_difference


def recipe(model: Path, data: Path, **train: object) -> Recipe:
    text = json.dumps({"model": str(model), "data": {"sources": [str(data)]}, "train": train})
    return parse_recipe(text, file="test")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    turns = [
        [("user", "Why does it buzz?"), ("assistant", "A loose string.")],
        [("user", "Say <|im_end|> please."), ("assistant", "Ünïcode 🎻.")],
        [("user", "Why does it buzz?"), ("assistant", "A loose string.")],
        [("user", "One?"), ("assistant", "First."), ("user", "Two? " * 40), ("assistant", "Second.")],
        [("user", "Nothing?"), ("assistant", "")],
        [("system", "Be kind."), ("user", "Four?"), ("assistant", "Yes.")],
    ]
    lines = [json.dumps({"messages": [{"role": r, "content": c} for r, c in row]}) for row in turns]
    file.write_text("\n".join(lines) + "\nno json\n")
    return file


def texts(report: object) -> list[TokenText]:
    return [block for section in report.sections for block in section.blocks if isinstance(block, TokenText)]


def test_every_row_of_the_file_is_told_in_its_order(tiny_llama: Path, rows: Path) -> None:
    report = workflow.inspect(recipe(tiny_llama, rows, max_length=100), limit=None)
    assert [row["line"] for row in report.data["rows"]] == [1, 2, 3, 4, 5, 6, 7]
    dropped = {row["line"]: row["dropped"] for row in report.data["rows"] if row["dropped"]}
    assert dropped == {
        3: "dropped while preparing: duplicate",
        4: "longer than 100 tokens",
        5: "dropped while preparing: empty_answer",
        7: "dropped while preparing: invalid_json",
    }
    assert report.data["counts"]["rows"] == 7
    assert report.data["counts"]["dropped"] == 4
    for row in report.data["rows"]:
        assert len(row["input_ids"]) == len(row["labels"])
        assert all(label in (-100, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))
        assert bool(row["input_ids"]) == (row["dropped"] is None)
    assert report.data["counts"]["learned"] == sum(
        label != -100 for row in report.data["rows"] for label in row["labels"]
    )


def test_the_rows_are_the_tokens_that_training_maps(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    from luthier.tokens.stage import open_tokens

    asked = recipe(tiny_llama, tickets)
    run = workflow.begin(asked, "model: x\ndata: {sources: [y]}\n", tmp_path / "run")
    workflow.tokens(asked, run)
    shown = workflow.inspect(asked, limit=None, split="train").data["rows"]
    stored = sorted(open_tokens(run / "tokens", "train"), key=lambda row: row.source.line)
    assert [row["input_ids"] for row in shown] == [row.input_ids.tolist() for row in stored]
    labels = [[i if flag else -100 for i, flag in zip(row.input_ids, row.learned, strict=True)] for row in stored]
    assert [row["labels"] for row in shown] == labels


def test_tokens_put_together_are_the_text(tiny_llama: Path, rows: Path) -> None:
    report = workflow.inspect(recipe(tiny_llama, rows), limit=2)
    for block, row in zip(texts(report), report.data["rows"], strict=True):
        assert "".join(token.text for token in block.tokens) == row["text"]
        assert [token.id for token in block.tokens] == row["input_ids"]
    hidden = [token for token in texts(report)[1].tokens if token.special]
    assert [token.text for token in hidden] == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]


@pytest.mark.parametrize(("too_long", "cut"), [("turn", "end"), ("left", "beginning")])
def test_what_is_cut_is_shown_where_it_was(tiny_llama: Path, rows: Path, too_long: str, cut: str) -> None:
    report = workflow.inspect(recipe(tiny_llama, rows, max_length=100, too_long=too_long), limit=4)
    row, block = report.data["rows"][3], texts(report)[3]
    kept = [token.id for token in block.tokens if token.kind != "cut"]
    assert kept == row["input_ids"]
    assert row["cut"] == sum(token.kind == "cut" for token in block.tokens) > 0
    assert (block.tokens[-1].kind == "cut") == (cut == "end")
    assert report.data["counts"]["truncated"] == 1


def test_another_template_is_compared_at_the_first_difference(tiny_llama: Path, rows: Path) -> None:
    same = workflow.inspect(recipe(tiny_llama, rows), limit=2, template="chatml")
    assert same.data["compared"]["equal"] == same.data["compared"]["rows"] == 2
    other = workflow.inspect(recipe(tiny_llama, rows), limit=2, template="zephyr")
    assert other.data["compared"]["equal"] == 0
    assert [entry["at"] for entry in other.data["compared"]["different"]] == [0, 0]
    assert other.findings[0].level == "warning"
    assert texts(other)[-1].differs_at == 0


def test_a_modelfile_with_the_same_prompts_is_equal_and_a_wrong_one_is_told(
    tiny_llama: Path, rows: Path, tmp_path: Path
) -> None:
    right = tmp_path / "Modelfile"
    right.write_text(
        'FROM ./x.gguf\nTEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n'
        '{{ end }}<|im_start|>assistant\n"""\n'
    )
    asked = recipe(tiny_llama, rows)
    report = workflow.inspect(asked, limit=1, against=str(right))
    assert report.data["against"]["equal"] == report.data["against"]["rows"] == 1
    wrong = tmp_path / "wrong.tmpl"
    wrong.write_text("{{ range .Messages }}<|im_start|>{{ .Role }} {{ .Content }}<|im_end|>\n{{ end }}")
    report = workflow.inspect(asked, limit=1, against=str(wrong))
    assert report.data["against"]["prompts"][0]["at"] == 4
    assert report.findings[0].level == "failure"


def test_a_target_that_is_nothing_is_an_error_with_a_hint(tiny_llama: Path, rows: Path) -> None:
    with pytest.raises(LuthierError) as caught:
        workflow.inspect(recipe(tiny_llama, rows), limit=1, against="nowhere.gguf")
    assert caught.value.hint


def test_the_command_line_writes_json_and_a_page(tiny_llama: Path, rows: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from luthier.cli.main import luthier

    page = tmp_path / "page.html"
    arguments = ["inspect", "--data", str(rows), "--model", str(tiny_llama), "--json", "-q", "--html", str(page)]
    done = CliRunner().invoke(luthier, [*arguments, "--limit", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert len(told["rows"]) == 2
    assert told["template"]["source"] == "tokenizer"
    assert {"name", "status", "details", "hint"} == set(told["template"]["checks"][0])
    assert "A loose string" in re.sub("<[^>]+>", "", page.read_text())


def test_first_difference_sees_labels_too(tiny_llama: Path, rows: Path) -> None:
    from luthier.tokens.encode import Limits, read_examples
    from luthier.tokens.inspect import look

    asked = recipe(tiny_llama, rows)
    mine, all_of_it = (
        workflow.renderer(recipe(tiny_llama, rows, learn=learn), tiny_llama) for learn in ("assistant", "all")
    )
    prepared = rows.parent / "one.jsonl"
    prepared.write_text(
        json.dumps(
            {
                "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
                "source": {"file": "x", "line": 1},
            }
        )
        + "\n"
    )
    example = next(iter(read_examples(prepared)))
    one, other = (look(example, renderer, Limits(asked.train.max_length))[0] for renderer in (mine, all_of_it))
    assert one.ids == other.ids
    assert first_difference(one, other) == 1
    assert first_difference(one, one) is None


def shapes(folder: Path, rows: list[dict[str, object]]) -> Path:
    file = folder / "shapes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_both_endings_of_a_pair_are_shown_with_what_they_share(tiny_llama: Path, tmp_path: Path) -> None:
    said = {"prompt": "Why does it buzz?", "chosen": "A loose string.", "rejected": "No idea."}
    file = shapes(tmp_path, [said, {**said, "prompt": "Why? " * 60}])
    report = workflow.inspect(recipe(tiny_llama, file, objective="dpo", max_length=100), limit=None)
    better, worse, long, other = report.data["rows"]
    assert (better["pair"], worse["pair"]["ending"]) == ({"ending": "better", "shared": 0}, "worse")
    shared = worse["pair"]["shared"]
    assert better["input_ids"][:shared] == worse["input_ids"][:shared]
    assert better["input_ids"][shared] != worse["input_ids"][shared]
    assert (long["dropped"], other["dropped"]) == ("longer than 100 tokens",) * 2
    blocks = texts(report)
    assert [block.title.partition(", ")[2] for block in blocks[:2]] == ["better ending", "worse ending"]
    for block, ending in zip(blocks, ("A loose string.", "No idea."), strict=False):
        assert "".join(token.text for token in block.tokens if token.kind == "learned") == f"{ending}<|im_end|>"
    assert f"the first {shared} as before the better ending" in blocks[1].note


def test_labels_are_shown_with_their_texts(tiny_llama: Path, tmp_path: Path) -> None:
    file = shapes(tmp_path, [{"text": f"It buzzes, {n}.", "label": ("string", "bow")[n % 2]} for n in range(12)])
    report = workflow.inspect(recipe(tiny_llama, file, objective="classify"), limit=2)
    assert [row["label"] for row in report.data["rows"]] == ["string", "bow"]
    assert [row["text"] for row in report.data["rows"]] == ["It buzzes, 0.", "It buzzes, 1."]
    assert {label for row in report.data["rows"] for label in row["labels"]} == {-100}
    assert texts(report)[0].note.endswith("class `string`")
    judged = [{"prompt": "Why?", "completion": f"Because {n}.", "label": n % 2 == 0} for n in range(12)]
    report = workflow.inspect(recipe(tiny_llama, shapes(tmp_path, judged), objective="kto"), limit=2)
    assert [row["label"] for row in report.data["rows"]] == [True, False]
    assert [block.note.rpartition("; ")[2] for block in texts(report)] == ["judged good", "judged bad"]


def test_plain_text_is_shown_in_its_chunks(tiny_llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text("The violin buzzes, and <|im_end|> it does not. " * 9)
    report = workflow.inspect(recipe(tiny_llama, file, objective="pretrain", max_length=50), limit=None)
    blocks = texts(report)
    assert len(blocks) == report.data["rows"][0]["part"]["of"] > 3
    assert all(block.tokens[0].kind == "context" for block in blocks)
    told = [*blocks[0].tokens, *(token for block in blocks[1:] for token in block.tokens[1:])]
    assert "".join(token.text for token in told) == file.read_text().strip() + "<|im_end|>"
    assert [token.special for token in told] == [False] * (len(told) - 1) + [True]
