"""Two small real tokenizers, built in memory: byte-level BPE as of Qwen and Llama 3, SentencePiece as of Llama 2."""

from functools import cache
from typing import Any

# fmt: off
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>",
    "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
    "<|observation|>", "[gMASK]", "<sop>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>",
    "<｜Assistant｜>", "<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<BOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>", "<|end_of_turn|>", "[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]",
    "<|start|>", "<|channel|>", "<|message|>", "<|return|>",
]
# fmt: on

ORDINARY = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
"""Added tokens that are no special ones, as in Qwen3."""

MISTRAL = ["[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]"]
MISTRAL += ["[TOOL_RESULTS]", "[/TOOL_RESULTS]"]

# Of Qwen2 and Llama 3, but that only runs of letters matter here.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

SENTENCES = [
    "Hello. Because it is so.\n\nFirst, then second, then the third and last one.\n\n",
    "user assistant system Be kind. Why? One? Two? Rain? No rain. <think> <table>\n\n### Instruction:\n",
    "USER: ASSISTANT: [INST] [/INST] Response: padded done  two  spaces\n\n\n",
    "<th <th <th <th <th <th <th <th <th",  # `<think>` as text begins with `<th`, as in Qwen's vocabulary
]


def _bytes(added: bool) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=380, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 8, trainer)
    assert tokenizer.token_to_id("ĊĊ") is not None  # two line ends are one token, as in every real vocabulary
    if added:
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
        tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ORDINARY])
    return tokenizer


# fmt: off
MERGES = [
    "▁|▁", "e|l", "l|o", "el|lo", "H|ello", "▁|Hello", "r|a", "i|n", "ra|in", "▁|rain", "N|o", "▁|No", "▁|i",
    "s|o", "▁|so", "▁i|s", "B|e", "c|a", "ca|u", "s|e", "cau|se", "Be|cause", "▁|Because", "I|N", "S|T",
    "IN|ST", "U|S", "E|R", "US|ER", "▁|USER", "A|S", "▁|AS", "a|n", "d|o", "do|n", "▁|a", "▁|d", "▁d|o",
    "▁do|n", "▁don|e", ".|.", "<|/",
]
# fmt: on


def _sentencepiece(added: bool, controls: tuple[str, ...] = ()) -> Any:
    """A tokenizer with Llama 2's normalizer: each piece between control tokens begins with an extra space."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    tokens += [chr(code) for code in range(33, 127)]
    merges = [tuple(pair.split("|")) for pair in MERGES]
    tokens += [left + right for left, right in merges if left + right not in tokens]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    model = models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if added:
        names = ("<unk>", "<s>", "</s>", *controls)
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in names])
    return tokenizer


KINDS = {
    "bytes": _bytes,
    "llama2": _sentencepiece,
    "mistral": lambda added: _sentencepiece(added, tuple(MISTRAL)),
}


@cache
def _json(kind: str) -> str:
    return str(KINDS[kind](True).to_str())


@cache
def bare(kind: str) -> Any:
    """Return the same tokenizer without its added tokens: what it makes of any text that is only text."""
    return KINDS[kind](False)


def tokenizer_of(kind: str, bos: str | None, eos: str, *, starts: bool = False) -> Any:
    """Return a tokenizer as Transformers loads it.

    Args:
        kind: `bytes`, `llama2` (no role marks among its tokens) or `mistral` (`[INST]` and the others are tokens).
        bos: Its start token.
        eos: Its stop token.
        starts: Whether it puts the start token before a text by itself.
    """
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(_json(kind))
    if starts:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)
