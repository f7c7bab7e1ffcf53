"""The tokens stage: prepared rows in, mapped tokens and an account of what is learned out."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.files import write_text
from luthier.core.hardware import hardware
from luthier.core.progress import Progress
from luthier.core.report import Check, Finding, Report, Section, Table
from luthier.core.text import plural
from luthier.recipe.methods import Rows
from luthier.tokens.bpe import DiffersError
from luthier.tokens.encode import Limits, encode
from luthier.tokens.render import CONTROL, HALF, JOINED, UNMARKED, Renderer
from luthier.tokens.store import Stored
from luthier.tokens.verify import verify

SPLITS = ("train", "valid")

HINTS = {
    CONTROL: "they are learned as text; remove them from the data if they are rests of a template",
    JOINED: "a server encodes the prompt alone, and so it is learned; in later turns it may encode both together",
    HALF: "name whole words, with the space before them",
    UNMARKED: "luthier learns each answer with its stop token; the template's authors marked other tokens",
}


NOUNS: dict[Rows, str] = {
    "conversation": "row",
    "pair": "pair",
    "judged": "judged answer",
    "class": "text",
    "text": "document",
}
"""What an example is called."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where tokens lie and what they rest on."""

    folder: Path
    key: str


def tokenise(
    data: Path,
    tokens: Tokens,
    renderer: Renderer,
    limits: Limits,
    *,
    room: int,
    left_out: Path,
    progress: Progress,
) -> Report:
    """Write the tokens of every split below `tokens.folder`, name each row that can't be learned, and tell what is.

    Args:
        data: Folder of `train.jsonl` and `valid.jsonl`.
        tokens: Where to, and under which key.
        renderer: Template and tokenizer.
        limits: Lengths.
        room: How many tokens the model has embeddings for.
        left_out: File that names the rows left out.
        progress: Hears rows.

    Raises:
        ModelError: The template or the tokenizer is unusable.
        DataError: No row can be learned from.
    """
    checks = verify(renderer, room=room)

    def encoded() -> dict[str, Stored]:
        splits = {split: data / f"{split}.jsonl" for split in SPLITS}
        more = {"key": tokens.key, "processes": processes(), "progress": progress}
        return {
            split: encode(path, tokens.folder / split, renderer, limits, **more)  # type: ignore[arg-type]
            for split, path in splits.items()
            if path.is_file()
        }

    try:
        stored = encoded()
    except DiffersError:
        shutil.rmtree(tokens.folder)
        stored = encoded()
    _name(left_out, stored)
    train = stored["train"]
    if not len(train):
        first = next(train.left_out(), None)
        raise DataError(
            f"no {NOUNS[renderer.rows]} can be learned from: {reasons(train.left_out(), NOUNS[renderer.rows])}",
            hint="`luthier inspect` shows them token by token; "
            "long ones need a larger `train.max_length`, or `train.too_long`",
            place=str(first[0]) if first else "",
        )
    return _report(renderer, limits, stored, checks)


