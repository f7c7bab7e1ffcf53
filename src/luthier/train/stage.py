"""The training stage: from prepared rows and a plan to a trained model and its report."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from luthier.core.errors import DataError, ModelError
from luthier.core.hardware import hardware
from luthier.core.progress import Progress
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.model.forward import batching, plain
from luthier.model.heads import Head, padding
from luthier.model.load import load_model, load_scorer, stored_as
from luthier.model.quantised import Quantised
from luthier.recipe.methods import Fsdp2, headed
from luthier.recipe.options import locate
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded, Renderer
from luthier.tokens.stage import open_tokens
from luthier.tokens.store import Stored
from luthier.train.inherit import inherit, refuse
from luthier.train.keep import keep
from luthier.train.loop import train
from luthier.train.measure import measure as measured
from luthier.train.objectives.objective import Looks, Refers, Studies
from luthier.train.parallel import World, settled
from luthier.train.reference import Before
from luthier.train.report import LivePage, report
from luthier.train.samples import Sampler
from luthier.train.track.tracker import tracking
from luthier.train.work import HeldOut, Work

if TYPE_CHECKING:
    from luthier.model.adapters.adapted import Adapted
    from luthier.train.objectives.objective import Objective

HeldOutLoss = Callable[[Any, Sequence[Encoded], int, str], HeldOut]
"""Takes model, rows, pack size and precision; the evaluation stage's, handed in by the workflow."""


