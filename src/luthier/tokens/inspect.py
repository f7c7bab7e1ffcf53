"""Real rows token by token: what is learned, what is context, what was cut, what was left out and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import LuthierError
from luthier.core.example import Example, Source
from luthier.core.report import Block, Check, Finding, Paragraph, Report, Section, Table, Token, TokenText
from luthier.core.text import plural
from luthier.recipe.methods import Rows
from luthier.tokens.encode import Limits
from luthier.tokens.fit import fit_all
from luthier.tokens.pack import common
from luthier.tokens.render import Encoded, Refused, Renderer, class_name

Ids = list[int]

Ask = Callable[[list[tuple[list[dict[str, Any]], list[Any]]]], "list[Ids | LuthierError]"]
"""Takes conversations with their tools, returns what somebody else makes of each as a prompt, or why nothing."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One text of a row, or a row without any."""

    source: Source
    example: Example | None
    """None for a row that never became one."""
    text: str = ""
    encoded: Encoded | None = None
    """Before cutting."""
    kept: Encoded | None = None
    """After it; None when the text is left out."""
    pieces: tuple[str, ...] = ()
    """What each token of `encoded` says."""
    dropped: str | None = None
    part: tuple[int, int] = (1, 1)
    rows: Rows = "conversation"
    shared: int = 0
    """Of a pair's worse text: how many tokens it begins with as the better one does."""

    @property
    def ending(self) -> str:
        """Return which text of a pair it is, empty where it is none."""
        return ("better", "worse")[self.part[0] - 1] if self.rows == "pair" and self.part[1] == 2 else ""

    @property
    def ids(self) -> Ids:
        """Return the ids that are trained on."""
        return self.kept.input_ids.tolist() if self.kept else []

    @property
    def labels(self) -> Ids:
        """Return the same, −100 where not learned. Nothing precedes a first token, so it never is."""
        if self.kept is None:
            return []
        if self.rows == "class":  # what is learned is no token
            return [-100] * self.kept.length
        labels = np.where(self.kept.learned, self.kept.input_ids, -100)
        labels[:1] = -100
        found: Ids = labels.tolist()
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the row as `inspect --json` promises it."""
        row: dict[str, Any] = {
            "source": self.source.file,
            "line": self.source.line,
            "input_ids": self.ids,
            "labels": self.labels,
            "text": self.text,
            "dropped": self.dropped,
        }
        if self.ending:
            row["pair"] = {"ending": self.ending, "shared": self.shared}
        elif self.part[1] > 1:
            row["part"] = {"number": self.part[0], "of": self.part[1]}
        if self.example is not None and self.example.label is not None:
            row["label"] = self.example.label
        if self.example is not None and self.example.margin is not None:
            row["margin"] = self.example.margin
        if self.kept is not None and self.kept.cut:
            row["cut"] = self.kept.cut
        return row


def look(example: Example, renderer: Renderer, limits: Limits) -> list[Looked]:
    """Return every text an example becomes; one without tokens where it is left out."""
    bare = Looked(example.source, example, rows=renderer.rows)
    told: dict[str, Any] = {} if renderer.rows == "text" else renderer.told(example)
    result = renderer.encode(example) if renderer.rows == "text" else renderer.read(example.source, told)
    if isinstance(result, Refused):
        return [replace(bare, dropped=result.reason)]
    if not result:
        return [replace(bare, dropped="no token is learned")]
    start = renderer.tokenizer.bos_token_id
    fitted = fit_all(result, rows=renderer.rows, max_length=limits.max_length, too_long=limits.too_long, start_id=start)
    if renderer.rows == "text":
        return _chunks(bare, result[0], fitted, renderer)
    shared = common(*result) if renderer.rows == "pair" else 0
    if renderer.rows == "pair" and not any(isinstance(one, str) for one in fitted):
        shared = common(*fitted)  # type: ignore[arg-type]
    return [
        replace(
            bare,
            text=part["text"],
            encoded=encoded,
            kept=None if isinstance(one, str) else one,
            pieces=_around(renderer, encoded, _pieces(part["text"], renderer.tokens_of(part)[1])),
            dropped=one if isinstance(one, str) else None,
            part=(number, len(result)),
            shared=shared if number == 2 else 0,
        )
        for number, (encoded, one, part) in enumerate(zip(result, fitted, told["parts"], strict=True), start=1)
    ]


def _chunks(bare: Looked, whole: Encoded, fitted: Sequence[Encoded | str], renderer: Renderer) -> list[Looked]:
    """Return the chunks of a plain text, each with the stretch of text it holds."""
    assert bare.example is not None
    text = bare.example.messages[0].text
    pieces = _around(renderer, whole, _pieces(text, renderer.places(text)))
    found, reached = [], 0
    for number, chunk in enumerate(fitted, start=1):
        if isinstance(chunk, str):
            return [replace(bare, text=text, encoded=whole, pieces=pieces, dropped=chunk)]
        of = pieces[reached : reached + chunk.length]
        reached += chunk.length - 1
        part = number, len(fitted)
        found.append(replace(bare, text="".join(of), encoded=chunk, kept=chunk, pieces=of, part=part))
    return found


def _around(renderer: Renderer, encoded: Encoded, pieces: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stretches of a text with the names of the tokens that stand around it."""
    before = len(renderer.around[0]) if encoded.length > len(pieces) else 0
    names = renderer.tokenizer.convert_ids_to_tokens(encoded.input_ids.tolist())
    return (*names[:before], *pieces, *names[before + len(pieces) :])


