"""Rows that say nearly the same in other words: embeddings that the user's function makes, then one search."""
