"""Proof that what we serve is what was trained: the same token ids in, the same probabilities out.

The reference is always the trained model as plain transformers and PEFT load it, computed in float32. The
candidate is the artefact as its users will load it. On held-out rows we compare how each renders and
tokenizes the prompt, and at positions of the answer the Kullback-Leibler divergence KL(reference ||
candidate), in nats, of the next token. Templates run in luthier's own process for them, whose environment a
test holds equal to that of transformers (docs/decisions/0006).
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from luthier.core.errors import Failed, MissingExtra, ModelError
from luthier.core.example import Message
from luthier.core.files import write_json
from luthier.core.progress import Progress, Silent
from luthier.core.report import Number
from luthier.core.text import one_line, plural
from luthier.export.adapter import CONFIG_NAME
from luthier.export.llamacpp import rebuilt, refused
from luthier.export.safetensors_file import model_tensors, read_json
from luthier.export.servers import sent
from luthier.export.vocabulary import load_tokenizer
from luthier.model.heads import kept as kept_head
from luthier.model.llamacpp import Answer, ask, chat, forced, next_token, tokens
from luthier.model.load import stop_ids
from luthier.model.new_tokens import grow, ids_of
from luthier.model.quantised import Quantised, quantising, settle_layers
from luthier.tokens.render import Renderer

ROWS = 32
"""Most rows a certificate rests on: enough to catch a wrong tensor, few enough to take seconds."""

LENGTH = 512
"""Longest row, in tokens. A longer one is cut at its end; the prompt is kept whole."""

POSITIONS = 8
"""Positions of each answer that llama.cpp is asked about: the first, the last, and some spread between."""

MERGED_LIMITS = {"F32": 1e-8, "F16": 2e-5, "BF16": 1e-3}
"""Largest mean divergence of a merged model, by stored type: at least 15 times what rounding once costs.

Measured on two trained 260K-parameter models with an adapter on every linear layer, the worse of each: F32 4e-12,
F16 8e-7, BF16 6e-5. Rounding noise averages out in wider models, so larger ones stay below.
"""

GGUF_LIMITS = {
    "f32": 5e-5,
    "f16": 5e-5,
    "bf16": 2e-3,
    "q8_0": 1e-2,
    "q6_k": 3e-2,
    "q5_k_m": 8e-2,
    "q5_k_s": 8e-2,
    "q4_k_m": 0.2,
    "q4_k_s": 0.2,
    "q4_0": 0.3,
    "q3_k_m": 1.0,
    "q2_k": 1.5,
}
"""Largest mean divergence of a GGUF file from the folder it was made from: about ten times what is usual.

Measured on the same models: f32 8e-7 (llama.cpp keeps keys and values in float16), f16 3e-6, bf16 1.8e-4 (it rounds
activations to bfloat16 too), q8_0 1.3e-3; the smaller types on the bundled model, whose rows are whole blocks of 256,
and on one of 260,000 weights, the worse of each: q6_k 2.9e-3, q5_k 8.6e-3, q4_k 2.3e-2, q4_0 2.7e-2, q3_k_m 0.13,
q2_k 0.18. The last two limits catch a wrong model, not a slightly wrong one: a finer type of the same run does.
Compared with base + adapter, the rounding of the merge comes on top.
"""

SMALL_EFFECT = 5.0
"""How far the limit is lowered at most when the adapter changes little. Rounding still fits below."""

OUTLIER = 30.0
"""How far above the limit of the mean a single position may be."""

EVERY = 1 << 20
"""More tokens than any model knows: llama.cpp tells as many as there are."""

FLOOR = 1e-9
"""Smallest probability counted for all tokens that were not listed: float32 can't tell less from 0."""

Log = np.ndarray[Any, np.dtype[np.float64]]

