"""Rows to look through and texts before and after a change, as HTML.

All rows are in the page as a table, so they can be read, searched and printed without script. The script hides those
that don't match and shows the others a page at a time.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from luthier.core.changes import differences
from luthier.core.markdown import place, spelled
from luthier.core.markup import escaped, prose, scrolled
from luthier.core.report import Changes, Record, Records


def records(block: Records) -> str:
    """Return the rows as a table, and above it what the script needs to choose among them."""
    kinds = [kind for kind, _ in Counter(record.kind for record in block.records).most_common()]
    files = [*dict.fromkeys(record.file for record in block.records)]
    shown = len(block.records)
    told = f"{shown:,} of {block.total:,} rows are on this page. " if shown < block.total else f"{shown:,} rows. "
    head = "".join(f'<th scope="col">{name}</th>' for name in ("reason", "row", "what it says", "because"))
    rows = "".join(_record(record, kinds.index(record.kind), files.index(record.file)) for record in block.records)
    drawn = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        '<div class="controls" role="search" hidden>'
        f'<label>Reason <select data-by="kind">{_options("all", kinds)}</select></label>'
        f'<label>File <select data-by="file">{_options("all", files)}</select></label>'
        '<label>Words <input type="search" autocomplete="off" spellcheck="false"></label></div>'
        f'<p class="told">{told}{prose(block.rest)}</p>'
        f"{scrolled(block.title, drawn)}"
        '<div class="pages" hidden><button type="button" data-turn="-1">Earlier</button>'
        '<span role="status" aria-live="polite"></span><button type="button" data-turn="1">Later</button></div>'
    )


def _options(everything: str, names: Sequence[str]) -> str:
    named = "".join(f'<option value="{number}">{escaped(name)}</option>' for number, name in enumerate(names))
    return f'<option value="">{everything}</option>{named}'


def _record(record: Record, kind: int, file: int) -> str:
    return (
        f'<tr data-kind="{kind}" data-file="{file}"><th scope="row">{escaped(record.kind)}</th>'
        f'<td dir="auto">{escaped(place(record))}</td>'
        f'<td class="said" dir="auto">{visible(record.text)}</td><td dir="auto">{prose(record.note)}</td></tr>'
    )


def changes(block: Changes) -> str:
    """Return each text before and after: what was taken away struck through, what was put in underlined."""
    parts = []
    for change in block.changes:
        pairs = differences(change.before, change.after)
        before = "".join(_piece("del" if changed else "", old) for old, _, changed in pairs)
        after = "".join(_piece("ins" if changed else "", new) for _, new, changed in pairs)
        parts.append(
            f'<li><p class="who">{escaped(change.by)} · {escaped(change.place)}</p>'
            f'<div class="said" dir="auto">{before}</div><div class="said" dir="auto">{after}</div></li>'
        )
    return f"<ul>{''.join(parts)}</ul>"


def _piece(tag: str, text: str) -> str:
    if not text:
        return ""
    return f"<{tag}>{visible(text)}</{tag}>" if tag else visible(text)


def visible(text: str) -> str:
    """Return text in which characters that can't be seen stand as signs."""
    return "".join(_signs(spelled(text))) if text else ""


def _signs(pieces: Iterable[tuple[str, bool]]) -> Iterable[str]:
    for piece, ours in pieces:
        yield f"<i>{escaped(piece)}</i>" if ours else escaped(piece)
