"""Examples to tensors: which token ids, which of them are learned, how they are packed."""
