"""What was found of one model beside the base, and whether it passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.core.report import Number
from luthier.evaluate import regression
from luthier.evaluate.account import Compared, Metric
from luthier.evaluate.answers import Scored
from luthier.evaluate.contrast import holm
from luthier.evaluate.held_out import Exam, Question
from luthier.evaluate.losses import Loss, chance, loss, losses, of_the_likely, preferred
from luthier.evaluate.measure import Likely, Measured
from luthier.evaluate.stats import mean, perplexity, share
from luthier.evaluate.subject import Absent, Told
from luthier.recipe.evaluate import Evaluate
from luthier.recipe.methods import Rows


@dataclass(frozen=True, slots=True)
class Pair:
    """What was found of one model beside the base."""

    found: Compared
    loss: Loss
    kept: Sequence[regression.Kept]
    refused: Sequence[str]
    """What a gate says no to, in words."""
    told: Sequence[Told]
    """What else was measured."""

    @property
    def data(self) -> dict[str, Any]:
        """Return the keys scripts rely on, but for the names of the models."""
        failed = (f"{one.name}: {one.measure}" for one in self.kept if one.status == "FAIL")
        data = {
            **_of_likelihood(self.found, self.loss),
            "metrics": [metric.as_dict() for metric in self.found.metrics],
            "benchmarks": [],
            "regression": [one.as_dict() for one in self.kept],
            "gate": {"refused": [*self.refused, *failed]},
            "samples": list(self.found.samples),
        }
        for part in self.told:
            data |= part.data
        return data


def _of_likelihood(found: Compared, lost: Loss) -> dict[str, Any]:
    """Return the keys that rest on likelihood, None where there is none to compare."""
    numbers = lost.per_token
    least = None if numbers is None else numbers.detectable
    likely = dict.fromkeys(("base", "tuned", "change"))
    nll = dict.fromkeys(("base", "tuned", "difference"))
    if numbers is not None:
        named = {"base": numbers.base, "tuned": numbers.tuned, "change": numbers.difference}
        likely = {name: perplexity(number).as_dict() for name, number in named.items()}
        nll = {name: getattr(numbers, name).as_dict() for name in nll}
    return {
        "verdict": found.verdict,
        "perplexity": likely,
        "nll": nll,
        "detectable": {
            "nats_per_token": least,
            "perplexity_ratio": None if least is None else perplexity(Number(least, 1)).value,
            **({} if lost.per_byte is None else {"nats_per_byte": lost.per_byte.detectable}),
            **({} if found.preferred is None else found.preferred.detectable),
        },
        "not_compared": found.untold,
        "rows": found.rows,
        "texts": found.texts,
        "tokens": found.tokens,
    }


def compared(
    exam: Exam,
    base: Measured,
    tuned: Measured,
    weighed: Scored | None,
    rivals: Sequence[float | None],
    options: Evaluate,
    rows: Rows,
    *,
    per_token: bool,
) -> tuple[Compared, Loss]:
    """Return all that the recipe's own rows say of two models.

    Args:
        exam: The rows.
        base: What the base did.
        tuned: What the other did.
        weighed: Every metric of their answers.
        rivals: How likely the differences of the other models are by chance: all are counted together.
        options: What was asked.
        rows: What the rows are.
        per_token: Whether endings of a pair are compared by their likelihood per token.
    """
    liked = preferred(base, tuned, rows, per_token=per_token)
    if liked is not None:
        base, tuned = (of_the_likely(model, liked) for model in (base, tuned))
    lost, also = loss(base, tuned), [*rivals]
    if rivals:  # of one model the interval alone decides
        p = chance(base, tuned)
        lost = lost.unless_chance(holm([p, *rivals, *(weighed.ps if weighed else ())])[0])
        also.append(p)
    answered = weighed.answered(also, options.answers) if weighed else None
    read = base.likely if isinstance(base.likely, Likely) else tuned.likely
    found = Compared(
        paired=lost.paired,
        per_byte=lost.per_token is None,
        untold=lost.why,
        rows=len(read.held_out.conversations) if isinstance(read, Likely) else len(exam.questions),
        texts=len(read.held_out.texts) if isinstance(read, Likely) else 0,
        tokens=int(read.conversations.tokens_R.sum()) if isinstance(read, Likely) else 0,
        alike=_alike(base.likely, tuned.likely),
        samples=samples(exam, {"base": base, "tuned": tuned}, options.samples),
        metrics=(
            *(liked.metrics if liked else ()),
            *(answered.metrics if answered else ()),
            *(() if liked else losses(base, tuned)),
            *of_answers(base, tuned),
        ),
        cut={"base": base.answers.ended.count(False), "tuned": tuned.answers.ended.count(False)},
        clipped=tuned.answers.clipped,
        left_out={},
        max_new_tokens=options.max_new_tokens,
        setting="",
        drawn=_drawn(options),
        slid=options.window is not None,
        noun="document" if rows == "text" else "conversation",
        preferred=liked,
        answered=answered,
    )
    return found, lost


def _alike(base: Likely | Absent, tuned: Likely | Absent) -> bool:
    if isinstance(base, Absent) or isinstance(tuned, Absent) or base.held_out is not tuned.held_out:
        return False
    return bool((base.conversations.nll_R == tuned.conversations.nll_R).all())


def _drawn(options: Evaluate) -> str:
    drawn = options.sampling
    if drawn is None:
        return ""
    return f"drawn at temperature {drawn.temperature:g} from the top {drawn.top_p:g} of probability, seed {drawn.seed}"


def answers_of(name: str, exam: Exam, models: dict[str, Measured]) -> Iterator[dict[str, Any]]:
    """Yield every question with what the models answered, and whether the answers ended by themselves."""
    for place, question in enumerate(exam.questions):
        ended = {called: model.answers.ended[place] for called, model in models.items()}
        yield {"set": name, **_sample(question, place, models), "ended": ended}


def _sample(question: Question, place: int, models: dict[str, Measured]) -> dict[str, Any]:
    source = question.example.source
    return {
        "source": {"file": source.file, "line": source.line},
        "prompt": question.prompt,
        "expected": question.expected,
        **{called: model.answers.texts[place] for called, model in models.items()},
    }


def samples(exam: Exam, models: dict[str, Measured], count: int) -> list[dict[str, Any]]:
    """Return up to `count` answers, evenly spread over all."""
    asked = len(exam.questions)
    count = min(count, asked)
    shown = sorted({number * asked // count for number in range(count)})
    return [_sample(exam.questions[place], place, models) for place in shown]


def of_answers(base: Measured, tuned: Measured) -> list[Metric]:
    """Return whether answers end, and how long they are."""
    count = len(base.answers.texts)
    if not count:
        return []
    ended = [share(model.answers.ended.count(True), count) for model in (base, tuned)]
    length = [mean([len(answer) for answer in model.answers.texts]) for model in (base, tuned)]
    return [
        Metric("answers_ended", "answers that end by themselves", ended[0], ended[1], percent=True),
        Metric("answer_characters", "characters of an answer, mean", length[0], length[1], percent=False),
    ]
