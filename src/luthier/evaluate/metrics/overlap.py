"""BLEU, chrF and ROUGE, as sacrebleu and rouge-score count them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from luthier.evaluate.metrics.metric import Expected, Floats, Metric, each
from luthier.recipe.metrics import Bleu, Chrf, Rouge


def bleu(options: Bleu) -> list[Metric]:
    """Return corpus BLEU, 0 to 100."""
    from sacrebleu.metrics import BLEU

    made = BLEU(tokenize=options.tokenize)

    def score(sums: Sequence[float]) -> float:
        length, wanted, *counts = sums
        orders = made.max_ngram_order
        found = made.compute_bleu(
            correct=counts[:orders],
            total=counts[orders:],
            sys_len=1,  # it takes whole lengths only: whether the answers are too short is reckoned here
            ref_len=1,
            smooth_method=made.smooth_method,
            smooth_value=made.smooth_value,
            effective_order=made.effective_order,
            max_ngram_order=orders,
        )
        brevity = math.exp(min(0.0, 1 - wanted / length)) if length else 0.0
        return float(found.score) * brevity

    return [_of_sacrebleu("bleu", "BLEU", made, score)]


def chrf(options: Chrf) -> list[Metric]:
    """Return corpus chrF, 0 to 100."""
    from sacrebleu.metrics import CHRF

    made = CHRF(word_order=options.word_order)
    return [_of_sacrebleu("chrf", f"chrF{'+' * options.word_order}", made, made._compute_f_score)]


def _of_sacrebleu(name: str, label: str, counter: Any, score_of: Callable[[Sequence[float]], float]) -> Metric:
    """Return a metric of sacrebleu from the counts it takes of each answer itself, which add up to the corpus's."""

    def figures(expected: Sequence[Expected], answers: Sequence[str]) -> Floats:
        counts = counter._extract_corpus_statistics([*answers], [[want.text for want in expected]])
        return np.array(counts, dtype=np.float64)

    def score(sums: Floats) -> Floats:
        # Not cut to whole numbers: intervals rest on how the score rises with a little more of a count.
        return np.array([score_of(row) for row in sums.tolist()], dtype=np.float64)

    return Metric(name, label, figures, score, percent=False)


def rouge(options: Rouge) -> list[Metric]:
    """Return the F-measures of ROUGE-1, 2, L and Lsum, means over answers; lines are the sentences of Lsum."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}

    def of(kind: str) -> Metric:
        scorer = RougeScorer([kind], use_stemmer=options.stemmer)
        return Metric(
            kind, kinds[kind], each(lambda want, got: float(scorer.score(want.text, got)[kind].fmeasure)), percent=True
        )

    return [of(kind) for kind in kinds]
