"""Pages as a real browser shows them: nothing hostile runs, nothing is loaded, what can be chosen can be chosen."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import HOSTILE, Browser, found
from luthier.core.html import to_html
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
from luthier.data.prepare import prepare
from luthier.recipe.data import Data

SHOWN = "[...document.querySelectorAll('.records tbody tr')].filter(row => !row.hidden)"
STATUS = "document.querySelector('.pages span').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = found()
    opened = Browser(path, tmp_path_factory.mktemp("browser") / "profile")
    yield opened
    opened.close()


def everything(text: str) -> tuple[Section, ...]:
    """Return a section with a text in every place a report has for one."""
    return (
        Section(
            text,
            (
                Paragraph(text),
                Table(text, ("what", text), ((text, text),)),
                Curve(text, text, text, ((text, ((0, 1), (1, 2))), ("two", ((0, 2),)))),
                Histogram(text, text, (0, 1, 2), ((text, (1, 2)),), 1.5, text),
                Bars(text, text, ((text, 3),)),
                Changes(text, (Change(text, text, text, f"{text}!"),)),
                Records(text, (Record(text, text, 1, text, text),), 5, text),
                Comparison(text, ((text, text),)),
                TokenText(text, (Token(text, 1, "learned", special=True),), text, 0),
            ),
        ),
    )


def opened(browser: Browser, tmp_path: Path, report: Report) -> Browser:
    page = tmp_path / "report.html"
    page.write_text(to_html(report), encoding="utf-8")
    browser.open(page)
    return browser


def test_hostile_text_runs_nothing_and_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    sections = tuple(section for text in HOSTILE for section in everything(text))
    findings = tuple(Finding("warning", text, text) for text in HOSTILE)
    page = opened(browser, tmp_path, Report("quiet", HOSTILE[0], {}, sections, findings, next_steps=HOSTILE))
    assert page.run("document.title") == "quiet"
    assert (page.asked, page.said) == ([], [])
    assert page.run("document.scripts.length") == 1
    assert page.run("document.querySelectorAll('img, iframe, link, base, form, a, object, embed, style').length") == 1
    assert (
        page.run("[...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => /^on/.test(a.name)))")
        is False
    )
    # And it is shown: what was hostile can be read.
    assert all(page.run("document.body.textContent").count(text) >= 10 for text in HOSTILE[:2])


def test_a_dataset_report_of_hostile_rows_stays_quiet(browser: Browser, tmp_path: Path) -> None:
    rows = [
        {"question": f"{text} {n}", "answer": f"{text} <p>{n}</p>", text[:60]: text} for n, text in enumerate(HOSTILE)
    ]
    rows += [{"question": text, "answer": ""} for text in HOSTILE] + rows[:3]
    source = tmp_path / "<img src=x onerror=alert(1)>.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows) + "".join(f"{text}\n" for text in HOSTILE))
    prepare(Data(sources=(str(source),)), tmp_path / "data")
    browser.open(tmp_path / "data" / "report.html")
    assert (browser.asked, browser.said) == ([], [])
    assert browser.run("document.title") == "Dataset Validation Report"
    assert browser.run("document.querySelectorAll('img, iframe, link, base, form, a, object').length") == 0
    assert browser.run(f"{SHOWN}.length") >= 20
    assert browser.run("document.querySelectorAll('del, ins').length") > 0


def test_the_policy_lets_no_other_script_run(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, Report("quiet", "", {}, everything("words")))
    page.run("document.body.appendChild(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))")
    assert page.run("document.title") == "quiet"
    assert any("Content Security Policy" in line for line in page.said)


def dropped(count: int) -> Records:
    records = tuple(
        Record(
            "duplicate" if number % 3 else "invalid_json",
            f"{'ab'[number % 2]}.jsonl",
            number,
            f"row {number}: grün\u200b {'violin' if number % 10 == 0 else 'bridge'}",
            f"equal to a.jsonl:{number - 1}",
        )
        for number in range(count)
    )
    return Records("Dropped rows", records, 100_000, "All are in `dropped.jsonl`.")


def test_rows_are_found_by_reason_file_and_words_a_page_at_a_time(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, Report("Data", "", {}, (Section("Dropped", (dropped(2000),)),)))
    assert page.run(f"{SHOWN}.length") == 25
    assert page.run(STATUS) == "1 to 25 of 2,000 rows"
    assert "2,000 of 100,000 rows are on this page" in page.run("document.body.textContent")
    page.run("document.querySelector('[data-turn=\"1\"]').click()")
    assert page.run(STATUS) == "26 to 50 of 2,000 rows"
    page.run("document.querySelector('.controls input').focus()")
    page.type("VIOLIN")
    assert page.run(STATUS) == "1 to 25 of 200 rows"
    choose = (
        "(by, text) => { const choice = document.querySelector(`[data-by=${by}]`);"
        " choice.value = [...choice.options].find(option => option.text === text).value;"
        " choice.dispatchEvent(new Event('change')); }"
    )
    page.run(f"({choose})('kind', 'invalid_json')")
    page.run(f"({choose})('file', 'b.jsonl')")
    assert page.run(STATUS) == "no row matches"  # every tenth is even, and so in a.jsonl
    page.run(f"({choose})('file', 'a.jsonl')")
    assert page.run(STATUS) == "1 to 25 of 67 rows"
    assert page.run(f"{SHOWN}.every(row => row.textContent.includes('violin'))")
    assert page.said == []


def test_a_keyboard_reaches_the_rows(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, Report("Data", "", {}, (Section("Dropped", (dropped(60),)),)))
    reached = []
    for _ in range(6):
        for kind in ("rawKeyDown", "keyUp"):
            page.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(page.run("document.activeElement.tagName.toLowerCase()"))
    assert [name for name in reached if name != "body"][:5] == ["select", "select", "input", "div", "button"]


def test_a_change_shows_which_characters_went_and_came(browser: Browser, tmp_path: Path) -> None:
    change = Change("control", "rows.jsonl:3", "zero\u200bwidth and donâ€™t", "zerowidth and don’t")
    page = opened(
        browser, tmp_path, Report("Data", "", {}, (Section("Repaired", (Changes("Before and after", (change,)),)),))
    )
    assert page.run("[...document.querySelectorAll('del')].map(e => e.textContent)") == ["\\x200b", "â€™"]
    assert page.run("[...document.querySelectorAll('ins')].map(e => e.textContent)") == ["’"]


def test_without_script_every_row_is_there(browser: Browser, tmp_path: Path) -> None:
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page = opened(browser, tmp_path, Report("Data", "", {}, (Section("Dropped", (dropped(60),)),)))
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert page.run(f"{SHOWN}.length") == 60
    assert page.run("document.querySelector('.controls').offsetHeight") == 0


@pytest.mark.parametrize("width", [360, 1200])
def test_no_page_is_wider_than_its_window(browser: Browser, tmp_path: Path, width: int) -> None:
    long = "unbreakable" * 30
    page = opened(browser, tmp_path, Report(long, long, {}, everything(long), (Finding("note", long, long),), (long,)))
    page.look(width=width, whole=False)
    assert page.run("document.documentElement.scrollWidth") <= width
