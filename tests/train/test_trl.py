"""Loss and gradients of every objective equal TRL's on the same batch. Skipped where TRL is not installed."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import preferences
import pytest
import torch
from preferences import SHAPES, judged_rows, pair_rows

from luthier.model.load import load_model, load_tokenizer
from luthier.recipe.methods import Cpo, Dpo, Kto, Orpo, Sft, Simpo
from luthier.recipe.options import locate
from luthier.tokens.render import Encoded
from luthier.train.objectives.kto import Mismatched
from luthier.train.objectives.objective import Refers

pytest.importorskip("trl")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LIMIT = 1e-5


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def split(row: Encoded) -> tuple[list[int], list[int]]:
    return row.input_ids[~row.learned].tolist(), row.input_ids[row.learned].tolist()


def trainer(kind: str, path: Path, base: Path, rows: list[dict[str, Any]], out: Path, **options: Any) -> Any:
    """Return one of TRL's trainers on a plain model; the rows it is made with are not those it is asked about."""
    import trl
    from datasets import Dataset
    from trl.experimental import cpo, orpo

    made, config = {
        "dpo": (trl.DPOTrainer, trl.DPOConfig),
        "kto": (trl.KTOTrainer, trl.KTOConfig),
        "sft": (trl.SFTTrainer, trl.SFTConfig),
        "orpo": (orpo.ORPOTrainer, orpo.ORPOConfig),
        "cpo": (cpo.CPOTrainer, cpo.CPOConfig),
    }[kind]
    common = {"report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    compared = {"ref_model": plain(base)} if kind in ("dpo", "kto") else {}
    return made(
        model=plain(path),
        args=config(str(out), **common, **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(path),
        **compared,
    )


def plain(path: Path) -> Any:
    return preferences.plain_model.__wrapped__(path)


def same(objective: Any, rows: list[Encoded], path: Path, loss: torch.Tensor, model: Any) -> dict[str, float]:
    loss.backward()
    wanted = preferences.gradients(model)
    for capacity in (64, 4096):
        found, gradient, figures = preferences.step(load_model(path), objective, rows, capacity)
        assert found == pytest.approx(loss.item(), rel=LIMIT)
        assert float((gradient - wanted).norm() / wanted.norm()) < LIMIT
    return figures


def bound(options: Any, rows: list[Encoded], base: Path) -> Any:
    objective = locate(options)(options)
    if not isinstance(objective, Refers):
        return objective
    with torch.no_grad():
        model = preferences.plain_model(base)
        logp = {kind: preferences.log_p(model, texts).numpy() for kind, texts in objective.referred(rows).items()}
    return objective.bind(rows, logp)


PREFERENCE = [{"prompt": "a b", "chosen": " c", "rejected": " d"}] * 4


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Dpo(beta=0.2), {"loss_type": ["sigmoid"], "beta": 0.2}),
        (Dpo(loss="ipo", beta=0.3), {"loss_type": ["ipo"], "beta": 0.3}),
        (Dpo(loss="hinge", beta=0.02), {"loss_type": ["hinge"], "beta": 0.02}),
        (Dpo(loss="robust", label_smoothing=0.2), {"loss_type": ["robust"], "label_smoothing": 0.2}),
        (Dpo(sft_weight=0.7), {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7]}),
    ],
    ids=lambda given: str(given.get("loss_type")) if isinstance(given, dict) else "",
)
def test_dpo_is_that_of_trl(ours: Dpo, theirs: Any, tiny_llama: Path, tiny_qwen2: Path, tmp_path: Path) -> None:
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    rows = pair_rows()
    asked = trainer("dpo", tiny_llama, tiny_qwen2, PREFERENCE, tmp_path, **theirs)
    examples = []
    for better, worse in zip(rows[::2], rows[1::2], strict=True):
        prompt, chosen = split(better)
        examples.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": split(worse)[1]})
    batch = DataCollatorForPreference(pad_token_id=0)(examples)
    loss = asked.compute_loss(asked.model, batch)
    figures = same(bound(ours, rows, tiny_qwen2), rows, tiny_llama, loss, asked.model)
    names = {"rewards_chosen": "rewards/chosen", "margin": "rewards/margins", "accuracy": "rewards/accuracies"}
    for name, trl_name in names.items():
        assert figures[name] == pytest.approx(asked._metrics["eval"][trl_name][0], abs=1e-5)