Compare = Callable[[Log, Log, np.ndarray[Any, np.dtype[np.int64]]], dict[str, Number]]
"""Makes a certificate's `perplexity` of what was trained and what is served: both summed negative log-likelihoods of
each row's tokens, in nats, and how many they are. Shapes (rows,)."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A held-out row: the token ids of the prompt as training rendered it, and of the answer.

    `messages` are the prompt's turns, or `text` the prompt itself where there is no chat template. With
    neither, the tokenizers are compared on the prompt's ids turned back into text, and no template is.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    messages: tuple[dict[str, Any], ...] | None = None
    text: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    """Functions offered with `messages`, in the OpenAI shape."""
    why: str = ""
    """Why there are no `messages`, in words."""
    question: str = ""
    """What was said last, for people."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """How close an artefact is to the model that was trained. Divergences are in nats."""

    prompt_ids_equal: bool
    """Whether every prompt is the ids that training saw; also False where llama.cpp rebuilds a request (`notes`)."""
    max_kl: float
    mean_kl: float
    top1_agreement: float
    """Share of the compared positions at which both find the same token likeliest, 0 to 1."""
    rows: int
    limit: float
    """Largest `mean_kl` that passes. A single position may reach `OUTLIER` times it."""
    status: Literal["passed", "failed"]
    compared: str
    """What was compared with what, and what went wrong if something did."""
    chats: int = 0
    """Rows whose turns and tools both sides rendered with their chat template; the others are compared as text."""
    perplexity: dict[str, Number] | None = None
    """Of the answers' tokens at the compared positions: `trained`, `served`, and `change`, the second over the first.
    None where it wasn't measured."""
    notes: tuple[str, ...] = ()
    """What to know beside it, each with what to do: rows compared as text and why, prompts that a server changes."""

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON-like values; a divergence that is no number becomes None."""
        values = asdict(self)
        values["notes"] = [*self.notes]
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}

    def write(self, folder: Path) -> Path:
        """Write `certificate.json` beside the artefact and return its path."""
        write_json(folder / "certificate.json", self.as_dict())
        return folder / "certificate.json"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing progress bars, and PEFT from warning about transformers' names."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks for a name that transformers 5.23 has renamed; both work.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def load(model: Path, adapter: Path | None, device: str) -> Any:
    """Return a model in float32 for computing, by plain transformers and, with an adapter, plain PEFT.

    Raises:
        ModelError: The folder can't be loaded.
    """
    try:
        with quiet():
            kind = None if adapter is None else Quantised.of(adapter)
            told = adapter or model  # an adapter has a config of its own where a head of scores belongs to it
            scored = kept_head(told) is not None
            loaded = (AutoModelForSequenceClassification if scored else AutoModelForCausalLM).from_pretrained(
                str(model),
                config=AutoConfig.from_pretrained(str(told)) if scored else None,
                dtype=torch.float32,
                local_files_only=True,
                **quantising(kind, torch.device(device)),
            )
            if kind is None:
                loaded = loaded.to(device)
            else:
                settle_layers(loaded)
            if adapter is not None and (adapter / CONFIG_NAME).is_file():
                from peft import PeftModel

                grow(loaded, ids_of(adapter), place=str(model))
                loaded = PeftModel.from_pretrained(loaded, str(adapter))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, StrictDataclassError) as error:
        raise ModelError(
            f"can't load the model to compare with: {one_line(str(error), 160)}",
            hint="check that the base model is the one the adapter was trained on",
            place=str(adapter or model),
        ) from error
    return loaded.eval()


def renderer_of(model: Path, adapter: Path | None, now: datetime) -> Renderer:
    """Return tokenizer and template that were trained with: the adapter's own, if it has them, else the model's.

    Args:
        model: The model's folder.
        adapter: The adapter's.
        now: What templates that write the date are told, one for all that is compared.
    """
    own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    folder = adapter if own and adapter is not None else model
    return Renderer(load_tokenizer(folder), [*stop_ids(folder), *stop_ids(model)], place=str(folder), now=now)


def rendered(renderer: Renderer, probe: Probe) -> tuple[str, list[int]]:
    """Return a probe's prompt as a model folder's template and tokenizer make it: text and token ids.

    Raises:
        ModelError: There is no template, or it fails.
    """
    if probe.messages is not None:
        return chat_prompt(renderer, probe.messages, probe.tools)
    tokenizer = renderer.tokenizer
    if probe.text is not None:
        return probe.text, list(tokenizer.encode(probe.text))
    text = tokenizer.decode([*probe.prompt], skip_special_tokens=False)
    return text, renderer.ids(text)


def chat_prompt(
    renderer: Renderer, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]
) -> tuple[str, list[int]]:
    """Return the prompt of a chat as text and token ids.

    Raises:
        ModelError: There is no template, or it fails.
    """
    if renderer.source != "tokenizer":  # the renderer has put one in
        raise ModelError(
            "there is no chat template", hint="copy the model's `chat_template.jinja`", place=renderer.place
        )
    turns = [
        Message(
            turn["role"], turn.get("content") or "", {k: v for k, v in turn.items() if k not in ("role", "content")}
        )
        for turn in messages
    ]
    return renderer.text(turns, tools=tools, ask=True), renderer.prompt_ids(turns, tools=tools)


def room(model: Path) -> int:
    """Return the longest row to compare on: `LENGTH`, or what the model was built for if that is less."""
    longest = read_json(model / "config.json").get("max_position_embeddings")
    return min(LENGTH, longest) if isinstance(longest, int) else LENGTH


def cut(probes: Sequence[Probe], length: int = LENGTH) -> list[Probe]:
    """Return at most `ROWS` probes of at most `length` tokens, leaving out those without an answer.

    Raises:
        ModelError: None is left.
    """
    kept = []
    for probe in probes:
        answer = probe.answer[: max(0, length - len(probe.prompt))]
        if answer and probe.prompt:
            kept.append(replace(probe, answer=answer))
    if not kept:
        raise ModelError(
            "there is no row to compare on",
            hint=f"give rows with a prompt and an answer, together at most {length} tokens",
        )
    return kept[:ROWS]


def log_probabilities(model: Any, probe: Probe) -> Log:
    """Return the log-softmax before each answer token, in nats. Shape (answer tokens, vocabulary)."""
    ids = torch.tensor([[*probe.prompt, *probe.answer]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0]
    first = len(probe.prompt) - 1
    # float64: at a KL of 1e-7 the float32 sum over a large vocabulary is all rounding.
    values: Log = torch.log_softmax(logits[first:-1].double(), dim=-1).cpu().numpy()
    return values


def divergence(reference: Log, candidate: Log) -> Log:
    """Return KL(reference || candidate) at each position, in nats. Inputs (positions, vocabulary)."""
    gaps: Log = (np.exp(reference) * (reference - candidate)).sum(axis=-1)
    return gaps


def listed_divergence(reference: Log, answer: Answer) -> float:
    """Return KL(reference || candidate) over the tokens the candidate listed, all others as one bucket.

    Args:
        reference: Log-probabilities at one position, nats. Shape (vocabulary,).
        answer: The candidate's `ids` and `logprobs`, from `llamacpp.next_token`.

    Returns:
        Nats. A lower bound of the full divergence, and equal to it when every token is listed. Infinite for a
        token that the reference doesn't have.
    """
    ids = np.asarray(answer["ids"], dtype=np.int64)
    theirs = np.asarray(answer["logprobs"], dtype=np.float64)
    if not len(ids) or ids.max() >= len(reference):
        return math.inf
    ours = reference[ids]
    total = float((np.exp(ours) * (ours - theirs)).sum())
    if len(ids) < len(reference):
        rest_ours = max(1.0 - float(np.exp(ours).sum()), FLOOR)
        rest_theirs = max(1.0 - float(np.exp(theirs).sum()), FLOOR)
        total += rest_ours * math.log(rest_ours / rest_theirs)
    return total


def effect(trained: Any, probe: Probe, ours: Log) -> list[float]:
    """Return KL(trained || base) at each answer position, in nats: what the adapter changes.

    Args:
        trained: A PEFT model, whose adapter is switched off meanwhile.
        probe: The row.
        ours: Log-probabilities with the adapter, from `log_probabilities`.
    """
    with warnings.catch_warnings():
        # Biases that learned stay. The effect is then told too small, which makes the limit the stricter.
        warnings.filterwarnings("ignore", "Careful, disabling adapter layers", UserWarning)
        with trained.disable_adapter():
            found: list[float] = divergence(ours, log_probabilities(trained, probe)).tolist()
    return found


def lowered(limit: float, effects: Sequence[float]) -> float:
    """Return the limit for an adapter of this effect: a quarter of it, between `limit / SMALL_EFFECT` and `limit`.

    Without this the unchanged base model would pass for a model whose training changed less than the limit.
    """
    if not effects:
        return limit
    return min(limit, max(float(np.mean(effects)) / 4, limit / SMALL_EFFECT))


def judged(
    gaps: Sequence[float],
    same: Sequence[bool],
    *,
    rows: Sequence[Probe],
    limit: float,
    compared: str,
    problems: list[str],
    changed: Sequence[str] = (),
) -> Certificate:
    """Return the certificate for measured divergences.

    Args:
        gaps: Divergence at each position, in nats.
        same: Whether both found the same token likeliest there.
        rows: What was compared.
        limit: Largest mean that passes, in nats.
        compared: What with what.
        problems: Differences in rendering or tokens; any fails.
        changed: Prompts that a server makes of its own from the same request; they are told.
    """
    # A divergence can't be below 0: what is, is rounding, and must not cancel what is above.
    measured = np.maximum(np.asarray(gaps, dtype=np.float64), 0.0)
    mean = float(measured.mean()) if len(measured) else math.nan
    largest = float(measured.max()) if len(measured) else math.nan
    # Written so that a NaN fails.
    close = mean <= limit and largest <= OUTLIER * limit
    return Certificate(
        prompt_ids_equal=not problems and not changed,
        max_kl=largest,
        mean_kl=mean,
        top1_agreement=float(np.mean(same)) if same else math.nan,
        rows=len(rows),
        limit=limit,
        status="passed" if close and not problems else "failed",
        compared="; ".join([compared, *problems[:3]]),
        chats=sum(probe.messages is not None for probe in rows),
        notes=(*_changed(changed, len(rows)), *_as_text(rows)),
    )


def _changed(changed: Sequence[str], rows: int) -> Iterator[str]:
    """Yield a note on prompts that llama.cpp writes otherwise than any template was trained with."""
    if changed:
        yield (
            f"llama.cpp writes {len(changed)} of {plural(rows, 'prompt')} otherwise than training did, because it "
            f"rebuilds tools and numbers before the template sees them: {changed[0]}; to train on what it writes, give "
            "each tool `name`, `description` and `parameters` in this order and nothing else, and calls short numbers"
        )


def _as_text(rows: Sequence[Probe]) -> Iterator[str]:
    """Yield a note on each reason for which rows were not compared as chats."""
    for why, count in sorted(Counter(probe.why for probe in rows if probe.why).items()):
        yield f"{count} of {plural(len(rows), 'prompt')} compared as text, without the chat template: {why}"


def difference(ours: str, theirs: str) -> str:
    """Return in words where two texts first differ."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    at = next((place for place, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
    before = max(0, at - 20)
    shown = [json.dumps(text[before : at + 40], ensure_ascii=False) for text in (ours, theirs)]
    return f"trained {shown[0]}, there {shown[1]}"


