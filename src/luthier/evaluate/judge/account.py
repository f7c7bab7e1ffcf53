"""What a judge's verdicts say to a person, and the keys scripts rely on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.core.report import Block, Comparison, Finding, Number, Paragraph, Report, Section, Table
from luthier.core.text import plural
from luthier.evaluate.account import shown
from luthier.evaluate.judge.ask import CUT, NOT_ASKED, Judged
from luthier.evaluate.judge.cost import Estimate, dollars
from luthier.evaluate.judge.outcomes import Outcome, Tally
from luthier.evaluate.stats import FEWEST
from luthier.recipe.judge import Judge

EXAMPLES = 2
"""Pairs shown of each kind."""

MUCH = 0.6
"""Share of choices that go to one place from which on it is a warning."""

FEW_UNSCORED = 0.05
"""Share of pairs that may stay unscored before it is a warning."""


@dataclass(frozen=True, slots=True)
class Account:
    """Everything there is to tell."""

    options: Judge
    estimate: Estimate
    said: Judged
    found: Tally
    answered: int
    """Prompts both models answered; at most `options.rows` of them were judged."""


def report(told: Account) -> Report:
    """Return the judge's part of an evaluation's report; its data is the value of `judge`."""
    return Report(
        title="Judge",
        summary=_summary(told),
        data=_data(told),
        sections=(Section("What the judge says", tuple(_blocks(told))),),
        findings=tuple(_findings(told)),
    )


def values(told: Account) -> dict[str, Number]:
    """Return what a gate may ask for."""
    found = {} if told.found.win_rate is None else {"judge_win_rate": told.found.win_rate}
    return found | {f"judge_{one.name}": one.found.tuned for one in told.found.criteria}


def _summary(told: Account) -> str:
    found = told.found
    if found.win_rate is None:
        return f"The judge {told.options.model} scored no pair of answers."
    counts = found.counts
    return (
        f"{found.verdict.capitalize()}, says the judge {told.options.model}: of {plural(found.scored, 'pair')} of "
        f"answers the tuned model wins {counts['tuned']:,}, the base {counts['base']:,}, {counts['tie']:,} are ties; "
        f"win rate {shown(found.win_rate, as_percent=True)}, a tie counting half."
    )


def _blocks(told: Account) -> Iterator[Block]:
    found = told.found
    yield Paragraph(_summary(told))
    if found.win is not None and found.win_rate is not None:
        rows = [
            ("pairs won", shown(found.win.base, as_percent=True), shown(found.win.tuned, as_percent=True),
             shown(found.win.change, as_percent=True), found.verdict),
            *(
                (one.name, shown(one.found.base), shown(one.found.tuned), shown(one.found.change), one.verdict)
                for one in found.criteria
            ),
        ]  # fmt: skip
        yield Table("", ("by the judge", "base", "tuned", "change", "verdict"), tuple(rows))
    bias = [
        (label, shown(number, as_percent=True), f"{number.n:,}")
        for label, number in (
            ("the answer that stood first was chosen", found.first),
            ("the longer answer won", found.longer),
        )
        if number is not None
    ]
    if bias:
        yield Table("What else may have decided", ("how often", "share", "of"), tuple(bias))
    yield from _examples(found.outcomes)
    yield Paragraph(_method(told))


def _examples(outcomes: Sequence[Outcome]) -> Iterator[Comparison]:
    kinds = (
        ("tuned wins", [one for one in outcomes if one.winner == "tuned"]),
        ("base wins", [one for one in outcomes if one.winner == "base"]),
        ("changed its mind with the order", [one for one in outcomes if one.flipped]),
    )
    for kind, ones in kinds:
        for one in [one for one in ones if one.judgements][:EXAMPLES]:
            answers = (
                ("base", one.pair.base),
                ("tuned", one.pair.tuned),
                (f"judge: {kind}", one.reason),
            )
            yield Comparison(one.pair.prompt, answers)


def _method(told: Account) -> str:
    options, found = told.options, told.found
    orders = "Each answer was shown alone; the one with the higher sum of ratings wins."
    if options.mode == "compare":
        orders = (
            "Each pair was shown in both orders, and an answer wins only where both agree; equal answers are ties and "
            "were not shown."
        )
    seen = ", with the expected answer beside it" if options.reference else ""
    text = (
        f"{told.answered:,} prompts were answered by both models; {plural(len(found.outcomes), 'pair')} of answers, "
        f"chosen by hash, went to {options.model} at {options.url}{seen}. {orders} Ratings are 1 to 5. Shares have "
        "Wilson's interval, their difference Tango's, and the sign test (McNemar's exact); ratings are resampled "
        "pair by pair, and their verdicts count all criteria together (Holm)."
    )
    if found.win is not None and found.win.detectable is not None:
        points = f"{found.win.detectable * 100:.0f} points"
        text += f" These pairs show a difference of {points} between the shares of pairs won four times out of five."
    if told.said.left_out:
        names = ", ".join(told.said.left_out)
        text += f" The endpoint does not take {names}: asked again, the judge may say otherwise."
    return (
        f"{text} Cost: {_paid(told)}. A judge is a model too: it may share the mistakes of those it judges, favour its "
        "own family, and listen to what it reads. Let people rate some of the same pairs before much hangs on it."
    )


def _paid(told: Account) -> str:
    purse = told.said.purse
    counted = "" if purse.counted else ", at most: the endpoint doesn't count"
    text = f"{plural(purse.calls, 'reply')}, {purse.prompt_tokens:,} tokens in and {purse.answer_tokens:,} out{counted}"
    return text if purse.usd is None else f"{text}; ${dollars(purse.usd)}"


def _findings(told: Account) -> Iterator[Finding]:
    found = told.found
    if found.win_rate is not None:
        rate = shown(found.win_rate, as_percent=True)
        if found.verdict == "better":
            yield Finding("ok", f"the judge finds the tuned answers better: win rate {rate}")
        if found.verdict == "worse":
            hint = "look at the pairs that were lost: what did it unlearn?"
            yield Finding("warning", f"the judge finds the tuned answers worse: win rate {rate}", hint)
    if found.scored < FEWEST:
        text = f"the judge scored {plural(found.scored, 'pair')}: fewer than {FEWEST} can't carry a verdict"
        yield Finding("warning", text, "raise `evaluate.answers` and `evaluate.judge.rows`")
    yield from _of_missing(found.unscored, len(found.outcomes))
    yield from _of_bias(found)
    if told.said.asked_again:
        yield Finding("note", f"{told.said.asked_again:,} replies could not be read and were asked for once more")


def _of_bias(found: Tally) -> Iterator[Finding]:
    if found.first is not None and _leans(found.first):
        side, often = _side(found.first, "first", "second")
        hint = "a pair only counts as won where both orders agree; a stronger judge would leave fewer ties"
        text = f"the judge prefers whatever stands {side}, in {often * 100:.0f} % of its choices"
        yield Finding("warning" if often > MUCH else "note", text, hint)
    if found.flipped:
        pairs = f"{plural(found.flipped, 'pair')} of {found.scored:,}"
        yield Finding("note", f"{pairs} changed the winner with the order, and count as ties")
    if found.longer is not None and _leans(found.longer):
        side, often = _side(found.longer, "longer", "shorter")
        text = f"where there is a winner, it is the {side} answer in {often * 100:.0f} %: better, or only {side}"
        yield Finding("note", text)


def _side(number: Number, more: str, less: str) -> tuple[str, float]:
    return (more, number.value) if number.value > 0.5 else (less, 1 - number.value)


def _of_missing(unscored: Mapping[str, int], pairs: int) -> Iterator[Finding]:
    hints = {
        CUT: "raise `evaluate.judge.max_tokens`",
        NOT_ASKED: "raise `evaluate.judge.budget`; what was answered is kept",
    }
    for reason, count in unscored.items():
        many = count > FEW_UNSCORED * pairs
        hint = hints.get(reason, "name a stronger judge" if many else "")
        text = f"{plural(count, 'pair')} of {pairs:,} unscored: {reason}"
        yield Finding("warning" if many else "note", text, hint)


def _leans(number: Number) -> bool:
    """Return whether chance would not do that."""
    return number.low is not None and number.high is not None and not number.low <= 0.5 <= number.high


def _data(told: Account) -> dict[str, Any]:
    found, purse = told.found, told.said.purse
    win = found.win
    return {
        "model": told.options.model,
        "url": told.options.url,
        "mode": told.options.mode,
        "verdict": found.verdict,
        "win_rate": _number(found.win_rate),
        "decided": _number(found.decided),
        "won": None if win is None else {"base": win.base.as_dict(), "tuned": win.tuned.as_dict()},
        "p": None if win is None else win.p,
        "detectable": None if win is None else win.detectable,
        "pairs": len(found.outcomes),
        "scored": found.scored,
        "unscored": dict(found.unscored),
        "counts": {**found.counts, "alike": found.alike, "flipped": found.flipped},
        "criteria": [
            {
                "name": one.name,
                "base": one.found.base.as_dict(),
                "tuned": one.found.tuned.as_dict(),
                "change": one.found.change.as_dict(),
                "p": one.p,
                "verdict": one.verdict,
                "detectable": one.found.detectable,
            }
            for one in found.criteria
        ],
        "bias": {"first": _number(found.first), "longer": _number(found.longer)},
        "cost": {
            "estimate": told.estimate.as_dict(),
            "replies": purse.calls,
            "prompt_tokens": purse.prompt_tokens,
            "answer_tokens": purse.answer_tokens,
            "counted": purse.counted,
            "usd": purse.usd,
        },
    }


def _number(number: Number | None) -> dict[str, Any] | None:
    return None if number is None else number.as_dict()


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return every pair with what was said of it."""
    return [
        {
            "key": one.pair.key,
            "source": one.pair.source,
            "winner": one.winner,
            "flipped": one.flipped,
            "missing": one.missing,
            "replies": [
                {"scores": one_said.scores, "better": one_said.better, "reason": one_said.reason}
                for one_said in one.judgements
            ],
        }
        for one in outcomes
    ]
