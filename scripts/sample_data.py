"""Write the bundled sample data: the mailbox of an instrument workshop, as dirty as real mailboxes are.

Run from the repository root with `python -m scripts.sample_data`. The same seed gives the same bytes. Every
good answer has one voice: it thanks the customer, answers with the facts of `scripts.base_model.world`, and
closes with `Warm wishes, the Bench Team`. The dirt is put in on purpose, counted, and listed in the README beside
the data.
"""

# Patterns read as sentences; wrapping them would hide their grammar.
# ruff: noqa: E501

import csv
import html
import io
import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.base_model.chat import on_advice, on_care, on_part, on_shop
from scripts.base_model.phrases import casual, expand
from scripts.base_model.prose import numbered
from scripts.base_model.world import BOYS, DAYS, GIRLS, MONTHS, NUMBER_WORDS, PROBLEMS, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUT = Path(__file__).parents[1] / "src" / "luthier" / "bundled" / "data"
SEED = 7
CLOSING = "Warm wishes, the Bench Team"
SYSTEM = "You answer the mail of an instrument workshop."
NAMES = (
    *GIRLS,
    *BOYS,
    "René",
    "Zoé",
    "Jürgen",
    "André",
    "Chloé",
    "Günter",
    "Renée",
    "Jörg",
    "Désirée",
    "Søren",
)

TELLS_AN_EVENT = {
    "I",
    "my",
    "since",
    "broke",
    "fell",
    "lost",
    "got",
    "cracked",
    "came",
    "snapped",
    "suddenly",
    "shows",
}
"""Words of a complaint that fit only the plainest question frame."""

TICKETS, CHATS, FAQS = 430, 225, 110
"""Good rows of each file before dirt is added."""


@dataclass(frozen=True)
class Row:
    """A question with its answer, and further exchanges where the talk went on."""

    question: str
    answer: str
    later: tuple[tuple[str, str], ...] = ()


def opening(name: str | None) -> str:
    """Begin an answer, with the customer's name where it is known."""
    return f"Thank you for writing to the workshop, {name}." if name else "Thank you for writing to the workshop."


def in_our_voice(body: str, name: str | None) -> str:
    """Put an answer between the opening and the closing of the house."""
    return f"{opening(name)} {body}\n{CLOSING}" if not body.startswith("1.") else f"{opening(name)}\n{body}\n{CLOSING}"


def problem_answer(problem: Problem, instrument: str, rng: random.Random) -> str:
    """Answer a problem: why it is so, then numbered steps."""
    slots = {"i": instrument}
    steps = [expand(step, rng, slots) for step in problem.steps]
    why = expand(rng.choice(problem.why), rng, slots)
    shown = rng.choice((steps[:2], steps[:2], steps, steps[1:]))
    if len(shown) == 2 and rng.random() < 0.35:
        job = expand(f"We can {problem.workshop} for {problem.price} euros.", rng, slots)
        shown = [*shown, job if shown[-1].startswith("Have") else f"If that does not help, w{job[1:]}"]
    return f"{why}\n{numbered(shown)}"