def train_model(  # noqa: PLR0913 - the workflow hands in what the stage may not import
    recipe: Recipe,
    plan: Plan,
    run: Run,
    *,
    renderer: Renderer,
    base: Path,
    key: str,
    held_out: HeldOutLoss,
    progress: Progress,
    world: World | None = None,
    parent: Path | None = None,
) -> Report | None:
    """Train as planned on the run's tokens, from its last checkpoint if it has one; leave the model in `run/model`.

    Of several processes all must call it; those that don't write in the run get no report.

    Raises:
        ModelError: The model can't be loaded, or knows fewer tokens than its tokenizer.
        DataError: The held-out rows could not be compared by in the end.
    """
    run.log("stage", stage="train", state="began")
    world = world or World()
    torch.set_num_threads(max(1, plan.threads // world.local_size))
    rows, valid = (open_tokens(run / "tokens", split) for split in ("train", "valid"))
    _comparable(recipe, run)
    technique = recipe.train.technique
    memory = world.from_first(lambda: hardware().gpu_memory_bytes) if world.size > 1 else 0
    share, why = settled(recipe.train, needed=plan.memory_bytes, gpu_memory=memory)
    # A model that no GPU holds goes there layer by layer, when it is spread.
    apart = world.size > 1 and isinstance(share, Fsdp2)
    model = _loaded(recipe, plan, base, renderer, (rows, valid), on=torch.device("cpu") if apart else None)
    _fits(model, max(rows.most("highest"), valid.most("highest")), base)
    run.log("stage", stage="train", batching=batching(model).way, reason=batching(model).reason)
    objective: Objective = locate(recipe.train.objective)(recipe.train.objective)
    if parent:
        refuse(objective)
    if isinstance(objective, Studies):
        objective = objective.studied(rows.labels.tolist())
    _doubt(objective, rows, run)
    if apart and memory and isinstance(objective, Refers):
        text = "log-probabilities before training are computed by the first process on the processor: the model is not "
        run.log(
            "warning",
            text=text + "spread over GPUs yet",
            hint="`train.parallel: ddp` computes them on a GPU that holds the model",
        )
    before = Before(model, run / "reference", key, plan, world, progress)
    on_train, on_valid = (before.bound(objective, of, split) for of, split in ((rows, "train"), (valid, "valid")))
    adapted: Adapted = locate(technique)(model, technique, base=recipe.model, seed=recipe.train.seed)
    if parent:
        inherit(adapted, recipe, parent)
    if plan.gradient_checkpointing and not recompute(adapted.model):
        _not_recomputed(recipe, run, base)
    if world.size > 1:
        world = locate(share)(adapted, share, world)
        run.log("stage", stage="train", processes=world.size, parallel=share.kind, reason=why)
    count = sum(parameter.numel() for parameter in adapted.trainable.values())
    run.log("stage", stage="train", trainable_parameters=count, rows=len(rows))

    def measure(model_in_training: Any) -> HeldOut:
        # Of a likelihood, the evaluator's number: the one that base and tuned model are compared by.
        if recipe.train.objective.rows in ("conversation", "text"):
            found = held_out(model_in_training, valid, plan.pack_tokens, plan.precision)
        else:
            found = measured(model_in_training, on_valid, valid, capacity=plan.pack_tokens, precision=plan.precision)
        return HeldOut(**world.from_first(lambda: asdict(found)))

    asked = recipe.train.samples if run.writes else None
    sample = Sampler(asked, renderer, run, precision=plan.precision) if asked else None
    measures = measure if len(valid) else None
    work = Work(recipe, plan, run, key, adapted, on_train, rows, measures, world, sample, renderer.tokenizer.decode)
    with tracking(run, recipe.model_dump(mode="json"), recipe.train.track), run.listening(LivePage(work)):
        outcome = train(work, progress)
    keep(adapted, renderer, base=base, out=run / "model", writes=run.writes)
    torch.set_num_threads(plan.threads)
    return report(work, rows, outcome, trainable=count) if run.writes else None


def _comparable(recipe: Recipe, run: Run) -> None:
    """Refuse, before time is spent, held-out answers of which none is good: nothing could be said of them.

    Raises:
        DataError: So it is.
    """
    if recipe.train.objective.rows != "judged":
        return
    for split in ("valid", "test"):
        held_out = open_tokens(run / "tokens", split)
        if len(held_out) and not (held_out.labels == 1.0).any():
            raise DataError(
                f"none of the {len(held_out)} answers held out in `{split}` is a good one, so base and tuned model "
                "could not be compared",
                hint=f"hold more back with `--set data.split.{split}=0.3`, or others with `--set data.split.seed=1`",
                place=str(run.path),
            )


def _doubt(objective: "Objective", rows: Sequence[Encoded], run: Run) -> None:
    """Tell once what about the rows makes an objective learn little."""
    told = {event["text"] for event in run.events("warning")}
    for doubt in objective.doubts(rows) if isinstance(objective, Looks) else ():
        if doubt not in told:
            run.log("warning", text=doubt)


def _loaded(
    recipe: Recipe, plan: Plan, base: Path, renderer: Renderer, rows: Sequence[Stored], *, on: torch.device | None
) -> Any:
    """Return the base as the objective needs it: with its vocabulary, or with a head that scores texts."""
    dtype, quantised = stored_as(plan.precision), Quantised.asked(recipe.train.technique)
    if not headed(recipe.train.objective):
        new_ids = renderer.tokenizer.convert_tokens_to_ids([*recipe.train.new_tokens])
        return load_model(base, dtype=dtype, quantised=quantised, new_ids=new_ids, on=on)
    pad = padding(renderer.tokenizer, (int(row.input_ids[-1]) for split in rows for row in split))
    head = Head(rows[0].classes, pad, recipe.train.seed)
    return load_scorer(base, head=head, dtype=dtype, quantised=quantised, on=on)


def recompute(model: Any) -> bool:
    """Make a model keep only each layer's input in training; False where its architecture can't (arXiv:1604.06174).

    The non-reentrant way: adapters learn though the embeddings don't, and random numbers are drawn again alike.
    """
    inner = plain(model)
    if not inner.supports_gradient_checkpointing:
        return False
    # Transformers 5.23 renamed it, and warns of the old name.
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    return True


def _not_recomputed(recipe: Recipe, run: Run, base: Path) -> None:
    """Refuse what the recipe asks for, or tell what the plan took for granted."""
    problem = "this architecture can't compute activations again in the backward pass"
    if recipe.train.gradient_checkpointing == "on":
        raise ModelError(problem, hint="`--set train.gradient_checkpointing=auto`", place=str(base))
    run.log("warning", text=f"{problem}, so training needs more memory than planned")


def _fits(model: Any, highest: int, base: Path) -> None:
    """Refuse a tokenizer that knows more tokens than the model has embeddings for, where the data use them."""
    room = model.get_input_embeddings().num_embeddings
    if highest >= room:
        raise ModelError(
            f"the data hold token {highest} of the tokenizer, and the model knows {room}",
            hint="use the tokenizer the model was trained with; `train.new_tokens` adds tokens to both",
            place=str(base),
        )
