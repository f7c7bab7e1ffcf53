"""Virtual tokens before every document: prompt tuning, P-tuning and prefix tuning through PEFT.

PEFT puts them once before a row. Here a row holds several documents, so each gets its own; a document that shares the
beginning of the one before shares its virtual tokens too. They are computed in float32, and once for a pass.

Shapes: K virtual tokens, T tokens of a pack, B rows of P tokens, H width of the model, G key-value heads of width E.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from peft import PeftConfig, PeftModelForCausalLM, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from transformers import DynamicCache

from luthier.core.errors import RecipeError
from luthier.model.adapters.adapted import Adapted
from luthier.model.adapters.peft_model import task_type, wrap
from luthier.model.forward import batching
from luthier.model.generate import CACHES
from luthier.recipe.methods import Prefix, Prompt, Ptuning

STORED = "prompt_embeddings"
"""What PEFT calls the virtual tokens in its file."""


def attach(model: Any, options: Prompt | Ptuning | Prefix, *, base: str, seed: int) -> Adapted:
    """Return the model with virtual tokens that learn; everything else is frozen.

    Prompt tuning learns embeddings (Lester et al., arXiv:2104.08691, section 2), P-tuning a small network that gives
    them (Liu et al., arXiv:2103.10385, section 3.2), prefix tuning the keys and values of every layer (Li & Liang,
    arXiv:2101.00190, section 4). The finished file holds the virtual tokens themselves, as PEFT's does; a network that
    gave them stays behind in the checkpoints.

    Args:
        model: A causal language model.
        options: How many, of which kind, from which start.
        base: Name of the base model, written into the adapter's config.
        seed: Of the start.

    Raises:
        RecipeError: The model can't be packed, and prefixes are asked for.
    """
    torch.manual_seed(seed)
    assert task_type(model) == "CAUSAL_LM", "the recipe refuses a head"
    if isinstance(options, Prefix) and batching(model).way == "padded":
        raise RecipeError(
            f"prefixes need the packed attention, and this model has its own ({batching(model).reason})",
            hint="take prompt tuning, `--set train.technique=prompt`, or LoRA",
            place="train.technique",
        )
    config = _config(options, str(model.name_or_path))
    adapted = wrap(model, config, base=base, place="train.technique")
    if isinstance(options, Prompt) and options.text is not None:
        config.tokenizer_name_or_path = base  # not this machine's path
    fronted(adapted.model)
    encoder = adapted.model.prompt_encoder["default"]
    # The embeddings are the whole of it where no network gives them, and may have the name they have in the file.
    inside = {name.removeprefix("prompt_encoder."): parameter for name, parameter in adapted.trainable.items()}

    def finish(learned: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tokens = adapted.model.prompt_tokens["default"][: options.tokens].to(encoder.embedding.weight.device)
        values = {name: value.to(tokens.device) for name, value in learned.items()}
        with torch.no_grad():
            return {STORED: torch.func.functional_call(encoder, values, (tokens[None],))[0]}

    return replace(adapted, trainable=inside, finish=finish)


def _config(options: Prompt | Ptuning | Prefix, folder: str) -> PeftConfig:
    match options:
        case Ptuning():
            return PromptEncoderConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=options.tokens, encoder_hidden_size=options.width
            )
        case Prefix():
            return PrefixTuningConfig(
                task_type="CAUSAL_LM",
                num_virtual_tokens=options.tokens,
                prefix_projection=options.projection,
                encoder_hidden_size=options.width,
                init_weights="zero" if options.init == "zero" else None,
            )
        case Prompt(text=None):
            start = "SAMPLE_VOCAB" if options.init == "vocabulary" else "RANDOM"
            return PromptTuningConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=options.tokens, prompt_tuning_init=start
            )
        case Prompt():
            return PromptTuningConfig(
                task_type="CAUSAL_LM",
                num_virtual_tokens=options.tokens,
                prompt_tuning_init="TEXT",
                prompt_tuning_init_text=options.text,
                tokenizer_name_or_path=folder,
            )


def fronted(model: Any) -> Any:
    """Return a PEFT model that reads its virtual tokens in luthier's way, where it has any."""
    if model.active_peft_config.is_prompt_learning:
        model.__class__ = Fronted
    return model