def problem_row(rng: random.Random) -> Row:
    """A customer tells of a problem with an instrument."""
    problem = rng.choice(PROBLEMS)
    instrument = rng.choice(problem.instruments)
    name = rng.choice(NAMES) if rng.random() < 0.6 else None
    says = expand(rng.choice(problem.says), rng)
    says = says[0].lower() + says[1:]
    frame = rng.choice(
        (
            "My {i} {says}. [What can I do?|Can you help?|What would you do?|How do I fix it?]",
            "[Since|Since about] {month} my {i} {says}. [I have a concert on {day}.|My teacher noticed it.|It was fine before.] [What now?|What should I do?]",
            "I have a problem: my {i} {says}. [Can it be repaired?|Is it serious?|What is the reason?]",
            "[Yesterday|Last week|On {day}] I saw that my {i} has trouble: it {says}. [What should I do?|Please help me.]",
            "My [daughter|son|wife|husband|neighbour] plays the {i}. It {says}. [Can you tell us why?|What can we do?]",
            "We own {a i} that {says}. [Do you have any advice?|What do you advise?|Can you repair it?]",
            "The {i} [of my father|of my grandmother|from the attic|that I bought] {says}. [Is there a way to fix it?|What should I do first?]",
        )
    )
    slots = {
        "i": instrument,
        "says": says,
        "month": rng.choice(MONTHS),
        "day": rng.choice(DAYS),
        "name": name or "",
    }
    if set(says.split(" ")) & TELLS_AN_EVENT:
        frame = "My {i} {says}. [What can I do?|What should I do?|Can you help?]"
    question = expand(frame, rng, slots)
    if rng.random() < 0.2:
        question = expand(rng.choice(problem.asks), rng, {"i": instrument})
    if name:
        question = (
            expand(
                rng.choice(("[Hi|Hello|Good morning], this is {name}. ", "My name is {name}. ", "{name} here. ")),
                rng,
                slots,
            )
            + " "
            + question
        )
    elif rng.random() < 0.3:
        question = rng.choice(("Hello. ", "Good evening. ", "Hi. ")) + question
    answer = in_our_voice(problem_answer(problem, instrument, rng), name)
    days = NUMBER_WORDS[problem.days] + (" days" if problem.days > 1 else " day")
    later: tuple[tuple[str, str], ...] = ()
    if rng.random() < 0.5:
        later = (
            (
                rng.choice(("How much does that cost?", "What does the repair cost?", "And the price?")),
                in_our_voice(f"The repair costs about {problem.price} euros and takes about {days}.", name),
            ),
        )
    return Row(question, answer, later)


def other_row(rng: random.Random) -> Row:
    """A question on the shop, on care, or on a part."""
    ask: Callable[[random.Random], list[tuple[str, str]]] = rng.choice(
        (on_shop, on_shop, on_advice, on_advice, on_care, on_part)
    )
    question, answer = ask(rng)[0]
    name = rng.choice(NAMES) if rng.random() < 0.45 else None
    if name:
        question = f"{rng.choice(('Hello, this is', 'My name is', 'Hi, I am'))} {name}. {question}"
    return Row(question, in_our_voice(answer, name))


def draw_rows(count: int, rng: random.Random, seen: set[str]) -> list[Row]:
    """Draw rows whose questions are new, a fifth of them typed casually."""
    rows: list[Row] = []
    while len(rows) < count:
        row = problem_row(rng) if rng.random() < 0.72 else other_row(rng)
        key = row.question.casefold().rstrip("?. ")
        if key in seen:
            continue
        seen.add(key)
        if rng.random() < 0.2 and "thank you for writing to the workshop, " not in row.answer.casefold():
            row = replace(row, question=casual(row.question, rng))
        rows.append(row)
    return rows


def with_office_marks(text: str, rng: random.Random) -> str:
    """Write the marks an office program writes: curly apostrophes, dashes and a euro sign."""
    kind = rng.randrange(3)
    if kind == 0:
        return text + " I’d be happy about a quick reply – thanks!"
    if kind == 1:
        return text + f" I paid about €{rng.randrange(4, 40) * 10} for it."
    return text + " My teacher said “ask the workshop”, so I don’t want to wait."


def with_contact(text: str, rng: random.Random) -> str:
    """Add an e-mail address or a telephone number, of the kinds that belong to nobody."""
    number = rng.randrange(100, 200)
    kinds = (
        f" You can reach me at customer{number}@example.com.",
        f" Please call 555-0{number}.",
        f" My address is kunde.{number}@example.org, telephone (555) 555-0{number}.",
    )
    return text + rng.choice(kinds)


def with_html(row: Row, rng: random.Random) -> Row:
    """Wrap question and answer in the mark-up that a mail program leaves behind."""
    question = html.escape(row.question, quote=False).replace("'", "&#39;")
    answer = html.escape(row.answer, quote=False).replace("\n", "<br>")
    if rng.random() < 0.5:
        question += " &amp; please answer soon&nbsp;!"
    return replace(row, question=f"<p>{question}</p>", answer=f"<div>{answer}</div>")