def processes() -> int:
    """Return in how many processes templates run: the tokenizer needs as much time as they do."""
    return max(1, min(8, hardware().cores // 2))


def _name(file: Path, stored: dict[str, Stored]) -> None:
    lines = (
        json.dumps({"source": source.file, "line": source.line, "split": split, "reason": reason, "partly": partly})
        for split, rows in stored.items()
        for partly in (False, True)
        for source, reason in rows.left_out(partly=partly)
    )
    write_text(file, "".join(f"{line}\n" for line in lines))


def reasons(left_out: Iterable[tuple[Any, str]], noun: str = "row") -> str:
    """Return why rows were left out, in words, the commonest reasons first."""
    counts = Counter(reason for _, reason in left_out)
    told = "; ".join(f"{plural(count, noun)} {reason}" for reason, count in counts.most_common(3))
    return (told or "there is none") + ("; and others" if len(counts) > 3 else "")


def _report(renderer: Renderer, limits: Limits, stored: dict[str, Stored], checks: list[Check]) -> Report:
    counts = {split: {**_counts(rows, renderer.rows), **_labels(rows, renderer)} for split, rows in stored.items()}
    train = counts["train"]
    share = train["learned"] / max(1, train["tokens"])
    table = Table(
        "",
        ("what", *stored),
        tuple((name.replace("_", " "), *(f"{counts[split][name]:,}" for split in stored)) for name in train),
    )
    doctor = Table(
        "Template", ("check", "status", "found"), tuple((c.name.replace("_", " "), c.status, c.details) for c in checks)
    )
    what = plural(train["rows"], "text" if renderer.rows == "conversation" else NOUNS[renderer.rows])
    learned = (
        f" in {plural(len(renderer.classes), 'class')}"
        if renderer.rows == "class"
        else f", {share:.1%} of them learned"
    )
    return Report(
        title="Tokens",
        summary=f"{what} of {train['tokens']:,} tokens{learned}.",
        data={
            "template": {"source": renderer.source, "checks": [check.as_dict() for check in checks]},
            "splits": counts,
            "learned_from": renderer.rows,
            "max_length": limits.max_length,
            "too_long": limits.too_long,
        },
        sections=(Section("What is learned", (table, doctor)),),
        findings=(
            *_findings(stored, limits, renderer.rows),
            *(c.as_finding() for c in checks if c.status in ("warning", "failure")),
        ),
    )


def _counts(rows: Stored, kind: Rows) -> dict[str, int]:
    names = ("examples", "rows", "tokens", "learned", "longest", "expanded", "truncated")
    counts = {name: rows.most(name) if name == "longest" else rows.total(name) for name in names}
    if kind == "pair":  # not `rows.texts`: an empty split has none
        counts["rows"] //= 2
        counts |= {"learned_better": int(rows.learned[::2].sum()), "learned_worse": int(rows.learned[1::2].sum())}
    return {**counts, "cut_tokens": rows.total("cut"), "left_out": sum(1 for _ in rows.left_out())}


def _labels(rows: Stored, renderer: Renderer) -> dict[str, int]:
    """Return how many rows have each label."""
    if renderer.rows == "judged":
        return {name: int((rows.labels == value).sum()) for name, value in (("good", 1), ("bad", 0))}
    return {f"class {name}": int((rows.labels == number).sum()) for number, name in enumerate(renderer.classes)}


def _findings(stored: dict[str, Stored], limits: Limits, kind: Rows) -> Iterator[Finding]:
    noun = NOUNS[kind]
    for split, rows in stored.items():
        of = "" if split == "train" else " held back"
        left_out = list(rows.left_out())
        if left_out:
            yield Finding(
                "warning",
                f"{plural(len(left_out), noun)}{of} left out: {reasons(left_out, noun)}",
                "they are named in left_out.jsonl; a larger `train.max_length`, or `train.too_long`, keeps long ones"
                if any("longer" in reason for _, reason in left_out)
                else "they are named in left_out.jsonl; `luthier inspect` shows them",
            )
        partly = list(rows.left_out(partly=True))
        if partly:
            text = f"{plural(len(partly), 'text')}{of} of conversations that became several left out: {reasons(partly)}"
            yield Finding("warning", text, "they are named in left_out.jsonl, `partly`")
        if rows.total("truncated"):
            yield Finding(
                "note",
                f"{plural(rows.total('truncated'), 'text')}{of} of {len(rows):,} cut to {limits.max_length:,} tokens "
                f"(`{limits.too_long}`), {rows.total('cut'):,} tokens taken away",
            )
        if rows.total("expanded") and kind == "text":
            text = f"{plural(rows.total('expanded'), 'document')}{of} cut into chunks of {limits.max_length:,} tokens"
            yield Finding("note", f"{text}; every token is learned once")
        elif rows.total("expanded"):
            text = f"{plural(rows.total('expanded'), 'conversation')}{of} became several texts"
            yield Finding(
                "note", f"{text}: the template rewrites earlier turns, and each answer is learned as asked for"
            )
        if rows.total("without_stop"):
            share = f"{rows.total('without_stop'):,} of {plural(len(rows), 'text')}{of}"
            text = f"{share} have an answer that ends without a stop token: the model may not learn to end"
            yield Finding("warning", text, "check the model's chat template and eos_token")
        for name, (count, first) in rows.traits().items():
            yield Finding("warning", f"{plural(count, 'row')}{of}: {name}, first {first}", HINTS.get(name, ""))


def open_tokens(folder: Path, split: str) -> Stored:
    """Return the tokens a finished stage left for a split; none where the split has no rows."""
    shards = len(list((folder / split).glob("[0-9]*/shard.json")))
    return Stored(folder / split, shards)
