"""Loss scaling for fp16, whose smallest number is too large for many gradients (arXiv:1710.03740, section 3.2).

Unlike in torch's GradScaler no step is lost: one whose gradients overflow is computed again at half the scale.
"""

from typing import NamedTuple

CALM = 2000
"""Steps without overflow after which the scale doubles."""


class Scale(NamedTuple):
    """What the loss is multiplied with before the backward pass, and gradients divided by after it."""

    factor: float = 65536.0
    calm: int = 0
    """Steps since the factor changed."""

    def lowered(self) -> "Scale":
        """Return the scale after an overflow."""
        return Scale(self.factor / 2)

    def stepped(self) -> "Scale":
        """Return the scale after a step without overflow."""
        return Scale(2 * self.factor) if self.calm + 1 == CALM else Scale(self.factor, self.calm + 1)


NONE = Scale(1.0)
"""For every other precision."""