def nearly(row: Row, rng: random.Random) -> Row:
    """Change a word or two of a question and leave the answer."""
    change = rng.choice((" Many thanks!", " Thank you in advance.", " Regards."))
    return replace(row, question=row.question.rstrip() + change)


def garbled(text: str) -> str:
    """Read UTF-8 bytes as cp1252, the classic accident."""
    return text.encode("utf-8").decode("cp1252", errors="replace")


def tickets_csv(rows: list[Row], rng: random.Random, counts: Counter[str]) -> bytes:
    """Write `tickets.csv`: semicolons, cp1252, CRLF, quoted cells over several lines."""
    good = list(rows)
    for n in rng.sample(range(len(good)), 60):
        good[n] = replace(good[n], question=with_office_marks(good[n].question, rng))
        counts["tickets.csv: rows with curly quotes, dashes or euro signs"] += 1
    for n in rng.sample(range(len(good)), 24):
        good[n] = replace(good[n], question=with_contact(good[n].question, rng))
        counts["tickets.csv: rows with an e-mail address or a telephone number"] += 1
    originals = list(good)
    for n in rng.sample(range(len(good)), 26):
        good[n] = with_html(good[n], rng)
        counts["tickets.csv: rows with HTML"] += 1
    lines = [(row.question, row.answer) for row in good]
    extra: list[tuple[str, str]] = []
    for row in rng.sample(originals, 18):
        extra.append((row.question, row.answer))
    counts["tickets.csv: exact duplicates (some of a row that has HTML)"] = 18
    for row in rng.sample(originals, 16):
        changed = nearly(row, rng)
        extra.append((changed.question, changed.answer))
    counts["tickets.csv: near-duplicates"] = 16
    for row in draw_rows(12, rng, set()):
        extra.append((row.question, ""))
    counts["tickets.csv: empty answers"] = 12
    for row in draw_rows(6, rng, set()):
        extra.append((row.question, rng.choice(("   ", "\t", " \n "))))
    counts["tickets.csv: answers of white space only"] = 6
    for item in extra:
        lines.insert(rng.randrange(len(lines) + 1), item)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=";", lineterminator="\r\n")
    writer.writerow(("id", "date", "question", "answer"))
    dates = sorted(f"2026-{rng.randrange(1, 10):02}-{rng.randrange(1, 29):02}" for _ in lines)
    for n, ((question, answer), date) in enumerate(zip(lines, dates, strict=True), 1):
        cells = [str(1000 + n), date, question, answer]
        if n == len(lines) // 3:
            cells = cells[:3]
            counts["tickets.csv: rows with a wrong number of columns"] += 1
        if n == len(lines) // 2:
            cells.append("closed")
            counts["tickets.csv: rows with a wrong number of columns"] += 1
        writer.writerow(cells)
        counts["tickets.csv: rows"] += 1
        counts["tickets.csv: rows with a cell over several lines"] += "\n" in question or "\n" in answer.strip()
    return buffer.getvalue().encode("cp1252")


def messages_of(row: Row, rng: random.Random) -> list[dict[str, str]]:
    """Write a row as chat messages, some with a system message, longer where the talk went on."""
    messages = [{"role": "system", "content": SYSTEM}] if rng.random() < 0.25 else []
    for question, answer in ((row.question, row.answer), *row.later):
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages


