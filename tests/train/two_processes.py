"""Trainings that two processes do together, and what came of them as JSON: started by test_parallel.py.

One start for all of them: a process takes seconds to come up.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from preferences import judged_rows
from test_loop import PLAN, rows, work
from torch import distributed

import luthier
from luthier.core.errors import Failed, Interrupted, LuthierError
from luthier.core.processes import place
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.model.forward import supervised_nll
from luthier.recipe.methods import Ddp, Fsdp2, Full, Lora
from luthier.recipe.methods import Kto as KtoOptions
from luthier.recipe.options import locate
from luthier.tokens.pack import pack
from luthier.train.loop import train
from luthier.train.objectives.kto import Kto
from luthier.train.parallel import World, gathered, joined
from luthier.train.reference import Before
from luthier.train.stage import recompute
from luthier.train.work import HeldOut, Work

STEPS = 6

PLANS = {
    # Five examples a step of eight, so every second step is a part; packs of 60 tokens, so shares differ in number.
    "lora": (replace(PLAN, steps=STEPS, batch_size=5, pack_tokens=60, checkpoint_every=2), Lora(rank=8)),
    "full": (replace(PLAN, steps=STEPS, batch_size=3, checkpoint_every=2, gradient_checkpointing=True), Full()),
    # One example a step: the second process never has a pack.
    "idle": (replace(PLAN, steps=2, batch_size=1), Lora(rank=8)),
    # Another number of passes in each process, before those of the loss.
    "kto": (replace(PLAN, steps=3, batch_size=5, pack_tokens=60), Lora(rank=8)),
}


def job(world: World, model: Path, out: Path, name: str, way: Any, **more: Any) -> Work:
    plan, technique = PLANS[name]
    made = work(model, out, replace(plan, **more), technique=technique)
    if name == "kto":
        judged, kto = judged_rows(), Kto(KtoOptions())
        before = Before(made.adapted.model, out / "reference", "key", plan, world, Silent())
        made = replace(made, rows=judged, objective=before.bound(kto, judged, "train"))
    if plan.gradient_checkpointing:
        assert recompute(made.adapted.model)
    made = replace(made, run=Run(out, writes=world.first), world=world)
    if world.size > 1:
        made = replace(made, world=locate(way)(made.adapted, way, world))
    return made


def measured(model: Any) -> HeldOut:
    """Run the model without learning, in training's midst, as every process must."""
    model.eval()
    with torch.no_grad():
        nll = supervised_nll(model, pack(rows(), range(8)))
    return HeldOut(nll.mean().item(), len(nll))


def weights(made: Work) -> dict[str, torch.Tensor]:
    return gathered(made.adapted.trainable, keep=True)


def told(made: Work) -> dict[str, Any]:
    found = weights(made)
    run = Run(made.run.path)
    return {
        "steps": [[e["step"], e["loss"], e["grad_norm"], e["tokens"]] for e in run.events("step")],
        "evals": [[e["step"], e["loss"]] for e in run.events("eval")],
        "warnings": run.events("warning"),
        "hash": hashlib.sha256(b"".join(found[name].numpy().tobytes() for name in sorted(found))).hexdigest(),
        "held": sum(getattr(p, "to_local", lambda p=p: p)().numel() for p in made.adapted.trainable.values()),
        "whole": sum(parameter.numel() for parameter in found.values()),
    }


def run_all(world: World, model: Path, home: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ways = {"ddp": Ddp(), "fsdp2": Fsdp2()}
    for name in PLANS:
        if world.first:
            alone = replace(job(World(), model, home / f"one-{name}", name, None), measure=measured)
            train(alone, Silent())
            found[f"one {name}"] = told(alone)
        for way, options in ways.items():
            made = replace(job(world, model, home / f"{way}-{name}", name, options), measure=measured)
            train(made, Silent())
            found[f"{way} {name}"] = told(made)
    for way, options in ways.items():
        # Stopped by a signal that only the second process got; on by both; then, from the same place, by one.
        cut = job(world, model, home / f"cut-{way}", "lora", options)
        stop_after(cut, 3 if world.rank == 1 else 99)
        try:
            train(replace(cut, measure=measured), Silent())
        except LuthierError as error:
            found[f"{way} stopped"] = [error.exit_code, str(error)]
        world.tell("stopped")
        if world.first:
            shutil.copytree(home / f"cut-{way}", home / f"less-{way}")
        again = replace(job(world, model, home / f"cut-{way}", "lora", options), measure=measured)
        train(again, Silent())
        found[f"{way} resumed"] = told(again)
        if world.first:
            fewer = replace(job(World(), model, home / f"less-{way}", "lora", None), measure=measured)
            train(fewer, Silent())
            found[f"{way} to one"] = told(fewer)
    if world.first:  # one process leaves a checkpoint that two go on from
        left = job(World(), model, home / "more", "lora", None)
        stop_after(left, 4)
        with suppress(Interrupted):
            train(replace(left, measure=measured), Silent())
    world.tell("left")
    more = replace(job(world, model, home / "more", "lora", Fsdp2()), measure=measured)
    train(more, Silent())
    found["one to fsdp2"] = told(more)
    for name in ("roomy", "tight"):
        made = job(world, model, home / name, "lora", Ddp(), batch_size=8, pack_tokens=200)
        if name == "tight" and world.rank == 1:
            limit(made, 64)
        train(replace(made, measure=measured), Silent())
        found[name] = told(made)
    found["words"] = words(world)
    questions = [{"question": f"What is {number}?", "answer": f"It is {number}."} for number in range(20)]
    report = luthier.train(model=str(model), data=questions, out=str(home / "api"), max_steps=2, quiet=True)
    found["api"] = [report.data.get("state"), distributed.is_initialized()]
    return found


def stop_after(made: Work, step: int) -> None:
    """Send this process a SIGTERM in the step after so many."""
    objective, calls = made.objective, [0]
    collate = objective.collate

    def counted(*given: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return collate(*given, **more)

    objective.collate = counted


def limit(made: Work, tokens: int) -> None:
    """Let a forward pass of more tokens than that fail as an allocator does, while the model trains."""

    def hook(module: Any, args: Any) -> None:
        if module.training and args[0].numel() > tokens:
            raise torch.OutOfMemoryError("tried to allocate 1 GiB")

    made.adapted.model.get_input_embeddings().register_forward_pre_hook(hook)


def words(world: World) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tell": world.tell({"rank": world.rank, "text": "ä" * (1 + world.rank)}),
        "sums": world.sums({"loss": 0.5, "late": 1.0} if world.rank else {"loss": 0.25}),
        "sum": world.sum(torch.tensor([1.0, world.rank], dtype=torch.float64)).tolist(),
        "first": world.from_first(lambda: "made once"),
    }
    try:
        world.same(world.rank, "number")
    except Failed as error:
        found["same"] = str(error)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    with joined(place()) as together:
        results = run_all(together, Path(sys.argv[1]), Path(sys.argv[2]))
    file = Path(sys.argv[2]) / f"found{together.rank}.json"
    file.write_text(json.dumps(results), encoding="utf-8")
