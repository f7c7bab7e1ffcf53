"""Reports with all a person sees of them, as JSON and back: for a page that others add to later."""

from dataclasses import asdict
from typing import Any, get_args

from pydantic import TypeAdapter

from luthier.core.report import Block, Finding, Report, Section, Setting

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Block)}


def kept(report: Report) -> dict[str, Any]:
    """Return a report as JSON-like values."""
    return {
        "title": report.title,
        "summary": report.summary,
        "data": report.data,
        "sections": [
            {
                "title": section.title,
                "detail": section.detail,
                "blocks": [{"kind": type(block).__name__, **asdict(block)} for block in section.blocks],
            }
            for section in report.sections
        ],
        "findings": [asdict(finding) for finding in report.findings],
        "next_steps": [*report.next_steps],
    }


def again(found: dict[str, Any]) -> Report:
    """Return the report that `kept` took apart.

    Raises:
        ValueError: It did not.
    """
    try:
        sections = tuple(
            Section(section["title"], tuple(_block(block) for block in section["blocks"]), section["detail"])
            for section in found["sections"]
        )
        return Report(
            found["title"],
            found["summary"],
            found["data"],
            sections,
            tuple(map(_finding, found["findings"])),
            tuple(found["next_steps"]),
        )
    except (KeyError, TypeError) as error:
        message = f"this is no kept report ({error})"
        raise ValueError(message) from error


def _finding(found: dict[str, Any]) -> Finding:
    return Finding(**{**found, "settings": tuple(Setting(**setting) for setting in found.get("settings", ()))})


def _block(found: dict[str, Any]) -> Block:
    fields = {name: value for name, value in found.items() if name != "kind"}
    block: Block = TypeAdapter(_KINDS[found["kind"]]).validate_python(fields)
    return block