def padded(rows: list[Encoded], name: str) -> dict[str, torch.Tensor]:
    """Return rows as ORPO and CPO of TRL take them: side by side, padded on the right."""
    width = max(row.length for row in rows)
    ids, labels, mask = (np.full((len(rows), width), fill) for fill in (0, -100, 0))
    for place, row in enumerate(rows):
        ids[place, : row.length] = row.input_ids
        labels[place, : row.length] = np.where(row.learned, row.input_ids, -100)
        mask[place, : row.length] = 1
    made = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    return {f"{name}_{key}": torch.from_numpy(value) for key, value in made.items()}


ONE_TOKEN = tuple((1, *endings) for _, *endings in SHAPES)
"""Prompts of one token: TRL's ORPO learns prompts too, and a first token can't be learned."""


@pytest.mark.parametrize(
    ("kind", "ours", "theirs", "shapes"),
    [
        ("cpo", Cpo(sft_weight=0.5), {"cpo_alpha": 0.5}, SHAPES),
        ("cpo", Cpo(label_smoothing=0.1), {"label_smoothing": 0.1}, SHAPES),
        ("cpo", Simpo(gamma=0.8), {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 0.8}, SHAPES),
        ("orpo", Orpo(beta=0.3), {"beta": 0.3}, ONE_TOKEN),
    ],
    ids=["cpo", "cpo-smoothed", "simpo", "orpo"],
)
def test_cpo_simpo_and_orpo_are_those_of_trl(
    kind: str, ours: Any, theirs: Any, shapes: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    rows = pair_rows(shapes)
    asked = trainer(kind, tiny_llama, tiny_llama, PREFERENCE, tmp_path, remove_unused_columns=False, **theirs)
    batch = padded(rows[::2], "chosen") | padded(rows[1::2], "rejected")
    loss, metrics = asked.get_batch_loss_metrics(asked.model, batch)
    figures = same(bound(ours, rows, tiny_llama), rows, tiny_llama, loss, asked.model)
    assert figures["margin"] == pytest.approx(metrics["rewards/margins"], abs=1e-5)


@pytest.mark.parametrize("kind", ["kto", "apo_zero_unpaired"])
@pytest.mark.parametrize("way", ["towards", "away"])
def test_kto_is_that_of_trl(kind: Any, way: str, tiny_llama: Path, tiny_qwen2: Path, tmp_path: Path) -> None:
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    path, base = (tiny_llama, tiny_qwen2) if way == "towards" else (tiny_qwen2, tiny_llama)
    rows = judged_rows()
    options = {"beta": 0.02, "desirable_weight": 1.3, "undesirable_weight": 0.7}
    judged = [{"prompt": "a b", "completion": " c", "label": place % 2 == 0} for place in range(4)]
    asked = trainer(
        "kto",
        path,
        base,
        judged,
        tmp_path,
        loss_type=kind,
        train_sampling_strategy="sequential",
        per_device_train_batch_size=4,
        **options,
    )
    examples = []
    for row, other in zip(rows, Mismatched(rows), strict=True):
        prompt, answer = split(row)
        example = {"prompt_ids": prompt, "completion_ids": answer, "label": row.label == 1}
        examples.append(example | ({"KL_completion_ids": split(other)[1]} if kind == "kto" else {}))
    batch = DataCollatorForUnpairedPreference(pad_token_id=0)(examples)
    loss = asked.compute_loss(asked.model, batch)
    figures = same(bound(Kto(loss=kind, **options), rows, base), rows, path, loss, asked.model)
    for name, trl_name in {"kl": "kl", "margin": "rewards/margins", "logps_chosen": "logps/chosen"}.items():
        assert figures[name] == pytest.approx(asked._metrics["eval"][trl_name][0], rel=1e-5, abs=1e-4)


def test_supervised_fine_tuning_is_that_of_trl(tiny_llama: Path, tmp_path: Path) -> None:
    rows = pair_rows()
    asked = trainer("sft", tiny_llama, tiny_llama, [{"text": "a b c"}] * 4, tmp_path)
    batch = {name.removeprefix("_"): value for name, value in padded(rows, "").items()}
    loss = asked.compute_loss(asked.model, batch)
    same(bound(Sft(), rows, tiny_llama), rows, tiny_llama, loss, asked.model)