def prompt_problems(ours: Renderer, theirs: Renderer, probes: Sequence[Probe]) -> list[str]:
    """Return in words where two tokenizers or templates, or the trained ids, differ on the prompts."""
    problems: list[str] = []
    for number, probe in enumerate(probes, 1):
        try:
            (text, ids), (other_text, other_ids) = rendered(ours, probe), rendered(theirs, probe)
        except ModelError as error:
            # One is enough: a template that reaches its limits costs a second each time.
            return [*problems, f"row {number}: {one_line(error.problem, 160)}"]
        if text != other_text:
            problems.append(f"row {number}: the rendered prompts differ")
        elif ids != other_ids:
            problems.append(f"row {number}: the prompts' token ids differ")
        elif (probe.messages is not None or probe.text is not None) and ids != [*probe.prompt]:
            problems.append(f"row {number}: training saw other token ids than the tokenizer gives")
    return problems


def stored_type(model: Path) -> str:
    """Return the coarsest type in which a model folder stores weights: BF16, F16 or F32."""
    found = {tensor.dtype for tensor in model_tensors(model).values()}
    return next((dtype for dtype in ("BF16", "F16") if dtype in found), "F32")


def for_merged(
    base: Path,
    adapter: Path,
    merged: Path,
    probes: Sequence[Probe],
    *,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Certificate:
    """Compare a merged model with base + adapter, both in float32, at every answer position.

    Args:
        base: The base model's folder.
        adapter: The PEFT adapter's folder, or the model's own folder after a full fine-tune.
        merged: The folder that `merge` wrote.
        probes: Held-out rows; the first `ROWS` are used.
        progress: Where to tell how far it is, in rows.
        device: Where torch computes. Both models are loaded at once, 4 bytes a weight each.

    Raises:
        ModelError: A folder can't be loaded, or there is no row to compare on.
    """
    progress = progress or Silent()
    rows = cut(probes, room(base))
    is_adapter = (adapter / CONFIG_NAME).is_file()
    reference = load(base, adapter, device) if is_adapter else load(adapter, None, device)
    candidate = load(merged, None, device)
    now = datetime.now()
    problems = prompt_problems(renderer_of(base, adapter, now), renderer_of(merged, None, now), rows)
    gaps: list[float] = []
    same: list[bool] = []
    effects: list[float] = []
    progress.start("certificate", len(rows), "row")
    for number, probe in enumerate(rows, 1):
        ours, theirs = log_probabilities(reference, probe), log_probabilities(candidate, probe)
        if ours.shape != theirs.shape:
            problems.append("the vocabularies have different sizes")
            break
        effects += effect(reference, probe, ours) if is_adapter else []
        gaps += divergence(ours, theirs).tolist()
        same += (ours.argmax(axis=-1) == theirs.argmax(axis=-1)).tolist()
        progress.update(number)
    progress.end()
    dtype = stored_type(merged)
    trained = "base model + adapter (transformers, PEFT)" if is_adapter else "trained model (transformers)"
    return judged(
        gaps,
        same,
        rows=rows,
        limit=lowered(MERGED_LIMITS[dtype], effects),
        compared=f"{trained} with the merged model in {dtype} (transformers), both computed in float32",
        problems=problems,
    )


def asked_positions(length: int) -> list[int]:
    """Return which answer tokens llama.cpp is asked about: the first, the last, and some spread between."""
    return sorted({int(place) for place in np.linspace(0, length - 1, min(POSITIONS, length)).round()})


def questions_of(probes: Sequence[Probe], texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the questions on each probe: the prompt, the probabilities, and how likely the answer's own tokens are."""
    for probe, text in zip(probes, texts, strict=True):
        # A text that was made from ids already says what stands around it.
        plain = tokens(text, special=probe.text is not None)
        yield plain if probe.messages is None else chat([sent(turn) for turn in probe.messages], probe.tools)
        for place in asked_positions(len(probe.answer)):
            yield next_token([*probe.prompt, *probe.answer[:place]])
        places = [len(probe.prompt) + place for place in asked_positions(len(probe.answer))]
        yield forced([*probe.prompt, *probe.answer], places, vocabulary=EVERY)


def asked(probe: Probe) -> Probe:
    """Return a probe as llama.cpp can be asked about it: as text where it takes no such chat."""
    why = refused([sent(turn) for turn in probe.messages]) if probe.messages is not None else None
    return replace(probe, messages=None, tools=(), why=why) if why else probe


def gguf_problem(
    renderer: Renderer, probe: Probe, answer: Answer, mine: tuple[str, list[int]]
) -> tuple[str | None, str | None]:
    """Return in words how llama.cpp's prompt differs from the trained one, and what it changes by itself, or None.

    Args:
        renderer: What was trained with.
        probe: The row.
        answer: What llama.cpp makes of it.
        mine: What the renderer makes of it.
    """
    text, ids = mine
    if "error" in answer:
        return f"llama.cpp can't render the chat template ({one_line(answer['error'], 120)})", None
    if (probe.messages is not None or probe.text is not None) and ids != [*probe.prompt]:
        return "training saw other token ids than the tokenizer gives", None
    # llama.cpp leaves out a bos that the template writes and adds it as a token, so only the ids count.
    if answer["ids"] == ids:
        return None, None
    if probe.messages is None or answer["text"] == text:
        return "llama.cpp gives the prompt other token ids", None
    told = difference(text, answer["text"])
    try:
        _, shown = chat_prompt(renderer, *rebuilt([sent(turn) for turn in probe.messages], probe.tools))
    except ModelError:
        shown = []
    return (None, told) if answer["ids"] == shown else (f"llama.cpp writes the chat otherwise: {told}", None)


def for_gguf(
    model: Path,
    gguf: Path,
    probes: Sequence[Probe],
    *,
    quant: str,
    adapter: Path | None = None,
    compare: Compare | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Certificate:
    """Compare a GGUF file, as llama.cpp serves it, with the trained model in float32.

    Args:
        model: The base model's folder (with `adapter`), or the merged or fully trained one (without).
        gguf: The file.
        probes: Held-out rows; the first `ROWS` are used, `POSITIONS` of each answer.
        quant: How it was converted: a key of `GGUF_LIMITS`.
        adapter: The PEFT adapter's folder, to compare with what was trained rather than with what was merged.
        compare: Makes the perplexities; without it there are none.
        progress: Where to tell how far it is, in rows.
        device: Where torch computes the reference.

    Returns:
        The certificate. A file that llama.cpp can't load, or on which it crashes, gives a failed one.

    Raises:
        ModelError: The model can't be loaded, or there is no row to compare on.
        MissingExtra: The `xllamacpp` package is not installed.
    """
    progress = progress or Silent()
    rows = [asked(probe) for probe in cut(probes, room(model))]
    merged = adapter is not None and (adapter / CONFIG_NAME).is_file()
    limit = GGUF_LIMITS[quant] + (MERGED_LIMITS[stored_type(model)] if merged else 0.0)
    compared = f"trained model (transformers, float32) with the {quant} GGUF file (llama.cpp)"
    renderer = renderer_of(model, adapter, datetime.now())
    prompts = [rendered(renderer, probe) for probe in rows]
    questions = list(questions_of(rows, [text for text, _ in prompts]))
    try:
        answers = iter(ask(gguf, questions, context=LENGTH + 8))
    except MissingExtra:
        raise
    except Failed as error:
        return judged([], [], rows=rows, limit=limit, compared=compared, problems=[error.problem])
    reference = load(model, adapter, device)
    gaps: list[float] = []
    same: list[bool] = []
    effects: list[float] = []
    nll: list[tuple[float, float, int]] = []
    problems: list[str] = []
    changed: list[str] = []
    progress.start("certificate", len(rows), "row")
    for number, (probe, mine) in enumerate(zip(rows, prompts, strict=True), 1):
        problem, change = gguf_problem(renderer, probe, next(answers), mine)
        problems += [f"row {number}: {problem}"] if problem else []
        changed += [f"row {number}: {change}"] if change else []
        ours = log_probabilities(reference, probe)
        effects += effect(reference, probe, ours) if merged else []
        places = asked_positions(len(probe.answer))
        for place in places:
            theirs = next(answers)
            gaps.append(listed_divergence(ours[place], theirs))
            same.append(int(ours[place].argmax()) == theirs["ids"][0])
        mine_nll = -sum(float(ours[place, probe.answer[place]]) for place in places)
        nll.append((mine_nll, -sum(next(answers)["logprobs"]), len(places)))
        progress.update(number)
    progress.end()
    limit = lowered(limit, effects)
    found = judged(gaps, same, rows=rows, limit=limit, compared=compared, problems=problems, changed=changed)
    if compare is None:
        return found
    trained, served, counts = (np.asarray(column) for column in zip(*nll, strict=True))
    return replace(found, perplexity=compare(trained, served, counts))