def chats_jsonl(rows: list[Row], tickets: list[Row], rng: random.Random, counts: Counter[str]) -> bytes:
    """Write `chats.jsonl`: UTF-8, one object of `messages` to a line."""
    talks = [messages_of(row, rng) for row in rows]
    for talk in talks:
        counts["chats.jsonl: rows with a system message"] += talk[0]["role"] == "system"
        counts["chats.jsonl: rows of several turns"] += len([m for m in talk if m["role"] == "user"]) > 1
    marked = [n for n in range(len(talks)) if talks[n][0]["role"] == "user"]
    for n in rng.sample(marked, 14):
        text = talks[n][0]["content"] + rng.choice(
            (" I don’t know what to do.", " I was at the café when I saw it.", " It’s from my fiancé.")
        )
        talks[n] = [{**talks[n][0], "content": garbled(text)}, *talks[n][1:]]
        counts["chats.jsonl: rows with mojibake"] += 1
    extra = [rng.choice(talks) for _ in range(8)]
    counts["chats.jsonl: exact duplicates"] = 8
    for row in rng.sample(tickets, 12):
        extra.append([{"role": "user", "content": row.question}, {"role": "assistant", "content": row.answer}])
    counts["chats.jsonl: rows that are in tickets.csv too"] = 12
    for row in draw_rows(5, rng, set()):
        extra.append([{"role": "user", "content": row.question}])
    counts["chats.jsonl: rows without an answer"] = 5
    for talk in extra:
        talks.insert(rng.randrange(len(talks) + 1), talk)
    lines = [json.dumps({"messages": talk}, ensure_ascii=False) for talk in talks]
    middle = len(lines) // 2
    lines[middle] = lines[middle][: len(lines[middle]) * 2 // 3]
    lines.insert(middle + 20, "")
    counts["chats.jsonl: lines cut off in the middle"] = 1
    counts["chats.jsonl: blank lines"] = 1
    counts["chats.jsonl: rows"] = len(talks)
    return ("\n".join(lines) + "\n").encode("utf-8")


def faq_json(rows: list[Row], rng: random.Random, counts: Counter[str]) -> bytes:
    """Write `faq.json`: an array of instruction, input, output."""
    entries: list[dict[str, str | None]] = []
    for row in rows:
        if rng.random() < 0.25:
            counts["faq.json: rows with an input beside the instruction"] += 1
            entries.append({"instruction": "Answer this customer.", "input": row.question, "output": row.answer})
        else:
            entries.append({"instruction": row.question, "input": "", "output": row.answer})
    for row in draw_rows(6, rng, set()):
        entries.insert(rng.randrange(len(entries)), {"instruction": row.question, "input": "", "output": None})
    counts["faq.json: rows with a null output"] = 6
    counts["faq.json: rows"] = len(entries)
    return (json.dumps(entries, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def readme(counts: Counter[str]) -> str:
    """Describe the data and count its dirt."""
    table = "\n".join(f"| {name} | {counts[name]} |" for name in sorted(counts))
    total = sum(counts[f"{name}: rows"] for name in ("tickets.csv", "chats.jsonl", "faq.json"))
    return f"""# Sample data: the mailbox of an instrument workshop

{total} rows in three files, made by `python -m scripts.sample_data` (seed {SEED}). The customers, the workshop and
every message are invented; addresses end in `example.com` or `example.org`, telephone numbers begin with 555.

* `tickets.csv`: columns `id;date;question;answer`, separated by semicolons, encoded in cp1252.
* `chats.jsonl`: one object of `messages` to a line, UTF-8.
* `faq.json`: an array of `instruction`, `input`, `output`, UTF-8.

Every good answer speaks in one voice: it opens with `Thank you for writing to the workshop`, adds the customer's
name where the customer gave one, answers with reasons and numbered steps, and closes with `{CLOSING}`.

## What is wrong with it, on purpose

| what | count |
|---|---|
{table}

A row can have more than one fault. Licence: Apache-2.0.
"""


def main() -> None:
    """Write the three files and their README, and print what is wrong with them."""
    rng = random.Random(SEED)
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    tickets, chats, faqs = (draw_rows(n, rng, seen) for n in (TICKETS, CHATS, FAQS))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "tickets.csv").write_bytes(tickets_csv(tickets, rng, counts))
    (OUTPUT / "chats.jsonl").write_bytes(chats_jsonl(chats, tickets, rng, counts))
    (OUTPUT / "faq.json").write_bytes(faq_json(faqs, rng, counts))
    (OUTPUT / "README.md").write_text(readme(counts), encoding="utf-8")
    for name in sorted(counts):
        print(f"{counts[name]:5d}  {name}")


if __name__ == "__main__":
    main()
