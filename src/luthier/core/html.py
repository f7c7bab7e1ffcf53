"""A report as one self-contained web page: nothing loaded, charts drawn as inline SVG, readable without script.

Every text is escaped, and the page forbids itself images, connections, forms and any script but its own, which is
known by its hash: a row of hostile data or a model's answer stays text. The script only hides and shows rows of a
list; pages without such a list have none.
"""

import html
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from itertools import groupby

from luthier.core.browse import changes, records
from luthier.core.charts import bars_chart, curve_chart, histogram_chart
from luthier.core.dots import intervals_chart
from luthier.core.markdown import SIGNS, command_and_why, first_with_tokens, legend, spelled
from luthier.core.markup import escaped, figure, prose, table
from luthier.core.report import (
    Bars,
    Block,
    Changes,
    Comparison,
    Curve,
    Finding,
    Histogram,
    Intervals,
    Paragraph,
    Records,
    Report,
    Section,
    Table,
    Token,
    TokenKind,
    TokenText,
)
from luthier.core.text import plural

STYLE = (files("luthier.core") / "page.css").read_text(encoding="utf-8")
SCRIPT = (files("luthier.core") / "page.js").read_text(encoding="utf-8")

MOST_OPEN = 400
"""A text of more tokens is folded away behind its title."""

KIND_TAGS: dict[TokenKind, str] = {"learned": "u", "context": "span", "cut": "s"}
"""Underlined and struck through by themselves: seen without colour, and where the style sheet is lost."""


def to_html(report: Report) -> str:
    """Return the report as a whole web page that can be sent by mail and opened anywhere."""
    findings = "".join(_finding(finding) for finding in report.findings)
    steps = "".join(_step(step) for step in report.next_steps)
    first = first_with_tokens(report)
    body = [
        f'<h1 dir="auto">{escaped(report.title)}</h1>',
        f'<p class="lead" dir="auto">{prose(report.summary)}</p>' if report.summary else "",
        f'<ul class="findings">{findings}</ul>' if findings else "",
        *(_section(section, _legend(report) if section is first else "") for section in report.sections),
        f'<section><h2>Next</h2><ul class="steps">{steps}</ul></section>' if steps else "",
    ]
    script, policy = _script(report)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(report.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{chr(10).join(part for part in body if part)}
</main>{script}
</body>
</html>
"""


def _script(report: Report) -> tuple[str, str]:
    """Return the script a page needs, as an element, and the policy that allows it and nothing else."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    blocks = (block for section in report.sections for block in section.blocks)
    if not any(isinstance(block, Records) for block in blocks):
        return "", policy
    digest = b64encode(sha256(SCRIPT.encode()).digest()).decode()
    return f"\n<script>{SCRIPT}</script>", f"{policy}; script-src 'sha256-{digest}'"


def framed(report: Report) -> str:
    """Return the page in a frame, for notebooks: neither's style nor scripts reach the other."""
    style = "width: 100%; height: 40rem; border: 0"
    return f'<iframe sandbox style="{style}" srcdoc="{html.escape(to_html(report))}"></iframe>'


def _finding(finding: Finding) -> str:
    hint = f'<p class="hint" dir="auto">{prose(finding.hint)}</p>' if finding.hint else ""
    word = "OK" if finding.level == "ok" else finding.level.capitalize()
    text = f'<p dir="auto">{prose(finding.text)}</p>'
    return f'<li class="{finding.level}"><b>{word}</b>{text}{hint}</li>'


def _step(step: str) -> str:
    command, why = command_and_why(step)
    dimmed = f'<span class="why">  # {escaped(why)}</span>' if why else ""
    return f'<li><pre><code><span class="command">{escaped(command)}</span>{dimmed}</code></pre></li>'


def _section(section: Section, legend: str) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f'<section>\n<h2 dir="auto">{escaped(section.title)}</h2>\n{legend}{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f'<p dir="auto">{prose(block.text)}</p>'
        case Table():
            return figure(block.title, table(block))
        case Curve() | Histogram() | Intervals() | Bars():
            return figure(block.title, _drawing(block))
        case Changes():
            return figure(block.title, changes(block), "changes")
        case Records():
            return figure(block.title, records(block), "records")
        case Comparison():
            return _comparison(block)
        case TokenText():
            return figure(block.title, _token_text(block))


def _drawing(block: Curve | Histogram | Intervals | Bars) -> str:
    match block:
        case Curve():
            return curve_chart(block)
        case Histogram():
            return histogram_chart(block)
        case Intervals():
            return intervals_chart(block)
        case Bars():
            return bars_chart(block)


def _comparison(comparison: Comparison) -> str:
    answers = "".join(f"<div>{_voice(name, text)}</div>" for name, text in comparison.answers)
    prompt = f'<div class="prompt">{_voice("Prompt", comparison.prompt)}</div>'
    return f'<figure>{prompt}<div class="voices">{answers}</div></figure>'


def _voice(name: str, text: str) -> str:
    words = escaped(text) if text.strip() else '<span class="none">(empty)</span>'
    heading = f'<h3 class="who" dir="auto">{escaped(name)}</h3>'
    return f'{heading}<div class="words" dir="auto" tabindex="0">{words}</div>'


# tokens ----------------------------------------------------------------------------------------------------


def _token_text(text: TokenText) -> str:
    note = f'<p class="told" dir="auto">{prose(text.note)}</p>' if text.note else ""
    if not text.tokens:
        return note
    words = f'<div class="tokens">{_tokens(text)}</div>'
    if len(text.tokens) <= MOST_OPEN:
        return note + words
    return f'{note}<details class="row"><summary>{plural(len(text.tokens), "token")}</summary>{words}</details>'


def _tokens(text: TokenText) -> str:
    """Return an element for each stretch of one kind, and in it a frame for each token."""
    stretches = []
    for kind, group in groupby(enumerate(text.tokens), key=lambda pair: pair[1].kind):
        tag = KIND_TAGS[kind]
        tokens = "".join(_token(token, differs=index == text.differs_at) for index, token in group)
        stretches.append(f'<{tag} class="{kind}">{tokens}</{tag}>')
    return "".join(stretches)


def _token(token: Token, *, differs: bool) -> str:
    classes = [name for name, holds in (("special", token.special), ("differs", differs)) if holds]
    style = f' class="{" ".join(classes)}"' if classes else ""
    about = f"id {token.id} · {token.kind}{' · special' * token.special}{' · first difference' * differs}"
    words = "".join(f"<i>{escaped(piece)}</i>" if mark else escaped(piece) for piece, mark in spelled(token.text))
    arrow = "<i>▶</i>" if differs else ""
    return f'<span{style} title="{about}">{arrow}{words}</span>'


def _legend(report: Report) -> str:
    samples = "".join(f'<li class="tokens">{_tokens(sample)}</li>' for sample in legend(report))
    return f'<ul class="legend kinds">{samples}<li>{SIGNS}; point at a token for its id</li></ul>'
