"""The optimizers, and which parameters go into which group.

Each keeps its whole state in tensors, so that `checkpoint` can put it back to the bit.
"""

from typing import Any

import torch

from luthier.core.errors import ModelError
from luthier.model.adapters.adapted import Adapted
from luthier.model.bits import bitsandbytes
from luthier.recipe.methods import Adafactor, AdamW, AdamW8bit, Lion, Sgd
from luthier.recipe.options import Method, locate

Groups = list[dict[str, Any]]
"""As torch takes them; `ratio` is a group's factor on the learning rate, which `set_rate` heeds."""


def optimizer_of(
    options: Method, adapted: Adapted, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimizer over what learns; matrices are decayed, vectors (norms, biases, scales) are not.

    Args:
        options: Which one, from the recipe.
        adapted: The model in training.
        learning_rate: Peak rate; `set_rate` sets each step's.
        weight_decay: Share of a weight taken away per step and unit of learning rate (arXiv:1711.05101).
    """
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in adapted.trainable.items():
        decayed = parameter.ndim >= 2 and name not in adapted.vectors
        ratio = adapted.ratios.get(name, 1.0)
        decay = weight_decay if decayed else 0.0
        empty: dict[str, Any] = {"params": [], "weight_decay": decay, "ratio": ratio, "lr": learning_rate * ratio}
        groups.setdefault((decayed, ratio), empty)["params"].append(parameter)
    made: torch.optim.Optimizer = locate(options)(options, list(groups.values()), learning_rate=learning_rate)
    return made


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, each group's times its ratio."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["ratio"]


def adamw(options: AdamW, groups: Groups, *, learning_rate: float) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, arXiv:1711.05101, algorithm 2)."""
    betas = (options.beta1, options.beta2)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=options.epsilon, fused=True)


def adamw_8bit(options: AdamW8bit, groups: Groups, *, learning_rate: float) -> torch.optim.Optimizer:
    """Return AdamW with moments in blocks of 256 numbers of 8 bits (Dettmers et al., arXiv:2110.02861).

    Raises:
        ModelError: Moments are to be paged, and there is no CUDA device.
    """
    if options.paged and not torch.cuda.is_available():
        problem = "`paged` moves the optimizer's moments between GPU and machine, and here is no GPU"
        raise ModelError(problem, hint="`--set train.optimizer.paged=false`")
    made: torch.optim.Optimizer = bitsandbytes().optim.AdamW8bit(
        groups,
        lr=learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=0.0,  # each group has its own
        is_paged=options.paged,
    )
    return made


def state_bytes(optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    """Return the bytes of an optimizer's state, and how many of them are 8-bit numbers."""
    tensors = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(t.nbytes for t in tensors), sum(t.nbytes for t in tensors if t.dtype == torch.uint8)


def adafactor(options: Adafactor, groups: Groups, *, learning_rate: float) -> torch.optim.Optimizer:
    """Return Adafactor (Shazeer & Stern, arXiv:1804.04235, algorithms 4 and 5) in torch's reading of it.

    A step is max(e, root mean square of the weight) * rate. The paper's e of 0.001 makes it relative to the weight;
    the other half of an adapter, which is zero at first, would hardly move. With e = 1 it is the rate.
    """
    smallest = 1e-3 if options.relative else 1.0
    return torch.optim.Adafactor(
        groups, lr=learning_rate, beta2_decay=options.beta2_decay, eps=(None, smallest), d=options.update_clip
    )


def sgd(options: Sgd, groups: Groups, *, learning_rate: float) -> torch.optim.Optimizer:
    """Return stochastic gradient descent with momentum (Sutskever et al. 2013); its decay is not decoupled."""
    return torch.optim.SGD(groups, lr=learning_rate, momentum=options.momentum, nesterov=options.nesterov)


def lion(options: Lion, groups: Groups, *, learning_rate: float) -> torch.optim.Optimizer:
    """Return Lion."""
    return LionOptimizer(groups, lr=learning_rate, betas=(options.beta1, options.beta2))


class LionOptimizer(torch.optim.Optimizer):
    """EvoLved sign momentum: every weight moves by the rate, in the direction of a blend of mean and gradient.

    With g the gradient, m the mean and w the weight: c = b1 m + (1 - b1) g; w -= rate * (sign(c) + decay * w);
    m = b2 m + (1 - b2) g. Source: Chen et al., arXiv:2302.06675, algorithm 2.
    """

    def __init__(self, params: Groups, *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                direction = torch.lerp(weight.grad, state["mean"], beta1).sign_()
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
                state["mean"].lerp_(weight.grad, 1 - beta2)
