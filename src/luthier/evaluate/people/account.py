"""People's part of an evaluation's report."""

from collections.abc import Iterator
from typing import Any

from luthier.core.report import Block, Finding, Number, Paragraph, Report, Section, Table
from luthier.core.text import plural
from luthier.evaluate.account import shown
from luthier.evaluate.people.opinion import Opinion
from luthier.evaluate.stats import FEWEST


def values(found: Opinion) -> dict[str, Number]:
    """Return what a gate may ask for."""
    rate = {} if found.win_rate is None else {"people_win_rate": found.win_rate}
    return rate | {f"people_{one.name}": one.found.tuned for one in found.criteria}


def report(found: Opinion) -> Report:
    """Return people's part of an evaluation's report; its data is the value of `people`."""
    return Report(
        title="People",
        summary=_summary(found),
        data=_data(found),
        sections=(Section("What people say", tuple(_blocks(found))),),
        findings=tuple(_findings(found)),
    )


def _summary(found: Opinion) -> str:
    if found.win_rate is None:
        return "Nobody compared any answers yet."
    counts = found.counts
    return (
        f"{found.verdict.capitalize()}, say people: {plural(len(found.raters), 'person').replace('persons', 'people')} "
        f"looked at {plural(found.pairs - found.alike, 'pair')} of answers without knowing whose they were, and chose "
        f"the tuned model {counts['tuned']:,} times, the base {counts['base']:,}, neither {counts['tie']:,}; win rate "
        f"{shown(found.win_rate, as_percent=True)}, a tie counting half."
    )


def _blocks(found: Opinion) -> Iterator[Block]:
    yield Paragraph(_summary(found))
    if found.win is None:
        return
    numbers = (shown(number, as_percent=True) for number in (found.win.base, found.win.tuned, found.win.change))
    rows = [("preferred", *numbers, found.verdict)]
    for one in found.criteria:
        numbers = (shown(number) for number in (one.found.base, one.found.tuned, one.found.change))
        rows.append((one.name, *numbers, one.verdict))
    yield Table("", ("by people", "base", "tuned", "change", "verdict"), tuple(rows))
    agreed = [*_agreed(found)]
    if agreed:
        yield Table("How far they agree", ("measure", "value", "of"), tuple(agreed))
    yield Table("Who", ("person", "pairs"), tuple((name, f"{count:,}") for name, count in found.raters.items()))
    yield Paragraph(
        "Sides were drawn anew for each person and pair. A pair is one observation: what several people say of it is "
        f"averaged. {plural(found.alike, 'pair')} of equal answers were shown to nobody and count as ties; what was "
        "skipped doesn't count. Intervals and tests are those of metrics (Tango's and McNemar's where each pair "
        "has one winner, else the bootstrap over pairs and exchange at random); of agreement, the bootstrap. "
        "Kappa and alpha are 0 at chance and 1 at full agreement."
    )


def _agreed(found: Opinion) -> Iterator[tuple[str, str, str]]:
    names = {
        "krippendorff_alpha": "Krippendorff's alpha",
        "cohen_kappa": "Cohen's kappa",
        "fleiss_kappa": "Fleiss' kappa",
    }
    measures = [(names[name], number, False) for name, number in found.agreement.items()]
    measures += [(f"Krippendorff's alpha of {one.name}", one.alpha, False) for one in found.criteria]
    if found.judge is not None:
        measures += [("most people and the judge say the same", found.judge["share"], True)]
        measures += [("Cohen's kappa with the judge", found.judge["kappa"], False)]
    measures += [(f"Spearman's correlation with the judge, {name}", one, False) for name, one in found.ratings.items()]
    for name, number, percent in measures:
        if number is not None:
            yield name, shown(number, as_percent=percent), f"{number.n:,}"


def _findings(found: Opinion) -> Iterator[Finding]:
    if found.win_rate is None:
        return
    rate = shown(found.win_rate, as_percent=True)
    if found.verdict == "better":
        yield Finding("ok", f"people find the tuned answers better: win rate {rate}")
    if found.verdict == "worse":
        yield Finding("warning", f"people find the tuned answers worse: win rate {rate}", "look at the pairs it lost")
    if found.pairs < FEWEST:
        text = f"people compared {plural(found.pairs, 'pair')}: fewer than {FEWEST} can't carry a verdict"
        yield Finding("warning", text, "go on with the same command: it continues where you stopped")
    agreed = found.agreement.get("krippendorff_alpha")
    if agreed is not None and agreed.high is not None and agreed.low is not None and agreed.low <= 0:
        text = "people agree no more than chance would have it"
        yield Finding("warning", text, "say what is better: a clearer rubric, or pairs that differ more")


def _data(found: Opinion) -> dict[str, Any]:
    win = found.win
    return {
        "verdict": found.verdict,
        "win_rate": _told(found.win_rate),
        "preferred": None if win is None else {"base": win.base.as_dict(), "tuned": win.tuned.as_dict()},
        "p": None if win is None else win.p,
        "detectable": None if win is None else win.detectable,
        "pairs": found.pairs,
        "alike": found.alike,
        "skipped": found.skipped,
        "counts": {name: found.counts.get(name, 0) for name in ("tuned", "base", "tie")},
        "raters": dict(found.raters),
        "criteria": [
            {
                "name": one.name,
                "base": one.found.base.as_dict(),
                "tuned": one.found.tuned.as_dict(),
                "change": one.found.change.as_dict(),
                "p": one.p,
                "verdict": one.verdict,
                "krippendorff_alpha": _told(one.alpha),
            }
            for one in found.criteria
        ],
        "agreement": {name: _told(number) for name, number in found.agreement.items()},
        "judge": None if found.judge is None else {name: _told(number) for name, number in found.judge.items()},
        "judge_ratings": {name: number.as_dict() for name, number in found.ratings.items()},
    }


def _told(number: Number | None) -> dict[str, Any] | None:
    return None if number is None else number.as_dict()
