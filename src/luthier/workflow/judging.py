"""Judging: a language model over HTTP looks at the answers an evaluation kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from luthier.core.files import write_text
from luthier.core.progress import Progress
from luthier.core.report import Finding, Report
from luthier.core.run import Run
from luthier.recipe.schema import Recipe
from luthier.workflow.additions import about, add, added, assembled, files_of
from luthier.workflow.needs import need_judge
from luthier.workflow.people import ask_people

if TYPE_CHECKING:
    from luthier.recipe.judge import Judge

Agree = Callable[[str], bool]
"""Takes what asking will cost, in words, and returns whether to go on."""


def judged(recipe: Recipe, run: Run, report: Report, agree: Agree | None, progress: Progress) -> Report:
    """Return an evaluation's report with what the recipe's judge says; nothing is spent unless somebody agreed.

    Args:
        recipe: Names the judge.
        run: A run whose evaluation is finished.
        report: Of the evaluation.
        agree: Asked when `evaluate.judge.go_ahead` doesn't say so already; None means nobody is there.
        progress: Somebody who watches.
    """
    options = recipe.evaluate.judge
    if options is None:
        return report
    asked = about(options.model_dump(mode="json", exclude={"at_once", "timeout", "go_ahead", "key_env", "key_file"}))
    if added(run, "judge", about=asked):
        return report
    refused = _judge(recipe, options, run, asked, agree, progress)
    if refused is not None:
        return replace(report, findings=(*report.findings, refused))
    if (run / "people" / "ratings.jsonl").is_file():  # how far they agree with the judge is told anew
        return ask_people(recipe, run, lambda _booth, _options: None)
    whole = assembled(run, recipe.evaluate.gate)
    run.amend("evaluate", report=whole.as_dict(), files=files_of(run))
    return whole


def _judge(
    recipe: Recipe, options: "Judge", run: Run, asked: str, agree: Agree | None, progress: Progress
) -> Finding | None:
    """Ask the judge and keep what it says; return why it wasn't asked."""
    from luthier.core.endpoint import Endpoint
    from luthier.evaluate.judge import account
    from luthier.evaluate.judge.ask import Asking
    from luthier.evaluate.judge.cache import Cache
    from luthier.evaluate.judge.outcomes import outcomes, tally
    from luthier.evaluate.judge.questions import questions
    from luthier.evaluate.pairs import chosen, read_pairs

    key = need_judge(recipe)
    answered = read_pairs(run / "evaluate")
    pairs = chosen(answered, options.rows)
    asking = Asking(questions(pairs, options), options, Cache(run / "judge" / "replies.jsonl"))
    estimate = asking.estimate(_counter(run))
    if estimate.calls:
        progress.start("what the judge will cost", 0, "question")
        progress.end(estimate.brief)
        if not options.go_ahead and not (agree is not None and agree(str(estimate))):
            hint = "say `--yes` to `luthier evaluate`, or set `evaluate.judge.go_ahead`"
            return Finding("warning", f"nothing was judged, because nobody agreed: {estimate}", hint)
        run.log("judge", **estimate.as_dict())
    with Endpoint(options.url, key=key, timeout=options.timeout) as endpoint:
        said = asking.ask(endpoint, progress)
    found = outcomes(pairs, asking.questions, said)
    told = account.Account(options, estimate, said, tally(found, options.criteria), len(answered))
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in account.rows(found))
    write_text(run / "judge" / "pairs.jsonl", "".join(lines))
    add(run, "judge", account.report(told), account.values(told), about=asked)
    return None


def _counter(run: Run) -> Callable[[str], int]:
    """Return what counts tokens: the tuned model's tokenizer where it is at hand, else a token for four bytes."""
    if not (run / "model" / "tokenizer_config.json").is_file():
        return lambda text: len(text.encode("utf-8", "surrogatepass")) // 4 + 1
    from luthier.model.load import load_tokenizer

    tokenizer = load_tokenizer(run / "model")
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
