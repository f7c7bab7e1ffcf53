"""Every process holds a part of each weight, its gradient and its moments: torch's `fully_shard`, asked for by hand.

Trainers that were asked for it on a processor quietly gave whole copies; so what comes out is looked at.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from luthier.core.errors import RecipeError
from luthier.model.adapters.adapted import Adapted
from luthier.model.forward import batching, plain
from luthier.recipe.methods import Fsdp2
from luthier.train.parallel import World


def shard(adapted: Adapted, options: Fsdp2, world: World) -> World:
    """Spread a model over the processes, layer by layer, and return the world that knows it (arXiv:2304.11277).

    A layer's weights are put together when it computes and taken apart afterwards. Gradients are summed, not averaged,
    over processes: losses are shares of the step.

    Args:
        adapted: The model with its adapters. What learns is replaced by its parts, under the same names.
        options: From the recipe.
        world: The processes.

    Raises:
        RecipeError: Passes of this model don't keep step.
    """
    _refuse(adapted.model)
    places = {
        id(parameter): (module, name)
        for module in adapted.model.modules()
        for name, parameter in module.named_parameters(recurse=False)
    }
    homes = [
        (held, name, places[id(parameter)])
        for held in (adapted.trainable, adapted.frozen)
        for name, parameter in held.items()
    ]
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world.size,))
    whole = plain(adapted.model)
    kinds = {*(whole._no_split_modules or ())}
    layers = [module for module in whole.modules() if type(module).__name__ in kinds]
    for module in (*layers, adapted.model):
        fully_shard(module, mesh=mesh, reshard_after_forward=options.reshard)
    for module in adapted.model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    for held, name, (module, attribute) in homes:
        held[name] = module.get_parameter(attribute)
    _look(adapted.model)
    return replace(world, spread=True)


def _refuse(model: Any) -> None:
    """Refuse a model some of whose packs take two passes: processes would wait for each other for ever."""
    if batching(model).turn is not None:
        raise RecipeError(
            "long documents take other rotary angles in this model, so some packs take two passes and others one",
            hint="let each process hold the whole model: `--set train.parallel=ddp`",
            place="train.parallel",
        )


def _look(model: nn.Module) -> None:
    """Make sure that this process holds less than the whole."""
    whole = sum(parameter.numel() for parameter in model.parameters())
    held = sum(each.to_local().numel() for each in model.parameters() if isinstance(each, DTensor))
    odd = [name for name, parameter in model.named_parameters() if not isinstance(parameter, DTensor)]
    assert not odd, f"still whole: {odd[:3]}"
    assert held < whole, f"{held} of {whole} numbers are here"
