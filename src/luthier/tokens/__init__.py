"""Examples to tensors: which token ids, which of them are learned, how they are packed."""

VERSION = 3
"""Of the encoder: raised when the same rows would give other tokens or another account, so that they are made anew."""
