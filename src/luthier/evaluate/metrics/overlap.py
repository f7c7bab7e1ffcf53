"""BLEU, chrF and ROUGE, as sacrebleu and rouge-score count them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.evaluate.metrics.metric import Expected, Floats, Metric, each
from luthier.recipe.metrics import Bleu, Chrf, Rouge


def bleu(options: Bleu) -> list[Metric]:
    """Return corpus BLEU, 0 to 100."""
    from sacrebleu.metrics import BLEU

    return [_of_sacrebleu("bleu", "BLEU", BLEU(tokenize=options.tokenize))]


def chrf(options: Chrf) -> list[Metric]:
    """Return corpus chrF, 0 to 100."""
    from sacrebleu.metrics import CHRF

    made = CHRF(word_order=options.word_order)
    return [_of_sacrebleu("chrf", f"chrF{'+' * options.word_order}", made)]


def _of_sacrebleu(name: str, label: str, counter: Any) -> Metric:
    """Return a metric of sacrebleu from the counts it takes of each answer itself, which add up to the corpus's."""

    def figures(expected: Sequence[Expected], answers: Sequence[str]) -> Floats:
        counts = counter._extract_corpus_statistics([*answers], [[want.text for want in expected]])
        return np.array(counts, dtype=np.float64)

    def score(sums: Floats) -> Floats:
        # sacrebleu's own scoring takes a list of whole numbers.
        found = [counter._compute_score_from_stats([int(count) for count in row]).score for row in sums]
        return np.array(found, dtype=np.float64)

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