class Fronted(PeftModelForCausalLM):  # type: ignore[misc]
    """PEFT's model, with another way in: packs, and rows that are padded on either side."""

    @property
    def virtual_tokens(self) -> int:
        """Return K."""
        return int(self.active_peft_config.num_virtual_tokens)

    def forward(self, input_ids: torch.Tensor, **inputs: Any) -> Any:
        """Return what the base gives for the texts alone, each with the virtual tokens before it.

        Args:
            input_ids: Shape (1, T) of a pack, or (B, P).
            **inputs: Those of the base: `bounds`, `shared` and `position_ids` of a pack, `attention_mask` and what it
                remembers of rows. A memory that holds anything holds the virtual tokens too. `logits_to_keep` counts
                real tokens.
        """
        deep = self.active_peft_config.peft_type == "PREFIX_TUNING"
        if "bounds" in inputs:
            return self._with_prefixes(input_ids, inputs) if deep else self._pack(input_ids, inputs)
        return self._rows(input_ids, inputs, deep=deep)

    def _virtual(self) -> torch.Tensor:
        """Return the virtual tokens, float32: shape (K, H), or (K, 2 * layers * G * E)."""
        encoder = self.prompt_encoder["default"]
        weight: torch.Tensor = encoder.embedding.weight
        if self.active_peft_config.inference_mode:
            return weight
        tokens = torch.arange(self.virtual_tokens, device=weight.device)
        # The finished file is computed like this too.
        with torch.autocast(weight.device.type, enabled=False):
            found: torch.Tensor = encoder(tokens[None])[0]
        return found

    def _layers(self, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return keys and values of the prefix for each layer: shapes (1, G, K, E)."""
        config = self.active_peft_config
        heads = config.num_attention_heads
        both = self._virtual().to(dtype).view(self.virtual_tokens, 2 * config.num_layers, heads, -1)
        parts = both.permute(1, 2, 0, 3)[:, None]
        return [(parts[2 * layer], parts[2 * layer + 1]) for layer in range(config.num_layers)]

    def _with_prefixes(self, input_ids: torch.Tensor, inputs: dict[str, Any]) -> Any:
        """Run a pack whose attention finds keys and values before every document."""
        inputs["position_ids"] = inputs["position_ids"] + self.virtual_tokens
        return self.base_model(input_ids=input_ids, prefixes=self._layers(self.base_model.dtype), **inputs)

    def _pack(self, input_ids: torch.Tensor, inputs: dict[str, Any]) -> Any:
        """Run a pack with embeddings before every document."""
        bounds: list[int] = inputs["bounds"]
        shared: Sequence[int] = inputs.get("shared") or [0] * (len(bounds) - 1)
        count, device = self.virtual_tokens, input_ids.device
        embedded = self.get_input_embeddings()(input_ids)[0]
        virtual, first = self._virtual().to(embedded.dtype), torch.arange(count, device=device)
        positions = inputs["position_ids"][0] + count
        pieces, places, ends = [], [], [0]
        before = 0  # virtual tokens so far
        for (start, end), common in zip(pairwise(bounds), shared, strict=True):
            if not common:
                pieces += [(virtual, first)]
                before += count
            pieces += [(embedded[start:end], positions[start:end])]
            places += [torch.arange(start, end, device=device) + before]
            ends += [end + before]
        place_T = torch.cat(places)
        keep = inputs.get("logits_to_keep")
        inputs |= {
            "position_ids": torch.cat([position for _, position in pieces])[None],
            "bounds": ends,
            "shared": [common + count if common else 0 for common in shared],
            "logits_to_keep": place_T if keep is None else place_T[keep],
        }
        return self.base_model(inputs_embeds=torch.cat([piece for piece, _ in pieces])[None], **inputs)

    def _rows(self, input_ids: torch.Tensor, inputs: dict[str, Any], *, deep: bool) -> Any:
        """Run rows of texts, or their next tokens. Virtual tokens stand before the padding, which nothing sees."""
        count, rows = self.virtual_tokens, len(input_ids)
        memory = next((inputs[name] for name in CACHES if inputs.get(name) is not None), None)
        fresh = memory is None or (isinstance(memory, DynamicCache) and memory.get_seq_length() == 0)
        mask, positions = inputs.get("attention_mask"), inputs.get("position_ids")
        if mask is not None:
            inputs["attention_mask"] = torch.cat([mask.new_ones(rows, count), mask], dim=1)
        if positions is not None:
            inputs["position_ids"] = positions = positions + count
        if deep and fresh:
            inputs["past_key_values"] = self._remembering(memory, rows)
        if deep or not fresh:
            return self.base_model(input_ids=input_ids, **inputs)
        embedded = self.get_input_embeddings()(input_ids)
        virtual = self._virtual().to(embedded.dtype).expand(rows, -1, -1)
        if positions is not None:
            first = torch.arange(count, device=positions.device).expand(rows, -1)
            inputs["position_ids"] = torch.cat([first, positions], dim=1)
        keep = inputs.get("logits_to_keep")
        if isinstance(keep, torch.Tensor):
            inputs["logits_to_keep"] = keep + count
        found = self.base_model(inputs_embeds=torch.cat([virtual, embedded], dim=1), **inputs)
        if keep is None:
            found.logits = found.logits[:, count:]
        return found

    def _remembering(self, memory: DynamicCache | None, rows: int) -> DynamicCache:
        """Return an empty memory, or a new one, with the prefix in it."""
        memory = DynamicCache(config=self.base_model.config) if memory is None else memory
        for layer, (keys, values) in enumerate(self._layers(self.base_model.dtype)):
            memory.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        return memory
