"""Proof that a merged model with a head scores as the trained one: reward models and classifiers.

The reference is the trained model as plain transformers and PEFT load it, one text at a time; the candidate is the
merged folder, all texts in one padded batch, as others use it: a wrong padding token shows too. Both in float32.

Shapes: R texts, K scores.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.files import described, write_json
from luthier.core.progress import Progress
from luthier.core.report import Finding, Report, Section, Table
from luthier.core.run import Run
from luthier.core.text import human_bytes
from luthier.export.certificate import load, stored_type
from luthier.export.merge import merge
from luthier.model.load import load_tokenizer

LIMITS = {"F32": 1e-4, "F16": 2e-2, "BF16": 1e-1}
"""Largest mean difference of scores, as a share of how far scores spread, by stored type."""

OUTLIER = 10.0
"""How far above the limit of the mean a single score may be."""

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreCertificate:
    """How close the scores of an artefact are to those of the model that was trained."""

    prompt_ids_equal: bool
    """Whether both tokenizers make the same ids of every text."""
    max_difference: float
    mean_difference: float
    """Between scores of the same text."""
    spread: float
    """Standard deviation of the trained model's scores over texts: what a difference is measured against."""
    top1_agreement: float
    """Share of texts given the same class; of a reward model, of pairs of texts put in the same order. 0 to 1."""
    rows: int
    limit: float
    """Largest `mean_difference` that passes. A single one may reach `OUTLIER` times it."""
    status: Literal["passed", "failed"]
    compared: str

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON-like values; divergences of next tokens, which these models lack, are None."""
        return {**asdict(self), "max_kl": None, "mean_kl": None}


def merge_scorer(run: Run, *, base: Path, rows: Sequence[Sequence[int]], progress: Progress) -> Report:
    """Merge the run's adapter and head into its base, at `run/merged`, and certify the result.

    Args:
        run: A trained run.
        base: Folder of the base model.
        rows: Token ids of the texts to compare on.
        progress: Who watches.

    Raises:
        ModelError: The adapter can't be merged, or a folder can't be loaded.
    """
    trained, out = run / "model", run / "merged"
    summary = merge(base, trained, out, progress=progress)
    certificate = certified(base, trained, out, rows, adapted=summary.how == "merged")
    write_json(out / "certificate.json", certificate.as_dict())
    words = "adapter and head put into the base" if summary.how == "merged" else "the model was trained whole: copied"
    table = Table(
        "Certificate",
        ("what", "value"),
        (
            ("compared", certificate.compared),
            ("texts", f"{certificate.rows}"),
            ("token ids", "equal" if certificate.prompt_ids_equal else "different"),
            ("difference of scores, mean", f"{certificate.mean_difference:.1e} (limit {certificate.limit:.1e})"),
            ("difference of scores, worst", f"{certificate.max_difference:.1e}"),
            ("scores spread by", f"{certificate.spread:.3g}"),
            ("same class or order", f"{certificate.top1_agreement:.1%}"),
            ("status", certificate.status),
        ),
    )
    passed = certificate.status == "passed"
    return Report(
        title="Merge",
        summary=f"{words}: {summary.targets} of {summary.tensors} tensors changed, {human_bytes(summary.bytes)}.",
        data={
            "files": [described(path, run.path) for path in sorted(out.rglob("*")) if path.is_file()],
            "certificate": certificate.as_dict(),
        },
        sections=(Section("Proof", (table,)),),
        findings=(
            Finding("ok", "what is served is what was trained")
            if passed
            else Finding(
                "failure",
                f"this does not score as the trained model does: {certificate.compared}",
                "keep the folder and report it: the certificate beside it says what differs",
            ),
        ),
        next_steps=(
            f"""python -c "from transformers import pipeline; print(pipeline('text-classification', '{out}')('…'))\"""",
        ),
    )


def certified(
    base: Path, trained: Path, merged: Path, rows: Sequence[Sequence[int]], *, adapted: bool
) -> ScoreCertificate:
    """Return how the scores of a merged folder differ from those of the trained model."""
    reference = load(base, trained, "cpu") if adapted else load(trained, None, "cpu")
    candidate = load(merged, None, "cpu")
    with torch.inference_mode():
        ours = [reference(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in rows]
        theirs = candidate(**_batch(rows, candidate.config.get_text_config().pad_token_id), use_cache=False).logits
    return judged(
        torch.stack(ours).double().numpy(),
        theirs.double().numpy(),
        dtype=stored_type(merged),
        ids_equal=_same_ids(trained, merged, rows),
        reference="base model + adapter (transformers, PEFT)" if adapted else "trained model (transformers)",
    )


def _batch(rows: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Return rows side by side, filled up on the right."""
    width = max(len(row) for row in rows)
    real = torch.arange(width) < torch.tensor([[len(row)] for row in rows])
    ids = torch.full(real.shape, pad)
    ids[real] = torch.tensor([token for row in rows for token in row])
    return {"input_ids": ids, "attention_mask": real.long()}


def _same_ids(trained: Path, merged: Path, rows: Sequence[Sequence[int]]) -> bool:
    """Return whether two folders' tokenizers make the same ids of the texts, and fill up with the same token."""
    ours, theirs = load_tokenizer(trained), load_tokenizer(merged)
    texts = [ours.decode(row) for row in rows]
    return bool(ours(texts)["input_ids"] == theirs(texts)["input_ids"] and ours.pad_token_id == theirs.pad_token_id)


def judged(ours_RK: Scores, theirs_RK: Scores, *, dtype: str, ids_equal: bool, reference: str) -> ScoreCertificate:
    """Return the certificate for measured scores. What is no number fails."""
    gaps_RK = np.abs(ours_RK - theirs_RK)
    spread = float(ours_RK.std(axis=0).max())
    limit = LIMITS[dtype] * spread
    close = bool(gaps_RK.mean() <= limit and gaps_RK.max() <= OUTLIER * limit)
    return ScoreCertificate(
        prompt_ids_equal=ids_equal,
        max_difference=float(gaps_RK.max()),
        mean_difference=float(gaps_RK.mean()),
        spread=spread,
        top1_agreement=_agreement(ours_RK, theirs_RK),
        rows=len(ours_RK),
        limit=limit,
        status="passed" if close and ids_equal else "failed",
        compared=f"{reference}, text by text, with the merged model in {dtype} (transformers), in a padded batch",
    )


def _agreement(ours_RK: Scores, theirs_RK: Scores) -> float:
    if ours_RK.shape[1] > 1:
        return float((ours_RK.argmax(axis=1) == theirs_RK.argmax(axis=1)).mean())
    one, other = (np.sign(scores_R1 - scores_R1.T) for scores_R1 in (ours_RK, theirs_RK))
    return float((one == other).mean())
