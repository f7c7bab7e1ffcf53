"""Our models as lm-evaluation-harness asks them: its model interface over `luthier.model`.

What is asked is what the harness's own `HFLM` asks: the same tokens behind the same contexts, cut where it cuts them.
How it is computed is ours: each beginning that texts share once (`luthier.model.continuations`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from luthier.core.errors import DataError, ModelError
from luthier.core.example import Message
from luthier.core.progress import Progress, Silent
from luthier.core.text import plural
from luthier.model.continuations import continuations, whole_because
from luthier.model.forward import batching, plain, precise
from luthier.model.generate import generate, room
from luthier.model.sampling import Sampling, StopStrings
from luthier.tokens.render import Renderer

LONGEST_ANSWER = 256
"""Tokens of an answer where a task doesn't say, as in `HFLM`."""

OBEYED = frozenset({"do_sample", "temperature", "top_p", "until", "max_gen_toks"})
"""Options of a generation that are followed; others are refused."""

Encoded = tuple[list[int], list[int]]
"""A context and what goes on behind it."""


class Scorer(LM):  # type: ignore[misc]
    """A loaded model, answering the requests of a task.

    Args:
        model: A causal language model of `luthier.model.load.load_model`, adapters on or off.
        tokenizer: Its fast tokenizer.
        capacity: Tokens of a forward pass.
        precision: `bf16`, `fp16` or `fp32`, as the plan says.
        progress: Somebody who watches.
        renderer: The chat template, for tasks asked as conversations; None for the tokenizer's own.
        seed: Where a task draws answers.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        capacity: int,
        precision: str = "fp32",
        progress: Progress | None = None,
        renderer: Renderer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.capacity = capacity
        self.precision = precision
        self.progress = progress or Silent()
        self.seed = seed
        self.clipped = Counter[str]()
        """Requests so far, by task, whose context was too long: its first tokens were left out."""
        self._long = 0
        self._renderer = renderer
        self._device = next(model.parameters()).device

    @property
    def whole_because(self) -> str:
        """Return why this model computed texts whole so far, empty when all shared what they begin with."""
        beyond = (
            f"{plural(self._long, 'text')} beyond {batching(self.model).turn} tokens, where LongRoPE turns otherwise"
        )
        return whole_because(self.model) or (beyond if self._long else "")

    @property
    def max_length(self) -> int:
        """Return how many tokens the model reads at once."""
        found = resolve_max_length(plain(self.model).config, self.tokenizer)
        return int(found) - int(getattr(self.model, "virtual_tokens", 0))

    @property
    def tokenizer_name(self) -> str:
        """Return what the harness calls the tokenizer."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    @property
    def prefix_token_id(self) -> int:
        """Return what stands before a text that has no context.

        Raises:
            ModelError: The tokenizer has neither a first nor a last token.
        """
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        raise ModelError(
            "the tokenizer names no token that begins or ends a text",
            hint='add `"eos_token"` to tokenizer_config.json',
            place=self.tokenizer.name_or_path,
        )

    # What is asked ----------------------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Return how likely each continuation is behind its context, and whether greedy decoding gives it.

        Raises:
            DataError: A context or continuation has no token of its own, or a continuation does not fit the model.
        """
        asked = [request.args for request in requests]
        found = self._likely(self.pairs(asked), [str(request.task_name) for request in requests])
        for strings, answer in zip(asked, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", strings, answer)
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """Return how likely each text is as a whole: in windows that are full, the last one as well.

        Raises:
            DataError: As `loglikelihood`.
        """
        texts = [request.args[0] for request in requests]
        prefix, width = self.prefix_token_id, self.max_length
        windows = [
            [make_disjoint_window(window) for window in get_rolling_token_windows(ids, prefix, width, 1)]
            for ids in self._ids(texts)
        ]
        names = [str(request.task_name) for request, own in zip(requests, windows, strict=True) for _ in own]
        each = iter(self._likely([window for own in windows for window in own], names))
        found = [sum(next(each)[0] for _ in own) for own in windows]
        for text, answer in zip(texts, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), answer)
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Return an answer to each context: greedy, or drawn where the task asks for that with a temperature.

        An answer ends before the first of the task's stop strings and of the model's stop tokens.

        Raises:
            DataError: A task asks for a way to generate that is none of these.
        """
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            groups[json.dumps(request.args[1], sort_keys=True)].append(place)
        answers = [""] * len(requests)
        self.progress.start("answer tasks", len(requests), "prompt")
        done = 0
        for members in groups.values():
            contexts, options = [requests[place].args[0] for place in members], requests[members[0]].args[1]
            given = self._answers(contexts, options, [str(requests[place].task_name) for place in members], done)
            done += len(members)
            for place, context, answer in zip(members, contexts, given, strict=True):
                answers[place] = answer
                self.cache_hook.add_partial("generate_until", (context, options), answer)
        self.progress.end()
        return answers

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as text, with the opening of an answer or up to the end of its last turn.

        Raises:
            ModelError: The template refuses it, also without what a system turn says.
        """
        turns = [Message(turn["role"], turn["content"]) for turn in chat_history]
        try:
            text = self._template.text(turns, ask=add_generation_prompt)
        except ModelError:
            asked = [turn for turn in turns if turn.role != "system"]
            if len(asked) == len(turns):
                raise
            text = self._template.text(asked, ask=add_generation_prompt)  # some templates know no system turn
        if add_generation_prompt:
            return text
        last = turns[-1].text.strip()
        return text[: text.rindex(last) + len(last)] if last in text else text

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the text of the template, for the harness to write down."""
        return str(self._template.tokenizer.chat_template) if chat_template else None

    # What becomes of strings ------------------------------------------------------------------------------

    def pairs(self, strings: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Return contexts and continuations as tokens, encoded together and then parted.

        Spaces that end a context belong to its continuation. An empty context is the token that begins a text.
        """
        parted = [_parted(*pair) for pair in strings]
        ids = self._known([context + more for context, more in parted if context])
        contexts = self._known([context for context, _ in parted if context])
        plainly = self._known([more for context, more in parted if not context], special=False)
        found = []
        for context, more in parted:
            if context:
                before = contexts[context]
                found.append((before, ids[context + more][len(before) :]))
            elif plainly[more][:1] == [self.prefix_token_id]:
                found.append((plainly[more][:1], plainly[more][1:]))
            else:
                found.append(([self.prefix_token_id], plainly[more]))
        return found

    def _known(self, texts: Iterable[str], *, special: bool | None = None) -> dict[str, list[int]]:
        """Return the ids of each different text."""
        different = [*dict.fromkeys(texts)]
        return dict(zip(different, self._ids(different, special=special), strict=True))

    def _ids(self, texts: Sequence[str], *, special: bool | None = None) -> list[list[int]]:
        """Return texts as token ids.

        Without a word on `special` tokens the tokenizer adds its own, unless a text begins with the first already.
        """
        begin = self.tokenizer.decode(self.prefix_token_id)
        found: list[list[int]] = [[] for _ in texts]
        bare = [special is False or (special is None and has_bos_prefix(text, begin)) for text in texts]
        for without in (False, True):
            members = [place for place, is_bare in enumerate(bare) if is_bare is without]
            if members:
                encoded = self.tokenizer([texts[place] for place in members], add_special_tokens=not without)
                for place, ids in zip(members, encoded["input_ids"], strict=True):
                    found[place] = list(ids)
        return found

    # What the model says ----------------------------------------------------------------------------------

    def _likely(self, pairs: Sequence[Encoded], tasks: Sequence[str]) -> list[tuple[float, bool]]:
        longest = self.max_length
        for (context, more), task in zip(pairs, tasks, strict=True):
            if not context or not more:
                raise DataError(
                    "a context or a continuation of this task has no token of its own, so nothing can be measured",
                    hint="look for empty questions and choices in its data",
                    place=task,
                )
            if len(more) > longest:
                raise DataError(
                    f"a continuation of this task has {len(more):,} tokens, the model reads {longest:,} at once",
                    hint="measure it with a model of a longer context",
                    place=task,
                )
        cut = (len(context) + len(more) > longest + 1 for context, more in pairs)
        self.clipped.update(task for task, is_cut in zip(tasks, cut, strict=True) if is_cut)
        turn = batching(self.model).turn
        self._long += sum(turn is not None and len(context) + len(more) - 1 > turn for context, more in pairs)
        found = continuations(
            self.model,
            pairs,
            capacity=self.capacity,
            longest=longest,
            precision=self.precision,
            stage="score tasks",
            progress=self.progress,
        )
        return [*zip(found.log_likelihood_R.tolist(), found.greedy_R.tolist(), strict=True)]

    def _answers(self, contexts: Sequence[str], options: dict[str, Any], tasks: Sequence[str], done: int) -> list[str]:
        asked = normalize_gen_kwargs(options, LONGEST_ANSWER)
        strange = sorted(asked.keys() - OBEYED)
        if strange:
            raise DataError(
                f"this task generates with `{strange[0]}`, which luthier does not do",
                hint="leave it out of the task's generation_kwargs",
                place=tasks[0],
            )
        longest = int(asked["max_gen_toks"])
        sampling = None
        if asked["do_sample"] and asked["temperature"] > 0:
            sampling = Sampling(float(asked["temperature"]), float(asked.get("top_p", 1.0)), self.seed)
        last = self.tokenizer.eos_token
        texts = [text for text in handle_stop_sequences(asked["until"], last) if text]
        prompts = self._ids(contexts)
        # Where the longest answer fills the context, `generate` says how a prompt shares it.
        kept = [ids[min(0, longest - self.max_length) :] for ids in prompts]
        rooms = [room(self.model, len(ids), max_new_tokens=longest) for ids in kept]
        cut = (space.read < len(ids) for space, ids in zip(rooms, prompts, strict=True))
        self.clipped.update(task for task, is_cut in zip(tasks, cut, strict=True) if is_cut)
        with precise(self.model, self.precision):
            answers = generate(
                self.model,
                kept,
                stop_ids=self._stop_ids(texts),
                max_new_tokens=longest,
                pad_id=self.tokenizer.pad_token_id or 0,
                sampling=sampling,
                ended=StopStrings(self.tokenizer, texts) if texts else None,
                on_done=lambda more: self.progress.update(done + more),
            )
        given = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [postprocess_generated_text(text, texts, None) for text in given]

    def _stop_ids(self, texts: Sequence[str]) -> frozenset[int]:
        """Return the tokens that end an answer: the model's, and special ones among a task's stop strings.

        Those are no text once an answer is decoded.
        """
        named = getattr(plain(self.model).generation_config, "eos_token_id", None)
        own = [named] if isinstance(named, int) else named or []
        added = self.tokenizer.added_tokens_decoder.items()
        special = [token for token, added_token in added if added_token.special and added_token.content in texts]
        last = self.tokenizer.eos_token_id
        return frozenset([*own, *special, *([] if last is None else [last])])

    @cached_property
    def _template(self) -> Renderer:
        return self._renderer or Renderer(self.tokenizer, sorted(self._stop_ids([])), place=self.tokenizer_name)


def _parted(context: str, more: str) -> tuple[str, str]:
    """Return a context without the spaces that end it, and its continuation with them."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + more
