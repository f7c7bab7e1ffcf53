"""Private pieces: precision and recall on the tests' truth set, hits on real files, speed beside presidio.

    python benchmarks/privacy.py [--rows 20000] [--real FOLDER] [--note "what else ran"]

Contestants take turns in one process, over the same texts, pinned to one processor; time is processor time, the fastest
of the rounds. presidio, where it is installed, runs its pattern recognisers of the same kinds, without a language model
and without asking the net for domains. It may tell one piece as several kinds, each of which counts here.
`--real` lists every hit in the files of a folder, to be looked at.
"""

import argparse
import csv
import gzip
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))

from privacy_truth import NOTHING, Snippet, scores, table, truth

from luthier.data.clean.privacy.find import find

ROUNDS = 3

TEXT = """
once the tuning pegs are dry they slip and the string goes flat rub a little chalk on the peg turn it a few times and
try again if it still slips the hole in the peg box may be worn and a luthier should look at it before winter comes
"""

ENTITIES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "US_SSN": "identity",
}

Find = Callable[[str], list[tuple[int, int, str]]]


def ours(text: str) -> list[tuple[int, int, str]]:
    return [(hit.start, hit.end, hit.kind) for hit in find(text)]


def presidio() -> Find:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    names = ("Email", "Phone", "CreditCard", "Iban", "Ip", "UsSsn")
    registry = RecognizerRegistry([getattr(predefined_recognizers, f"{name}Recognizer")() for name in names])
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
    engine.nlp = {"en": spacy.blank("en")}
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine)

    def look(text: str) -> list[tuple[int, int, str]]:
        results = analyzer.analyze(text, "en", entities=[*ENTITIES])
        return [(found.start, found.end, ENTITIES[found.entity_type]) for found in results]

    return look


def texts(rows: int) -> dict[str, list[str]]:
    """Rows of 700 characters: plain, with figures, and with a private piece each."""
    drawn = random.Random(0)
    plain = [" ".join(drawn.choices(TEXT.split(), k=145))[:700] for _ in range(rows)]
    figures = [f"{text[:350]} 48/2 = <<48/2=24>>24, on 2026-11-21 {text[350:650]}" for text in plain]
    pieces = [snippet.text for snippet in truth() if snippet.gold]
    private = [f"{text[:300]} {pieces[place % len(pieces)]} {text[300:650]}" for place, text in enumerate(plain)]
    return {"nothing in it": plain, "figures and dates": figures, "one private piece": private}


def speed(finds: dict[str, Find], rows: int) -> None:
    print(
        f"\n{'rows of 700 characters':24}"
        + "".join(f"{name:>16}" for name in finds)
        + f"{'ratio':>8}   (rows per CPU-second)"
    )
    for what, many in texts(rows).items():
        fastest = dict.fromkeys(finds, float("inf"))
        for _ in range(ROUNDS):
            for name, look in finds.items():
                some = many if name == "luthier" else many[: max(1, rows // 50)]
                began = time.process_time()
                for text in some:
                    look(text)
                fastest[name] = min(fastest[name], (time.process_time() - began) / len(some))
        told = [1 / seconds for seconds in fastest.values()]
        ratio = f"{told[0] / told[1]:8.0f}" if len(told) > 1 else ""
        print(f"{what:24}" + "".join(f"{rate:16,.0f}" for rate in told) + ratio)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def rows_of(file: Path) -> Iterator[Any]:
    name = file.name.removesuffix(".gz")
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open(encoding="utf-8", newline="") as lines:
        if name.endswith(".jsonl"):
            yield from (json.loads(line) for line in lines if line.strip())
        elif name.endswith(".json"):
            whole = json.load(lines)
            yield from whole if isinstance(whole, list) else [whole]
        elif name.endswith((".csv", ".tsv")):
            yield from csv.reader(lines)
        else:
            yield lines.read()


def real(folder: Path) -> None:
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and "LICENSE" not in file.name):
        count, rows, hits = Counter[str](), 0, []
        for row in rows_of(file):
            rows += 1
            for text in strings(row):
                for start, end, kind in ours(text):
                    count[kind] += 1
                    hits.append(
                        f"    {kind}: {text[max(0, start - 40) : start]}[[{text[start:end]}]]{text[end : end + 20]}"
                    )
        print(f"{file.relative_to(folder)}: {rows:,} rows, {dict(count) or 'nothing'}")
        print("".join(f"{hit!r}\n" for hit in hits), end="")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--note", default="")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    finds: dict[str, Find] = {"luthier": ours}
    if find_spec("presidio_analyzer"):
        finds["presidio"] = presidio()
    print(asked.note)
    snippets = truth()
    for name, look in finds.items():
        known = snippets if name == "luthier" else [s for s in snippets if _of_presidio(s)]
        found, mistakes = scores(look, known)
        print(f"\n{name}: {len(known)} snippets, {len(NOTHING)} of them with nothing private\n{table(found)}")
        if name == "luthier":
            print("\n".join(mistakes))
    speed(finds, asked.rows)
    if asked.real:
        real(asked.real)


def _of_presidio(snippet: Snippet) -> bool:
    return all(kind in set(ENTITIES.values()) - {"identity"} for kind, _, _ in snippet.gold)


if __name__ == "__main__":
    main()
