"""Who is measured. A contestant tells the meter where a pass over the documents begins and ends.

Loading and rendering are over by then; batching, padding, packing and logging count.
"""

import contextlib
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, TrainerCallback

from case import BATCH, RANK, RATE, SEED, Case
from luthier.core.hardware import hardware
from luthier.core.run import Run
from luthier.model.facts import facts
from luthier.model.load import load_model, load_tokenizer
from luthier.recipe.data import Data
from luthier.recipe.facts import RowFacts
from luthier.recipe.methods import Full, Lora
from luthier.recipe.options import locate
from luthier.recipe.plan import plan
from luthier.recipe.schema import Recipe, Train
from luthier.tokens.batch import steps_per_epoch
from luthier.tokens.render import Encoded
from luthier.train.optim import optimizer_of
from luthier.train.step import take
from luthier.train.work import Work

IGNORED = -100  # Transformers' label of a token that is not learned


class Pass(NamedTuple):
    seconds: float
    loss: float
    learned: int
    peak_bytes: int


class Meter:
    """Waits for its turn, then sends what the pass cost."""

    def __init__(self, line: Connection) -> None:
        self.line, self.turn = line, -1

    def begin(self) -> None:
        self.line.recv()
        self.turn, self.nll, self.learned = self.turn + 1, 0.0, 0
        self.started = time.process_time()

    def step(self, mean_loss: float, learned: int) -> None:
        self.nll += mean_loss * learned
        self.learned += learned

    def end(self) -> None:
        seconds = time.process_time() - self.started
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        self.line.send(Pass(seconds, self.nll / self.learned, self.learned, peak * 1024))


def luthier(case: Case, meter: Meter, precision: str) -> None:
    """Luthier's own step, as `luthier train` takes it."""
    rows, name = case.rows(), str(case.model)
    technique = Lora(rank=RANK) if case.technique == "lora" else Full()
    train = Train(technique=technique, batch_size=BATCH, learning_rate=RATE, seed=SEED, precision=precision)
    recipe = Recipe(model=name, data=Data(sources=(str(case.documents),)), train=train)
    planned = plan(recipe, facts(name), RowFacts(len(rows), 0, 0.0, 0, ""), hardware())
    adapted = locate(technique)(load_model(case.model), technique, base=name, seed=SEED)
    adapted.model.train()
    objective = locate(train.objective)(train.objective)
    work = Work(recipe, planned, Run(case.documents.parent / "run"), "", adapted, objective, rows, None)
    optimizer = optimizer_of(train.optimizer, adapted, learning_rate=RATE, weight_decay=train.weight_decay)
    for turn in range(case.rounds + 1):
        meter.begin()
        for step in range(steps_per_epoch(len(rows), BATCH)):
            result, _ = take(work, optimizer, step, RATE * (turn > 0))
            meter.step(result.loss, result.supervised_tokens)
        meter.end()


def plain(case: Case, meter: Meter, precision: str) -> None:
    """The loop everybody writes first: padded batches, logits at every position, sdpa."""
    model, batches = _peft_model(case), case.batches()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    for turn in range(case.rounds + 1):
        meter.begin()
        optimizer.param_groups[0]["lr"] = RATE * (turn > 0)
        for documents in batches:
            ids = [torch.from_numpy(row.input_ids).long() for row in documents]
            labels = pad_sequence([_labels(row) for row in documents], batch_first=True, padding_value=IGNORED)
            mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = model(pad_sequence(ids, batch_first=True), attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            meter.step(loss.item(), int((labels[:, 1:] != IGNORED).sum()))
        meter.end()


def trl(case: Case, meter: Meter, setting: str) -> None:
    """TRL's SFTTrainer: its defaults (bf16, batches of 8, checkpointing), or tuned (packs of 1,024, none)."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    class Metered(SFTTrainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            meter.step(loss.item(), int(num_items_in_batch))
            return loss

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, lr_scheduler: Any, optimizer: Any, **__: Any) -> None:
            meter.begin()
            lr_scheduler.base_lrs = [RATE * (meter.turn > 0)] * len(lr_scheduler.base_lrs)
            for group in optimizer.param_groups:
                group["lr"] = RATE * (meter.turn > 0)

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            meter.end()

    tuned = {"packing": True, "gradient_checkpointing": False, "per_device_train_batch_size": 1}
    same = {"learning_rate": RATE, "lr_scheduler_type": "constant", "train_sampling_strategy": "sequential"}
    quiet = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True}
    options = same | quiet | (tuned if setting == "tuned" else {})
    config = SFTConfig(str(case.documents.parent / "trl"), num_train_epochs=case.rounds + 1, **options)
    rows = [row for batch in case.batches() for row in batch]
    data = Dataset.from_list([{"input_ids": row.input_ids.tolist(), "labels": _labels(row).tolist()} for row in rows])
    with contextlib.redirect_stdout(None):  # it prints its logs
        tokenizer = load_tokenizer(case.model)
        trainer = Metered(_peft_model(case), args=config, train_dataset=data, processing_class=tokenizer)
        trainer.add_callback(Turns())
        trainer.train()


def _peft_model(case: Case) -> Any:
    """Return the model as a script would make it, with what luthier trains and where luthier starts."""
    model = AutoModelForCausalLM.from_pretrained(str(case.model), dtype="auto", attn_implementation="sdpa")
    if case.technique == "full":
        return model.float().train()
    torch.manual_seed(SEED)
    config = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    return get_peft_model(model, config).train()


def _labels(row: Encoded) -> torch.Tensor:
    return torch.from_numpy(row.input_ids).long().masked_fill(~torch.from_numpy(row.learned), IGNORED)


CONTESTANTS: dict[str, tuple[Callable[[Case, Meter, str], None], str]] = {
    "luthier, bf16": (luthier, "bf16"),
    "luthier, fp32": (luthier, "fp32"),
    "plain loop, bf16": (plain, "bf16"),
    "plain loop, fp32": (plain, "fp32"),
    "TRL, defaults": (trl, "defaults"),
    "TRL, tuned": (trl, "tuned"),
}
"""Who, with which setting. The first is what luthier plans by itself where bfloat16 is native."""

MISSING = {name for name, (who, _) in CONTESTANTS.items() if who is trl and find_spec("trl") is None}
