import io
import json
import subprocess
import sys

import pytest

from luthier.cli import show
from luthier.core.errors import DataError, Problems, RecipeError
from luthier.core.report import (
    Bars,
    Change,
    Changes,
    Comparison,
    Curve,
    Finding,
    Histogram,
    Paragraph,
    Record,
    Records,
    Report,
    Section,
    Table,
    Token,
    TokenText,
)


class TerminalStream(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


def full(text: str = "words") -> Report:
    table = Table("Perplexity", ("rows", "n"), tuple((f"row {i}", str(i)) for i in range(30)))
    curve = Curve("Loss", "step", "nats", (("train", ((0, 3.0), (1, 2.0), (2, 1.0))),))
    blocks = (
        Paragraph(text),
        table,
        curve,
        *[Comparison(f"prompt {i}", (("base", text),)) for i in range(5)],
    )
    findings = (Finding("warning", text, "look at `tickets.csv`"),)
    return Report("Evaluation", text, {"n": 3}, (Section("Evidence", blocks),), findings, ("luthier merge R  # one",))


def test_json_is_the_only_thing_on_standard_output(capsys) -> None:
    show.report(full("\ud800 and é"), as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["summary"] == "\ud800 and é"
    assert err == ""


def test_data_text_is_no_markup_and_no_terminal_command(capsys) -> None:
    show.report(full("[bold]loud[/bold] [/] :smile: \x1b[2J"), as_json=False)
    out = capsys.readouterr().out
    assert "[bold]loud[/bold] [/] :smile: \\x1b[2J" in out
    assert "\x1b" not in out


def test_the_report_fits_the_terminal(capsys) -> None:
    show.report(full("word " * 60), as_json=False)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for piece in ("warning", "hint: look at `tickets.csv`", "█▅▁", "luthier merge R  # one", "prompt 0"):
        assert piece in out


def test_a_verdict_in_a_crowded_table_is_one_word_and_no_figure_is_cropped(capsys) -> None:
    long, figure = "a name of several words", "−0.123456789012345678901234567890"
    header = ("benchmark", "measure", "base", "tuned", "change", "verdict")
    table = Table("", header, ((long, long, long, long, figure, "undecided"),) * 2)
    show.report(Report("E", "s", {}, (Section("Evidence", (table,)),)), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("undecided" in line for line in lines) == 2
    assert sum(letter.isdigit() for line in lines for letter in line) == 2 * sum(map(str.isdigit, figure))


def test_long_parts_are_cut_unless_all_is_asked_for(capsys) -> None:
    show.report(full("line\n" * 20), as_json=False)
    short = capsys.readouterr().out
    assert "… 10 more rows (`--verbose` shows all)" in short
    assert "… 2 more (`--verbose` shows all)" in short
    assert "more lines" in short
    show.report(full("line\n" * 20), as_json=False, verbose=True)
    long = capsys.readouterr().out
    assert "more" not in long
    assert "row 29" in long
    assert "prompt 4" in long


def test_details_are_left_to_the_page_unless_all_is_asked_for(capsys) -> None:
    drawn = (
        Histogram("Tokens", "tokens", (0, 10, 20), (("prompt", (3, 1)),)),
        Bars("Labels", "label", (("good", 3),)),
        Changes("Before and after", (Change("control", "a.jsonl:1", "a\x1b[31mb", "ab"),)),
        Records("Dropped", (Record("duplicate", "a.jsonl", 2, "x\u202ey", "like another"),), 1),
    )
    report = Report("Data", "S", {}, (Section("Short", (Paragraph("p"),)), Section("Long", drawn, detail=True)))
    show.report(report, as_json=False)
    short = capsys.readouterr().out
    assert "Short" in short
    assert "Long" not in short
    show.report(report, as_json=False, verbose=True)
    long = capsys.readouterr().out
    for piece in ("10 to 20", "100.0%", "a[-\\x1b[31m-]b", "x\\x202ey"):
        assert piece in long
    assert "\x1b" not in long


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_only_where_wanted(monkeypatch, no_color) -> None:
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("NO_COLOR", no_color)
    show.report(full(), as_json=False)
    assert ("\x1b[33m" in stream.getvalue()) is (no_color == "")


def test_an_encoding_that_lacks_letters_is_no_error(monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    show.report(full("café \ud800"), as_json=False)
    sys.stdout.flush()
    assert b"caf\\xe9 \\ud800" in raw.getvalue()


def test_errors_tell_place_problem_and_hint(capsys) -> None:
    first = RecipeError("unknown key `beeta`", hint="did you mean `beta`?", place="recipe.yaml:3")
    show.errors(Problems([first, DataError("no rows\x1b[2J", hint="name another file")]))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: recipe.yaml:3: unknown key `beeta`\n  hint: did you mean `beta`?\n"
        "error: no rows\\x1b[2J\n  hint: name another file\n"
    )


def test_errors_are_coloured_on_a_terminal_only(monkeypatch) -> None:
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stderr", stream)
    show.errors(DataError("no rows", hint="name another file"))
    assert stream.getvalue().startswith("\x1b[1;31merror:\x1b[0m no rows\n")


def test_a_stage_of_less_than_a_second_is_one_line(capsys) -> None:
    with show.progress() as bar:
        bar.start("prepare", 4_000_000, "byte")
        for done in range(0, 4_000_001, 100_000):
            bar.update(done)
        bar.end()
    assert capsys.readouterr().err == "prepare: done in 0.0 s\n"


def test_progress_in_a_pipe_is_a_few_plain_lines(capsys, monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("luthier.cli.show.time.monotonic", lambda: clock[0])
    with show.progress() as bar:
        bar.start("train", 240, "step")
        for step in range(1, 241):
            clock[0] += 0.2
            bar.update(step, f"loss {step / 100:.3f}")
        bar.end("loss 2.400")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 11
    assert lines[0].startswith("train: 10 % · 24/240 steps")
    assert lines[-1].startswith("train: done in 48 s")
    assert lines[-1].endswith("loss 2.400")
    assert not set(err) & {"\x1b", "\r"}


def test_progress_on_a_terminal_is_a_bar_that_gives_the_cursor_back(monkeypatch) -> None:
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stderr", stream)

    def interrupted() -> None:
        with show.progress() as bar:
            bar.start("train", 10, "step")
            bar.update(5, "loss [red]1.2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    shown = stream.getvalue()
    assert "50 %" in shown
    assert "loss [red]1.2" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


@pytest.mark.parametrize("how", [{"quiet": True}, {"as_json": True}])
def test_progress_can_be_silent(capsys, how) -> None:
    with show.progress(**how) as bar:
        bar.start("train", 0, "step")
        bar.update(1)
        bar.end()
    assert capsys.readouterr() == ("", "")


def test_a_continued_run_is_not_counted_as_fast(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = show.Pace(total=200, unit="step")
    for second, done in [(5.0, 100), (15.0, 120)]:
        now[0] = second
        pace.mark(done)
    assert pace.words("loss 1.0") == "120/200 steps · 40 s left · loss 1.0 · 2.0 steps/s"


def test_importing_show_is_light() -> None:
    check = "import sys; from luthier.cli import show; show.say('hello'); assert 'rich' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr == "hello\n"


def token_report(*blocks: TokenText) -> Report:
    return Report("Inspect", "S", {}, (Section("Rows", blocks), Section("More", blocks)))


def row(*, long: int = 0) -> TokenText:
    words = [Token("<|user|>", 1, "context", special=True), Token("Why?\x1b[2J [red] ", 2, "context")]
    words += [Token(f" c{index}", index, "context") for index in range(long)]
    words += [Token("so", 4, "learned"), Token("\n", 5, "learned"), Token("it", 6, "learned"), Token("!", 7, "cut")]
    return TokenText("tickets.csv:1", tuple(words), "ends with `it`", 1)


def test_tokens_are_told_apart_in_a_pipe(capsys) -> None:
    show.report(token_report(row()), as_json=False)
    out = capsys.readouterr().out
    assert "  tickets.csv:1\n  ends with `it`\n  ⟨<|user|>⟩▶Why?\\x1b[2J [red]␣◀⟦so⏎\n  it⟧✂!✂\n" in out
    assert out.count("⟦learned⟧   context   ⟨special token⟩   ✂cut✂   ▶first difference◀") == 1


@pytest.mark.parametrize("no_color", ["", "1"])
def test_tokens_have_brackets_where_colour_is_not_wanted(monkeypatch, no_color) -> None:
    stream = TerminalStream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("NO_COLOR", no_color)
    show.report(token_report(row()), as_json=False)
    shown = stream.getvalue()
    assert ("⟦" in shown) is ("✂" in shown) is bool(no_color)
    assert ("\x1b[1;4;32mso\x1b[0m\x1b[4;32m⏎" in shown) is not bool(no_color)
    assert "\x1b[2J" not in shown


def test_a_very_long_row_loses_the_middle_of_its_context_only(capsys) -> None:
    show.report(token_report(row(long=900)), as_json=False)
    out = capsys.readouterr().out
    assert "⋯ 7" in out
    assert "so⏎" in out
    assert "c450" not in out
    assert "`--verbose` shows all" in out
    assert max(map(len, out.splitlines())) <= 80
    show.report(token_report(row(long=900)), as_json=False, verbose=True)
    out = capsys.readouterr().out
    assert "⋯" not in out
    assert all(f"c{index}" in out for index in range(900))


def test_a_row_without_tokens_says_why(capsys) -> None:
    show.report(token_report(TokenText("tickets.csv:2", (), "left out: too long")), as_json=False)
    assert "  tickets.csv:2\n  left out: too long\n" in capsys.readouterr().out


def test_tokens_on_an_encoding_that_lacks_the_signs_are_no_error(monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    show.report(token_report(row()), as_json=False)
    sys.stdout.flush()
    assert b"\\u27e6so" in raw.getvalue()
