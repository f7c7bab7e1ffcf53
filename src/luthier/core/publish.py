"""Putting a report on disk in its three written forms."""

from pathlib import Path

from luthier.core.files import write_json, write_text
from luthier.core.html import to_html
from luthier.core.markdown import to_markdown
from luthier.core.report import Report


def write_report(report: Report, folder: Path, name: str = "report") -> None:
    """Write `name.json`, `name.md` and `name.html` into `folder`, each whole or not at all."""
    write_json(folder / f"{name}.json", report.as_dict())
    write_text(folder / f"{name}.md", to_markdown(report))
    write_text(folder / f"{name}.html", to_html(report))
