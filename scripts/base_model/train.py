"""Train the bundled base model from nothing: corpus, tokenizer, Llama weights.

Run from the repository root, on one core:

    OMP_NUM_THREADS=1 taskset -c 0 python -m scripts.base_model.train

Shape letters: B rows, T tokens in a row, V vocabulary.
"""

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from scripts.base_model.corpus import SEED, document, rendered, training_texts
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

OUTPUT = Path(__file__).parents[2] / "src" / "luthier" / "bundled" / "model"
VOCABULARY = 4096
ROW = 512
ROWS_PER_STEP = 8
STEPS = 2900
PEAK_LEARNING_RATE = 2.5e-3
WARM_UP = 100
WALLS_FROM = 1760
"""From this step on a document sees only itself; before it, also the documents packed in front of it."""
LAST_LEARNING_RATE = 1.5e-3
"""Learning rate at `WALLS_FROM`; from there it falls in a straight line to zero."""
WEIGHT_DECAY = 0.05
TOKENIZER_DOCUMENTS = 40_000
SNAPSHOT_SECONDS = 300

PAD, IM_START, IM_END, END_OF_TEXT = "<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL = (PAD, IM_START, IM_END, END_OF_TEXT)
# The public pre-tokenizer pattern of Qwen2: exporters to GGUF know it by the name `qwen2`.
PATTERN = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\\n' }}\n"
    "    {%- if message['role'] == 'assistant' %}\n"
    "        {%- generation %}\n"
    "            {{- message['content'] + '<|im_end|>' }}\n"
    "        {%- endgeneration %}\n"
    "        {{- '\\n' }}\n"
    "    {%- else %}\n"
    "        {{- message['content'] + '<|im_end|>\\n' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}\n"
)


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the first training documents. It holds all 256 bytes: nothing is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(t, special=True, normalized=False) for t in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=1,
    )
    texts = training_texts()
    plain = (_without_marks(next(texts)) for _ in range(TOKENIZER_DOCUMENTS))
    tokenizer.train_from_iterator(plain, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=IM_END,
        pad_token=PAD,
        model_max_length=1024,
        extra_special_tokens=[IM_START, END_OF_TEXT],
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _without_marks(text: str) -> str:
    for mark in SPECIAL:
        text = text.replace(mark, "")
    return text


def check_template(tokenizer: PreTrainedTokenizerFast) -> None:
    """Make sure that the corpus and the chat template write the same bytes."""
    chats = [d for d in (document("train", k) for k in range(40)) if not isinstance(d, str)]
    for chat in chats:
        assert tokenizer.apply_chat_template(chat, tokenize=False) == rendered(chat)


def packed_rows(tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[list[int], list[int]]]:
    """Yield rows of `ROW` + 1 ids, whole documents and some padding, and which document each id belongs to."""
    texts = training_texts()
    encode = tokenizer.backend_tokenizer.encode_batch
    pending: list[list[int]] = []
    pad = tokenizer.convert_tokens_to_ids(PAD)
    while True:
        if len(pending) < 128:
            batch = [next(texts) for _ in range(512)]
            pending += [e.ids for e in encode(batch) if len(e.ids) <= ROW + 1]
        row: list[int] = []
        owner: list[int] = []
        document_number = 0
        while True:
            room = ROW + 1 - len(row)
            found = next((n for n, ids in enumerate(pending[:128]) if len(ids) <= room), None)
            if found is None:
                break
            ids = pending.pop(found)
            row += ids
            owner += [document_number] * len(ids)
            document_number += 1
        missing = ROW + 1 - len(row)
        yield row + [pad] * missing, owner + [document_number] * missing


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build the untrained model. Every matrix dimension is a multiple of 128."""
    ids = {t: tokenizer.convert_tokens_to_ids(t) for t in SPECIAL}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids[IM_END],
        pad_token_id=ids[PAD],
    )
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=None,
        eos_token_id=[ids[IM_END], ids[END_OF_TEXT]],
        pad_token_id=ids[PAD],
    )
    return model


def learning_rate(step: int) -> float:
    """Warm up linearly, then fall on a cosine; from `WALLS_FROM` on, fall in a straight line to zero."""
    if step >= WALLS_FROM:
        return LAST_LEARNING_RATE * (STEPS - step) / (STEPS - WALLS_FROM)
    if step < WARM_UP:
        return PEAK_LEARNING_RATE * (step + 1) / WARM_UP
    return PEAK_LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))


def walls_between(owners: list[list[int]]) -> torch.Tensor:
    """Say which position may see which: earlier ones of its own document. Shape (B, 1, T, T), bool."""
    owner = torch.tensor(owners)[:, :-1]
    same = owner[:, :, None] == owner[:, None, :]
    return (same & torch.ones(ROW, ROW, dtype=torch.bool).tril())[:, None]


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer as a folder that `from_pretrained` reads, weights in bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.generation_config = model.generation_config
    copy.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # transformers 5 writes a class name that older readers do not know; this one is known to all.
    settings = folder / "tokenizer_config.json"
    content = {k: v for k, v in json.loads(settings.read_text()).items() if k != "backend"}
    settings.write_text(json.dumps(content | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")
    # The weights of a package are for everybody to read.
    (folder / "model.safetensors").chmod(0o644)


def train(work: Path, output: Path, *, resume: bool) -> None:
    """Train for `STEPS` steps, with a log and snapshots in `work`, and save to `output` at the end."""
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    began = time.time()
    tokenizer = train_tokenizer()
    check_template(tokenizer)
    model = new_model(tokenizer)
    pad = model.config.pad_token_id
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=PEAK_LEARNING_RATE,
        betas=(0.9, 0.95),
        fused=True,
    )
    first, minutes_before = 0, 0.0
    state_file = work / "state.pt"
    if resume and state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, minutes_before = state["step"], state["minutes"]

    def loss_of(rows: torch.Tensor, walls: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(input_ids=rows[:, :-1], attention_mask=walls, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden).float()
        return cross_entropy(logits.view(-1, VOCABULARY), rows[:, 1:].reshape(-1), ignore_index=pad)

    compiled = torch.compile(loss_of)
    rows = packed_rows(tokenizer)
    tokens = sum(t != pad for _ in range(first * ROWS_PER_STEP) for t in next(rows)[0][1:])
    tokens_before, saved, loop_began = tokens, time.time(), time.time()
    with (work / "loss.tsv").open("a" if first else "w") as log:
        for step in range(first, STEPS):
            drawn = [next(rows) for _ in range(ROWS_PER_STEP)]
            batch = torch.tensor([row for row, _ in drawn])
            walls = walls_between([owner for _, owner in drawn]) if step >= WALLS_FROM else None
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step)
            loss = compiled(batch, walls)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            tokens += int((batch[:, 1:] != pad).sum())
            if step % 10 == 0 or step == STEPS - 1:
                seconds = time.time() - loop_began
                log.write(f"{step}\t{loss.item():.4f}\t{norm.item():.3f}\t{tokens}\t{seconds:.0f}\n")
                log.flush()
            if time.time() - saved > SNAPSHOT_SECONDS:
                save(model, tokenizer, work / "snapshot")
                torch.save(
                    {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "step": step + 1,
                        "minutes": minutes_before + (time.time() - began) / 60,
                    },
                    state_file,
                )
                saved = time.time()
    save(model, tokenizer, output)
    (work / "training.json").write_text(
        json.dumps(
            {
                "steps": STEPS,
                "tokens": tokens,
                "minutes": minutes_before + (time.time() - began) / 60,
                "tokens_per_second": (tokens - tokens_before) / (time.time() - loop_began),
                "resumed_at": first,
                "parameters": sum(p.numel() for p in model.parameters()),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "cores": os.cpu_count(),
            },
            indent=2,
        )
    )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "base_model", help="logs, snapshots")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the finished model")
    parser.add_argument("--resume", action="store_true", help="go on from the last snapshot in --work")
    options = parser.parse_args()
    train(options.work, options.output, resume=options.resume)


if __name__ == "__main__":
    main()
