import math

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from luthier.core.markdown import code_spans, command_and_why, numeric_columns, sparkline, to_markdown
from luthier.core.report import Comparison, Curve, Finding, Paragraph, Report, Section, Table
from luthier.core.text import safe

PARSER = MarkdownIt("commonmark").enable("table")
"""An independent reader of Markdown."""

HARMLESS = {
    "text",
    "softbreak",
    "hardbreak",
    "strong_open",
    "strong_close",
    "code_inline",
    "em_open",
    "em_close",
}

hostile = st.text(alphabet=st.sampled_from("`*_[]()<>|~$&#:;!\\/@.-=+ \n\tab1é\x1b\u202e\ud800"), max_size=40)
texts = st.text(max_size=40) | hostile


def page(*blocks) -> Report:
    return Report("A report", "All is well.", {}, sections=(Section("Evidence", blocks),))


def shown(markdown: str) -> list:
    return [child for token in PARSER.parse(markdown) for child in token.children or ()]


@given(texts, texts)
def test_data_text_never_becomes_markup(prompt: str, answer: str) -> None:
    tokens = PARSER.parse(to_markdown(page(Comparison(prompt, (("base", answer),)))))
    blocks = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert blocks <= {"heading", "paragraph", "inline", "blockquote"}
    assert {child.type for token in tokens for child in token.children or ()} <= HARMLESS


@given(hostile.filter(str.strip))
def test_data_text_reads_as_it_is(answer: str) -> None:
    tokens = shown(to_markdown(page(Comparison("?", (("base", answer),)))))
    at = max(i for i, token in enumerate(tokens) if token.content == "base")
    # The parser, too, writes half characters as a replacement character.
    told = "".join(token.content for token in tokens[at:]).removeprefix("base").replace("\u2060", "")
    assert "".join(told.split()) == "".join(safe(answer).split())


@given(st.lists(st.tuples(texts, texts, texts), max_size=4))
def test_tables_keep_their_columns(rows: list[tuple[str, str, str]]) -> None:
    tokens = PARSER.parse(to_markdown(page(Table("", ("what", "`n`", "a|b"), tuple(rows)))))
    kinds = [token.type for token in tokens]
    assert kinds.count("th_open") == 3
    assert kinds.count("td_open") == 3 * len(rows)
    assert {child.type for token in tokens for child in token.children or ()} <= HARMLESS


def test_short_rows_are_filled_up() -> None:
    assert "| a   | 1   |\n" in to_markdown(page(Table("", ("x", "y"), (("a", "1"), ("b", "c"))))).replace(
        "  1 ", "1   "
    )
    assert PARSER.render(to_markdown(page(Table("", ("x",), (("a", "b"), ("c",)))))).count("<td") == 4


def test_addresses_do_not_become_links() -> None:
    markdown = to_markdown(page(Comparison("see https://a.example, www.b.example or me@c.example", ())))
    assert "https://" not in markdown
    assert "www." not in markdown
    assert "me@c" not in markdown


def test_findings_tell_their_level_and_hint() -> None:
    report = Report("R", "S", {}, findings=(Finding("warning", "12 rows were cut", "raise `max_length`"),))
    assert "- **warning**: 12 rows were cut\\\n  Hint: raise `max_length`" in to_markdown(report)


def test_line_breaks_and_indentation_of_an_answer_stay() -> None:
    html = PARSER.render(to_markdown(page(Comparison("?", (("base", "def f():\n    return 1\n\nend"),)))))
    assert "<p>def f():<br />\n\u00a0\u00a0\u00a0\u00a0return 1</p>" in html


def test_next_steps_cannot_leave_their_block() -> None:
    html = PARSER.render(to_markdown(Report("R", "S", {}, next_steps=("echo '\n```\n<b>'  # why",))))
    assert "<b>" not in html


def test_a_curve_is_told_in_numbers() -> None:
    curve = Curve("Loss", "step", "nats", (("train", ((0, 3.0), (1, math.nan), (2, 1.0))), ("valid", ())))
    markdown = to_markdown(page(curve))
    assert "**Loss, over step**" in markdown
    assert "| train | █ ▁   |     3 |    1 |      1 |       3 |" in markdown


def test_numbers_stand_to_the_right_and_the_first_column_never() -> None:
    rows = (
        ("1", "1,204", "−3.1 %", "8.21 (8.02 to 8.40)", "one", "15.0 GB"),
        ("2", "—", "", "n/a", "1", "1 B"),
    )
    assert numeric_columns(rows) == [False, True, True, True, False, True]


@given(st.lists(st.floats()), st.integers(1, 40))
def test_a_sparkline_is_never_wider_than_asked(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= min(width, len(values))


def test_equal_values_are_a_level_line() -> None:
    assert sparkline([2.0, 2.0, 2.0]) == "▅▅▅"


@given(texts)
def test_code_spans_lose_nothing(text: str) -> None:
    assert "".join(f"`{piece}`" if code else piece for piece, code in code_spans(text)) == text


def test_a_next_step_is_a_command_and_why() -> None:
    assert command_and_why("luthier evaluate RUN  # is it better?") == (
        "luthier evaluate RUN",
        "is it better?",
    )
    assert command_and_why("luthier serve '#1'") == ("luthier serve '#1'", "")


def test_paragraphs_keep_code() -> None:
    assert "kept in `model/`\n\nand `more`" in to_markdown(page(Paragraph("kept in `model/`\n\nand `more`")))
