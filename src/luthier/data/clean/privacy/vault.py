"""The file that tells what stand-ins stand for. It exists only where the recipe asks for it."""

import json
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.files import write_bytes
from luthier.data.clean.privacy.rewrite import MOST_PASSES
from luthier.data.clean.privacy.standins import normal

OWNER_ONLY = 0o600

WORD = re.compile(r"(?<![A-Za-z0-9])\S")
"""Where a stand-in may begin."""

ALNUM = re.compile(r"[A-Za-z0-9]")


def refuse_place(vault: Path, run: Path, sources: Set[Path]) -> None:
    """Raise where a vault would be published with the run, or read as data.

    Raises:
        DataError: The vault is in the run directory, or one of the source files.
    """
    place = vault.resolve()
    if place.is_relative_to(run.resolve()):
        raise DataError(
            "the vault is inside the run directory, which is exported and shared",
            hint="put it elsewhere: `--set data.clean.privacy.vault=~/vaults/FILE.jsonl`",
            place=str(vault),
        )
    if place in {source.resolve() for source in sources}:
        raise DataError(
            "the vault is one of the source files", hint="put it into another folder than the data", place=str(vault)
        )


def write(vault: Path, made: Mapping[tuple[str, str], str]) -> None:
    """Add what was replaced to a vault: a line `{"stand_in", "original", "kind"}` each, for its owner's eyes only.

    What stands in it already stays. Of two ways to write the same value, the first is kept.

    Args:
        vault: The file, made where it is missing.
        made: Kind and original, to the stand-in.

    Raises:
        DataError: The file can't be read, or two different values have one stand-in.
    """
    entries = {entry["stand_in"]: entry for entry in _lines(vault)}
    for (kind, original), stand_in in made.items():
        entry = entries.setdefault(stand_in, {"stand_in": stand_in, "original": original, "kind": kind})
        if normal(kind, entry["original"]) != normal(kind, original):
            raise DataError(
                f"two different values get the stand-in `{stand_in}`, so it could not be undone",
                hint="set another `data.clean.privacy.salt`, with a new vault",
                place=str(vault),
            )
    lines = "".join(json.dumps(entry) + "\n" for entry in entries.values())
    write_bytes(vault, lines.encode(), mode=OWNER_ONLY)


def _lines(vault: Path) -> list[dict[str, str]]:
    if not vault.exists():
        return []
    try:
        entries = [json.loads(line) for line in vault.read_text("utf-8").splitlines()]
        return [{name: entry[name] for name in ("stand_in", "original", "kind")} for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            "there is a file already, and it is no vault", hint="name another file", place=str(vault)
        ) from error


def restored(value: Any, vault: Path) -> Any:
    """Return whatever JSON can hold with stand-ins turned back into what they stand for.

    Raises:
        DataError: The file is no vault.
    """
    originals = {entry["stand_in"]: entry["original"] for entry in _lines(vault)}
    lengths = sorted({*map(len, originals)}, reverse=True)

    def back(item: Any) -> Any:
        if isinstance(item, str):
            for _ in range(MOST_PASSES):  # what stood there may have held another stand-in
                item = _restored(item, originals, lengths)
            return item
        if isinstance(item, dict):
            return {back(key): back(inner) for key, inner in item.items()}
        return [back(inner) for inner in item] if isinstance(item, list) else item

    return back(value)


def _restored(text: str, originals: Mapping[str, str], lengths: list[int]) -> str:
    """Look where words begin, for stand-ins of each length: a vault may hold a million of them."""
    pieces: list[str] = []
    last = 0
    for match in WORD.finditer(text):
        start = match.start()
        if start < last:
            continue
        for length in lengths:
            end = start + length
            if text[start:end] in originals and not ALNUM.match(text, end):
                pieces += (text[last:start], originals[text[start:end]])
                last = end
                break
    return "".join([*pieces, text[last:]])