def _pieces(text: str, places: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the stretch of text each token stands for. Of tokens that share a character, the first has it."""
    reached, pieces = 0, []
    for start, end in places.tolist():
        pieces.append(text[max(start, reached) : end] if end > reached else "")
        reached = max(reached, end)
    return tuple(pieces)


def shown(looked: Looked, special: frozenset[int], *, differs_at: int | None = None) -> TokenText:
    """Return a text as a block of a report."""
    title = str(looked.source)
    if looked.ending:
        title += f", {looked.ending} ending"
    elif looked.part[1] > 1:
        title += f", {'chunk' if looked.rows == 'text' else 'text'} {looked.part[0]} of {looked.part[1]}"
    if looked.encoded is None:
        return TokenText(title, (), note=f"left out: {looked.dropped}")
    whole, kept = looked.encoded, looked.kept
    first, past = _kept_part(whole, kept)
    tokens = []
    for place, (number, piece) in enumerate(zip(whole.input_ids.tolist(), looked.pieces, strict=True)):
        starts = kept is not None and place == 0 and first > 0 and len(looked.ids) > past - first
        stays = first <= place < past or starts
        learned = whole.learned[place] and place and looked.rows != "class"
        kind = "cut" if not stays else "learned" if learned else "context"
        tokens.append(Token(piece, number, kind, special=number in special))  # type: ignore[arg-type]
    return TokenText(title, tuple(tokens), note=_note(looked), differs_at=differs_at)


def _kept_part(whole: Encoded, kept: Encoded | None) -> tuple[int, int]:
    """Return which tokens stayed: from the left, up to the right. A start token may stay besides."""
    if kept is None:
        return 0, whole.length
    if not kept.cut:
        return 0, whole.length
    if (whole.input_ids[: kept.length] == kept.input_ids).all():
        return 0, kept.length
    starts = int(kept.input_ids[0] == whole.input_ids[0] and kept.length + kept.cut == whole.length)
    tail = whole.length - kept.length
    same = kept.length and (whole.input_ids[tail:] == kept.input_ids).all()
    return (tail, whole.length) if same else (tail + starts, whole.length)


def _note(looked: Looked) -> str:
    if looked.dropped or looked.kept is None:
        return f"left out: {looked.dropped}"
    kept = looked.kept
    words = plural(kept.length, "token")
    if looked.rows != "class":
        words += f", {int(kept.learned[1:].sum()):,} learned"
    if looked.shared:
        words += f", the first {looked.shared:,} as before the better ending"
    if looked.example is not None and looked.example.label is not None:
        label = looked.example.label
        words += (
            f"; class `{class_name(label)}`" if looked.rows == "class" else f"; judged {'good' if label else 'bad'}"
        )
    if looked.example is not None and looked.example.margin is not None:
        words += f"; better by {looked.example.margin:g}"
    if kept.cut:
        words += f", {kept.cut:,} cut"
    return words + "".join(f"; {trait}" for trait in sorted(kept.traits))


def report(
    looked: Sequence[Looked],
    renderer: Renderer,
    *,
    checks: Sequence[Check],
    total: int,
    other: tuple[Renderer, Limits] | None = None,
    against: tuple[str, Ask] | None = None,
) -> Report:
    """Return rows token by token, and where they differ from another template or from what somebody else makes of them.

    Args:
        looked: The rows to show, in file order.
        renderer: What they were rendered with.
        checks: What the doctor found.
        total: How many rows there are.
        other: Another template to compare with.
        against: A server or file, its name and what it answers.
    """
    special = frozenset(number for number, token in renderer.tokenizer.added_tokens_decoder.items() if token.special)
    counts = _counts(looked)
    data: dict[str, Any] = {
        "rows": [one.as_dict() for one in looked],
        "counts": counts,
        "template": {"source": renderer.source, "checks": [check.as_dict() for check in checks]},
    }
    marks: dict[int, int] = {}
    findings: list[Finding] = []
    blocks: list[Block] = []
    if other is not None:
        data["compared"], found, marks, more = _with_template(looked, *other)
        findings.append(found)
        blocks += more
    if against is not None:
        data["against"], found, places = _with_prompts(looked, renderer, *against)
        findings.append(found)
        marks |= places
    texts = [shown(one, special, differs_at=marks.get(place)) for place, one in enumerate(looked)]
    doctor = Table(
        "", ("check", "status", "found"), tuple((c.name.replace("_", " "), c.status, c.details) for c in checks)
    )
    findings += [check.as_finding() for check in checks if check.status in ("warning", "failure")]
    return Report(
        title="What the model learns",
        summary=(
            f"{counts['rows']:,} of {plural(total, 'row')}: {counts['tokens']:,} tokens"
            + (f", {counts['learned']:,} of them learned" if renderer.rows != "class" else "")
            + f"; {counts['dropped']:,} left out, {counts['truncated']:,} cut."
        ),
        data=data,
        sections=(Section("Rows", (*blocks, *texts)), Section("Template", (doctor,))),
        findings=tuple(findings),
    )


def _counts(looked: Sequence[Looked]) -> dict[str, int]:
    return {
        "rows": len({(one.source.file, one.source.line) for one in looked}),
        "tokens": sum(len(one.ids) for one in looked),
        "learned": sum(label != -100 for one in looked for label in one.labels),
        "dropped": sum(one.dropped is not None for one in looked),
        "truncated": sum(one.kept is not None and one.kept.cut > 0 for one in looked),
    }


def _with_template(
    looked: Sequence[Looked], renderer: Renderer, limits: Limits
) -> tuple[dict[str, Any], Finding, dict[int, int], list[Block]]:
    """Compare ids and labels with those of another template; mark the first token that differs in each row."""
    different: list[dict[str, Any]] = []
    marks: dict[int, int] = {}
    blocks: list[Block] = []
    once: dict[tuple[Source, int], Looked] = {}
    for one in looked:
        if one.example is not None and one.part[0] == 1:
            for number, theirs in enumerate(look(one.example, renderer, limits), start=1):
                once[one.source, number] = theirs
    for place, one in enumerate(looked):
        if one.example is None:
            continue
        theirs = once.get((one.source, one.part[0]), Looked(one.source, one.example, dropped="no such text"))
        at = first_difference(one, theirs)
        if at is None:
            continue
        marks[place] = at
        different.append({"source": one.source.file, "line": one.source.line, "at": at, "other": theirs.as_dict()})
        if not blocks:
            blocks.append(Paragraph(f"First difference to `{renderer.source}`: {one.source}, token {at + 1}. There:"))
            blocks.append(replace(shown(theirs, frozenset()), differs_at=at))
    compared = sum(one.example is not None for one in looked)
    data = {"template": renderer.source, "rows": compared, "equal": compared - len(different), "different": different}
    words = f"{data['equal']} of {plural(compared, 'text')} have the same tokens and labels under `{renderer.source}`"
    return data, Finding("ok" if not different else "warning", words), marks, blocks


def first_difference(one: Looked, other: Looked) -> int | None:
    """Return the first place at which ids or labels differ; None where they don't."""
    mine, theirs = list(zip(one.ids, one.labels, strict=True)), list(zip(other.ids, other.labels, strict=True))
    for place, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            return place
    return None if len(mine) == len(theirs) else min(len(mine), len(theirs))


def _with_prompts(
    looked: Sequence[Looked], renderer: Renderer, name: str, ask: Ask
) -> tuple[dict[str, Any], Finding, dict[int, int]]:
    """Compare the prompt of each row's last learned turn with what somebody else makes of the same messages."""
    asked: list[tuple[int, Ids]] = []
    requests = []
    for place, one in enumerate(looked):
        if one.example is None or one.kept is None or one.rows in ("class", "text"):
            continue
        if one.part[0] != one.part[1] and not one.ending:
            continue
        messages = one.example.rejected if one.ending == "worse" else one.example.messages
        last = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=0)
        try:
            ids = renderer.prompt_ids(messages[:last], tools=one.example.tools)
        except LuthierError:
            continue
        asked.append((place, ids))
        requests.append(([message.as_dict() for message in messages[:last]], [*one.example.tools]))
    answers = ask(requests)
    rows, marks = [], {}
    for (place, ids), answer in zip(asked, answers, strict=True):
        row: dict[str, Any] = {
            "source": looked[place].source.file,
            "line": looked[place].source.line,
            "prompt_ids": ids,
        }
        if isinstance(answer, LuthierError):
            rows.append({**row, "theirs": None, "at": None, "refused": str(answer)})
            continue
        at = _first(ids, answer)
        if at is not None:
            marks[place] = at
        rows.append({**row, "theirs": answer, "at": at, "refused": None})
    equal = sum(row["theirs"] is not None and row["at"] is None for row in rows)
    data = {"target": name, "rows": len(rows), "equal": equal, "prompts": rows}
    words = f"{equal} of {plural(len(rows), 'prompt')} are the same tokens in {name}"
    if equal == len(rows) and rows:
        return data, Finding("ok", words), marks
    first = next((row for row in rows if row["theirs"] is None or row["at"] is not None), None)
    if first is None:
        return (
            data,
            Finding("failure", f"no prompt could be compared with {name}", "show more rows: `--limit 50`"),
            marks,
        )
    where = f"{first['source']}:{first['line']}"
    told = f"refused there: {first['refused']}" if first["refused"] else f"differs at token {first['at'] + 1}"
    hint = "what is served is not what is trained: correct the template there, or train with `train.template`"
    return data, Finding("failure", f"{words}; {where} {told}", hint), marks


def _first(mine: Sequence[int], theirs: Sequence[int]) -> int | None:
    for place, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            return place
    return None if len(mine) == len(theirs) else min(len(mine), len(theirs))
