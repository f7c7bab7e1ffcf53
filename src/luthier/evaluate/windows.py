"""A window that slides over a text longer than it: each token is measured once, and reads what stands before it there.

Source: huggingface.co/docs/transformers/perplexity. With a stride of the window less one token, it is what
lm-evaluation-harness calls rolling.
"""

from collections.abc import Iterator
from dataclasses import replace

from luthier.recipe.evaluate import Window
from luthier.tokens.render import Encoded


def windows(encoded: Encoded, window: Window) -> Iterator[tuple[Encoded, int]]:
    """Yield the windows of a text, and the first token of each that no window before it measured.

    What was measured before is in the next window, to be read and not to be learned. A text that is no longer than the
    window is one.
    """
    reached = 0
    for start in range(0, encoded.length, window.step):
        end = min(start + window.tokens, encoded.length)
        learned = encoded.learned[start:end].copy()
        learned[: reached - start] = False
        yield replace(encoded, input_ids=encoded.input_ids[start:end], learned=learned), reached - start
        reached = end
        if end == encoded.length:
            return
