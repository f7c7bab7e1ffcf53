import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.cli.main import COMMANDS, _run
from luthier.cli.options import given_recipe
from luthier.recipe.load import parse_recipe

HEAVY = ("torch", "transformers", "peft", "numpy", "safetensors", "tokenizers", "gguf", "xllamacpp")
ROOT = Path(__file__).parents[2]


def luthier(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "luthier", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


def loaded(arguments: list[str], cwd: Path, *, missing: str = "") -> set[str]:
    """Return the modules a command has imported when it ends; `missing` is one that is not installed."""
    code = (
        f"import json, sys\nmissing = {missing!r}\nif missing: sys.modules[missing] = None\n"
        "from luthier.cli.main import _run\n"
        f"code = _run({arguments!r})\nassert code == 0, code\n"
        "print('MODULES' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.rpartition("MODULES")[2]))


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], set()),
        (["check", "recipe.yaml"], set()),
        (["prepare", "--data", "rows.jsonl", "-q"], {"numpy", "tokenizers"}),
        (["explain", "rank"], set()),
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str], needed: set[str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"question": f"How about {i}?", "answer": f"Like {i}."}) + "\n" for i in range(9))
    )
    (tmp_path / "recipe.yaml").write_text("model: bundled\ndata: {sources: [rows.jsonl]}\n")
    assert not loaded(arguments, tmp_path) & (set(HEAVY) - needed)


def test_help_imports_not_even_pydantic_or_rich(tmp_path: Path) -> None:
    assert not loaded(["--help"], tmp_path) & {"pydantic", "rich", "yaml"}


def test_the_plan_needs_no_torch_where_transformers_is_not_installed(
    tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    arguments = ["plan", "--data", str(tickets), "--model", str(tiny_llama), "-q"]
    assert not loaded(arguments, tmp_path, missing="transformers") & {"torch", "peft"}


def test_the_first_line_comes_before_anything_heavy(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    arguments = ["train", "--data", str(tickets), "--model", str(tiny_llama), "--out", str(tmp_path / "r")]
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "luthier", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    before = []
    for line in process.stderr:
        if line.startswith("luthier train"):
            break
        before.append(line.rpartition("|")[2].strip())
    process.kill()
    process.communicate()
    assert not {name.partition(".")[0] for name in before} & {*HEAVY, "pydantic", "rich", "yaml"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_contract(command: str) -> None:
    done = luthier(command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert len(done.stdout.splitlines()) > 4
    assert f"`luthier {command}" in (ROOT / "docs" / "reference" / "contract.md").read_text(encoding="utf-8")


def test_four_mistakes_give_four_located_errors_with_hints_and_exit_2(tmp_path: Path) -> None:
    recipe = "model: bundled\ndata:\n  sources: [a.csv]\n  formatt: auto\n"
    recipe += "train:\n  epochs: three\n  learning_rat: 1\n  seed: -1\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    done = luthier("check", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [re.match(r"error: recipe\.yaml:(\d+): ", line).group(1) for line in errors] == ["4", "6", "7", "8"]  # type: ignore[union-attr]
    assert done.stderr.count("\n  hint: ") == 4
    assert "did you mean `learning_rate`?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--data", "missing.csv", "--model", "bundled"], "missing.csv"),
        (["run", "--data", "empty.csv", "--model", "bundled"], "empty.csv"),
        (["train", "--data", "rows.csv", "--model", "folder"], "no model"),
        (["train", "--data", "rows.csv", "--model", "./nowhere"], "no such model folder"),
        (["train", "missing.yaml"], "missing.yaml"),
        (["train"], "no recipe was named"),
        (["evaluate", "folder"], "no run in this folder"),
        (["evaluate"], "nothing says what is to be compared"),
        (["evaluate", "--model", "a"], "nothing says what is to be compared"),
        (["evaluate", "folder", "--against", "b"], "--against says what is measured where there is no RUN"),
        (["exprot"], "did you mean `export`?"),
        (["train", "--nonsense"], "--nonsense"),
        (["run", "--data", "rows.csv", "--model", "bundled", "--set", "train.epoch=2"], "did you mean `epochs`?"),
    ],
)
def test_what_was_asked_wrongly_is_told_with_a_hint_and_exit_2(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "rows.csv").write_text("question,answer\nWhy?,Because.\nHow?,Like this.\n")
    (tmp_path / "folder").mkdir()
    done = luthier(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "  hint: " in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["2024", "null", "1e5", "_draft_", "true"])
def test_a_run_is_named_after_its_data_file_whatever_that_is_called(name: str, tickets: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.csv"
    file.write_bytes(tickets.read_bytes())
    recipe, text = given_recipe(
        None, data=(str(file),), model="bundled", data_format=None, technique=None, overrides=()
    )
    assert recipe.name == name.strip("_")
    assert parse_recipe(text, file="recipe.yaml") == recipe


def test_an_error_leaves_stdout_to_the_data(tmp_path: Path) -> None:
    assert luthier("check", "missing.yaml", "--json", cwd=tmp_path).stdout == ""


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("luthier.recipe.explain.explain", broken)
    with pytest.raises(ZeroDivisionError):
        _run(["explain", "rank"])


@pytest.mark.slow
def test_help_takes_a_fifth_of_a_second(tmp_path: Path) -> None:
    # Processor time, best of five: what the machine does besides must not matter.
    best = min(_seconds(tmp_path) for _ in range(5))
    assert best < 0.2


def _seconds(cwd: Path) -> float:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert luthier("--help", cwd=cwd).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--benchmarks", ","], "`--benchmarks` names none"),
        (["--data-dir", "there"], "nothing says what is to be compared"),
    ],
)
def test_an_evaluation_of_no_benchmark_is_refused(
    asked: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["evaluate", "--model", "a", "--against", "b", *asked]) == 2
    assert told in capsys.readouterr().err
