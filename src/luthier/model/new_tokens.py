"""Tokens that a tokenizer and its model did not have: their ids, and their rows in embeddings and head.

They are no control tokens: an answer shows them, and a row's text that holds one is encoded as it. A new row starts as
the mean of the rows the tokenizer knew (Hewitt 2021, "Initializing new word embeddings for pretrained language
models"): then no new token is likelier than the average one. Rows that start alike move apart, as each token stands in
other places.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken

from luthier.core.errors import ModelError, RecipeError
from luthier.core.files import write_json
from luthier.model.companions import json_object

FILE = "new_tokens.json"
"""Stands beside trained weights: each new token with its id."""

CONFIG, VOCABULARY = "tokenizer_config.json", "tokenizer.json"


def grow_tokenizer(tokenizer: Any, tokens: Sequence[str]) -> tuple[int, ...]:
    """Add tokens to a tokenizer and return their ids, which follow those it has.

    Raises:
        RecipeError: It has one of them already.
    """
    known = tokenizer.get_vocab()
    for token in tokens:
        if token in known:
            raise RecipeError(
                f"the tokenizer has {token!r} already, as token {known[token]}",
                hint="leave it out: the model knows it",
                place="train.new_tokens",
            )
    tokenizer.add_tokens([_added(token) for token in tokens])
    return tuple(tokenizer.convert_tokens_to_ids([*tokens]))


def _added(token: str) -> AddedToken:
    return AddedToken(token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)


def grow(model: Any, ids: Sequence[int], *, place: str) -> None:
    """Give a model rows for new tokens, the mean of those before them; free rows it has are used.

    Args:
        model: A causal language model, before a technique is attached.
        ids: Of the new tokens, rising without a gap; none for a model that stays as it is.
        place: The model's folder, for messages.

    Raises:
        ModelError: The model has fewer rows than its tokenizer had tokens.
    """
    if not ids:
        return
    known, rows = min(ids), model.get_input_embeddings().weight.shape[0]
    if known > rows:
        raise ModelError(
            f"the tokenizer knows {known:,} tokens and the model {rows:,}, so new ones have no place",
            hint="use the tokenizer the model was trained with",
            place=place,
        )
    if max(ids) >= rows:
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    with torch.no_grad():
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            for values in (module.weight, getattr(module, "bias", None)):
                if values is not None:
                    values[list(ids)] = values[:known].mean(0, dtype=torch.float32).to(values.dtype)
    model.luthier_new_tokens = tuple(ids)


def new_ids(model: Any) -> tuple[int, ...]:
    """Return the ids of the tokens a model was given rows for."""
    return getattr(model, "luthier_new_tokens", ())


def ids_of(trained: Path) -> tuple[int, ...]:
    """Return the ids of the new tokens that trained weights were trained with, from the file beside them."""
    return tuple(json_object(trained / FILE).values())


def write(tokenizer: Any, ids: Sequence[int], folder: Path) -> None:
    """Write new tokens into a folder with the base's tokenizer, all else of which stays as it is, and their list."""
    tokens = dict(zip(tokenizer.convert_ids_to_tokens([*ids]), ids, strict=True))
    about = {number: _added(token).__getstate__() for token, number in tokens.items()}
    if (folder / VOCABULARY).is_file():
        whole = json_object(folder / VOCABULARY)
        whole["added_tokens"] += [{"id": number, **entry} for number, entry in about.items()]
        write_json(folder / VOCABULARY, whole)
    else:
        tokenizer.backend_tokenizer.save(str(folder / VOCABULARY))
    config = json_object(folder / CONFIG)
    if "added_tokens_decoder" in config:  # of Transformers 4, which lists all of them twice
        config["added_tokens_decoder"] |= {str(number): entry for number, entry in about.items()}
        write_json(folder / CONFIG, config)
    write_json(folder / FILE, tokens)
