"""Every shape of example to tokens: preferences, judged answers, texts with a class, plain text."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import tokenizer_of

from luthier.core.example import TEXT, Example, Message, Source
from luthier.core.progress import Silent
from luthier.core.report import Report
from luthier.model.load import load_tokenizer
from luthier.tokens.encode import Limits, class_names, in_memory
from luthier.tokens.fit import chunks
from luthier.tokens.pack import common, pairs
from luthier.tokens.render import CONTROL, Encoded, Refused, Renderer
from luthier.tokens.stage import Tokens, open_tokens, tokenise
from luthier.tokens.store import Stored

HERE = Source("raw.jsonl", 1)

QWEN3 = (  # thoughts of earlier answers are left out, as Qwen3's template does
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if loop.last and m.reasoning_content %}{{ '(' + m.reasoning_content + ')' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def turns(*said: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, text) for role, text in said)


PROMPT = (("system", "Be kind."), ("user", "Why is it?"))
BETTER = turns(*PROMPT, ("assistant", "Because it is so."))
WORSE = turns(*PROMPT, ("assistant", "Because."))


def pair(better: tuple[Message, ...] = BETTER, worse: tuple[Message, ...] = WORSE, **more: Any) -> Example:
    return Example(better, HERE, rejected=worse, **more)


def plain(text: str, **more: Any) -> Example:
    return Example((Message(TEXT, text),), HERE, **more)


def of(folder: Path, rows: Any, **more: Any) -> Renderer:
    return Renderer(load_tokenizer(folder), rows=rows, **more)


def texts(result: Any) -> tuple[Encoded, ...]:
    assert not isinstance(result, Refused), result.reason
    return tuple(result)


def learned(renderer: Renderer, encoded: Encoded) -> str:
    return str(renderer.tokenizer.decode(encoded.input_ids[encoded.learned]))


def reason(result: Any) -> str:
    assert isinstance(result, Refused)
    return result.reason


def left_out(renderer: Renderer, example: Example, **limits: Any) -> str:
    shard = in_memory([example], renderer, Limits(**limits), processes=1)
    assert not shard.rows
    return shard.left_out[0][1]


def stored(renderer: Renderer, examples: list[Example], folder: Path, **limits: Any) -> tuple[Report, Stored]:
    """Return what the tokens stage tells and leaves of examples."""
    (folder / "data").mkdir(parents=True)
    lines = "".join(json.dumps(example.as_dict()) + "\n" for example in examples)
    (folder / "data" / "train.jsonl").write_text(lines)
    report = tokenise(
        folder / "data",
        Tokens(folder / "tokens", "key"),
        renderer,
        Limits(**{"max_length": 200, **limits}),
        room=1000,
        left_out=folder / "left_out.jsonl",
        progress=Silent(),
    )
    return report, open_tokens(folder / "tokens", "train")


# Preferences -----------------------------------------------------------------------------------------------


def test_a_pair_is_two_texts_of_which_the_endings_are_learned(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "pair")
    better, worse = texts(renderer.encode(pair(margin=1.5)))
    assert learned(renderer, better) == "Because it is so.<|im_end|>"
    assert learned(renderer, worse) == "Because.<|im_end|>"
    conversation = of(tiny_llama, "conversation")
    for text, messages in ((better, BETTER), (worse, WORSE)):
        (alone,) = texts(conversation.encode(Example(messages, HERE)))
        assert text.input_ids.tolist() == alone.input_ids.tolist()
        assert text.label == 1.5
    asked = renderer.prompt_ids(BETTER[:-1])
    assert better.input_ids[: len(asked)].tolist() == worse.input_ids[: len(asked)].tolist() == asked
    assert common(better, worse) >= len(asked)
    assert math.isnan(texts(renderer.encode(pair()))[0].label)


def test_answers_before_the_endings_are_context(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "pair")
    before = (*BETTER, Message("user", "And then?"))
    result = Message("tool", "found", {"train": True})
    better = (*before, Message("assistant", "First."), result, Message("assistant", "Second."))
    worse = (*before, Message("assistant", "None."))
    one, other = texts(renderer.encode(pair(better, worse)))
    assert learned(renderer, one) == "First.<|im_end|>found<|im_end|>Second.<|im_end|>"  # its row asks for the result
    assert learned(renderer, other) == "None.<|im_end|>"


def test_pairs_that_are_none_are_left_out_with_a_reason(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "pair")
    assert "no worse ending" in reason(renderer.encode(Example(BETTER, HERE)))
    assert "both endings are the same" in reason(renderer.encode(pair(BETTER, BETTER)))
    assert "only the beginning" in reason(renderer.encode(pair(BETTER, BETTER[:-1])))
    assert "follow the same turns" in reason(renderer.encode(pair(BETTER, turns(("user", "x"), ("assistant", "y")))))
    question = (*BETTER[:-1], Message("user", "y"))
    assert "no answer to learn from" in reason(renderer.encode(pair(BETTER, question)))
    assert "plain text" in reason(renderer.encode(pair((Message(TEXT, "a"),), (Message(TEXT, "b"),))))


def test_endings_of_the_same_tokens_teach_nothing(tiny_llama: Path) -> None:
    template = "{% for m in messages %}{{ m.role + ':' + m.content | trim + '<|im_end|>' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    renderer = of(tiny_llama, "pair", template=template)
    spaced = turns(*PROMPT, ("assistant", "Because. "))
    assert left_out(renderer, pair(WORSE, spaced), max_length=99) == "both endings are the same tokens"


def test_a_template_that_rewrites_an_ending_makes_no_pair(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "pair", template=QWEN3)
    thought = Message("assistant", "One.", {"reasoning_content": "hm"})
    long = (*BETTER[:-1], thought, Message("user", "Two?"), Message("assistant", "Two."))
    assert "rewrites earlier turns of an ending" in reason(renderer.encode(pair(long, WORSE)))
    one, other = texts(renderer.encode(pair((*BETTER[:-1], thought), WORSE)))
    assert learned(renderer, one) == "(hm)One.<|im_end|>"
    assert learned(renderer, other) == "Because.<|im_end|>"
    history = (*BETTER[:-1], thought, Message("user", "Two?"))  # rewritten, but before the endings
    one, other = texts(
        renderer.encode(pair((*history, Message("assistant", "A.")), (*history, Message("assistant", "B."))))
    )
    assert (learned(renderer, one), learned(renderer, other)) == ("A.<|im_end|>", "B.<|im_end|>")


def test_a_pair_too_long_is_left_out_whole_or_cut_in_its_prompt_alike(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "pair")
    better, worse = texts(renderer.encode(pair()))
    prompt = int(np.argmax(better.learned))
    longest = better.length
    assert longest > worse.length
    assert left_out(renderer, pair(), max_length=longest - 1) == f"longer than {longest - 1} tokens"
    cut = in_memory([pair()], renderer, Limits(longest - 5, "left"), processes=1)
    assert [row.length for row in cut.rows] == [longest - 5, worse.length - 5]
    for row, whole in zip(cut.rows, (better, worse), strict=True):
        assert row.input_ids.tolist() == whole.input_ids[5:].tolist()
        assert row.learned.sum() == whole.learned.sum()
        assert row.cut == 5
    room = longest - prompt
    assert "without its prompt" in left_out(renderer, pair(), max_length=room, too_long="left")
    barely = in_memory([pair()], renderer, Limits(room + 1, "left"), processes=1)
    assert barely.rows[0].learned[:2].tolist() == [False, True]


def test_a_cut_pair_keeps_its_start_token() -> None:
    tokenizer = tokenizer_of("bytes", "<|begin_of_text|>", "<|im_end|>")
    template = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}"
    template += "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    renderer = Renderer(tokenizer, template=template, rows="pair")
    better, worse = texts(renderer.encode(pair()))
    cut = in_memory([pair()], renderer, Limits(better.length - 4, "left"), processes=1)
    assert [row.input_ids.tolist() for row in cut.rows] == [
        [int(whole.input_ids[0]), *whole.input_ids[5:].tolist()] for whole in (better, worse)
    ]
    assert [row.learned.sum() for row in cut.rows] == [better.learned.sum(), worse.learned.sum()]


def test_pairs_lie_together_in_the_store_and_are_counted_as_pairs(tiny_llama: Path, tmp_path: Path) -> None:
    renderer = of(tiny_llama, "pair")
    examples = [pair(margin=n / 2) for n in range(5)] + [pair(BETTER, BETTER)]
    report, rows = stored(renderer, examples, tmp_path)
    better, worse = texts(renderer.encode(pair()))
    assert rows.texts == 2
    assert [row.input_ids.tolist() for row in rows] == [better.input_ids.tolist(), worse.input_ids.tolist()] * 5
    assert rows.labels.tolist() == [n / 2 for n in range(5) for _ in range(2)]
    counts = report.data["splits"]["train"]
    assert (counts["examples"], counts["rows"], counts["left_out"]) == (6, 5, 1)
    assert counts["learned_better"] == 5 * better.learned.sum()
    assert counts["learned_worse"] == 5 * worse.learned.sum()
    assert report.summary.startswith("5 pairs of ")
    assert report.findings[0].text == "1 pair left out: 1 pair both endings are the same"
    assert {check["name"] for check in report.data["template"]["checks"]} >= {"stop_learned", "generation_prompt"}
    sharing = pairs(rows, range(5), 4 * better.length)
    assert sum(pack.tokens for pack in sharing) < sum(row.length for row in rows) * 0.7


# Judged answers --------------------------------------------------------------------------------------------


def test_of_a_judged_conversation_the_last_answer_is_learned(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "judged")
    long = (*BETTER, Message("user", "And?"), Message("assistant", "No."))
    for label in (True, False):
        (one,) = texts(renderer.encode(Example(long, HERE, label=label)))
        assert learned(renderer, one) == "No.<|im_end|>"
        assert one.label == float(label)
    assert "nobody judged it" in reason(renderer.encode(Example(long, HERE)))
    assert "nobody judged it" in reason(renderer.encode(Example(long, HERE, label="good")))
    (one,) = texts(renderer.encode(Example(long, HERE, label=True)))
    room = one.length - int(np.argmax(one.learned))
    assert "without its prompt" in left_out(renderer, Example(long, HERE, label=True), max_length=room, too_long="left")
    assert in_memory([Example(long, HERE, label=True)], renderer, Limits(room + 1, "left"), processes=1).rows


# Classes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "bos", "starts"), [("bytes", None, False), ("llama2", "<s>", True)])
def test_a_text_with_a_class_is_what_transformers_encodes(kind: str, bos: str | None, starts: bool) -> None:
    tokenizer = tokenizer_of(kind, bos, "<|im_end|>" if kind == "bytes" else "</s>", starts=starts)
    renderer = Renderer(tokenizer, rows="class", classes=("bad", "good"))
    text = "Hello, no rain because it is so. Émile!"
    (one,) = texts(renderer.encode(plain(text, label="good")))
    assert one.input_ids.tolist() == tokenizer(text)["input_ids"]
    assert one.label == 1.0
    assert one.learned.tolist() == [False] * (one.length - 1) + [True]
    assert texts(renderer.encode(Example(turns(("user", text)), HERE, label="good")))[0].input_ids.tolist() == (
        one.input_ids.tolist()
    )
    assert "is of its class `ugly`" in reason(renderer.encode(plain(text, label="ugly")))
    assert "no label" in reason(renderer.encode(plain(text)))
    short = in_memory([plain(text, label="bad")], renderer, Limits(4, "right"), processes=1).rows[0]
    assert short.input_ids.tolist() == tokenizer(text)["input_ids"][:4]
    assert (short.cut, short.learned.tolist()) == (one.length - 4, [False, False, False, True])
    end = in_memory([plain(text, label="bad")], renderer, Limits(4, "left"), processes=1).rows[0]
    assert end.input_ids[-3:].tolist() == one.input_ids[-3:].tolist()
    assert left_out(renderer, plain(text, label="bad"), max_length=4) == "longer than 4 tokens"


def test_what_stands_behind_a_text_stays_when_its_end_is_cut() -> None:
    from tokenizers import processors

    tokenizer = tokenizer_of("bytes", "<s>", "</s>")
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    renderer = Renderer(tokenizer, rows="class", classes=("a",))
    (one,) = in_memory([plain("Why is it so?", label="a")], renderer, Limits(5, "right"), processes=1).rows
    assert one.input_ids.tolist() == tokenizer("Why is it so?", truncation=True, max_length=5)["input_ids"]


def test_control_tokens_in_a_text_with_a_class_are_text(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "class", classes=("a",))
    (one,) = texts(renderer.encode(plain("so <|im_end|> it is", label="a")))
    assert renderer.tokenizer.eos_token_id not in one.input_ids
    assert renderer.tokenizer.decode(one.input_ids) == "so <|im_end|> it is"
    assert one.traits == {CONTROL}


def test_a_conversation_may_have_a_class_too(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "class", classes=("a", "b"))
    (one,) = texts(renderer.encode(Example(BETTER, HERE, label="b")))
    (whole,) = texts(of(tiny_llama, "conversation").encode(Example(BETTER, HERE)))
    assert one.input_ids.tolist() == whole.input_ids.tolist()
    assert (one.label, one.learned.sum(), one.learned[-1]) == (1.0, 1, True)


def test_classes_are_numbered_by_name_and_counted(tiny_llama: Path, tmp_path: Path) -> None:
    examples = [plain(f"Ticket {n} is so.", label=("no", "maybe", "no")[n % 3]) for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one.as_dict()) + "\n" for one in examples))
    names = class_names(tmp_path / "rows.jsonl")
    assert names == ("maybe", "no")
    report, rows = stored(of(tiny_llama, "class", classes=names), examples, tmp_path)
    assert rows.classes == names
    assert rows.labels.tolist() == [1, 0, 1] * 3
    assert report.data["splits"]["train"]["class no"] == 6
    assert "9 texts of" in report.summary
    assert "in 2 classes" in report.summary
    assert {check["status"] for check in report.data["template"]["checks"]} == {"ok"}


# Plain text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "bos", "starts"), [("bytes", None, False), ("llama2", "<s>", True)])
def test_plain_text_is_learned_whole_and_ends_with_a_stop_token(kind: str, bos: str | None, starts: bool) -> None:
    tokenizer = tokenizer_of(kind, bos, "<|endoftext|>" if kind == "bytes" else "</s>", starts=starts)
    renderer = Renderer(tokenizer, rows="text")
    (one,) = texts(renderer.encode(plain("Hello, no rain.")))
    assert one.input_ids.tolist() == [*tokenizer("Hello, no rain.")["input_ids"], tokenizer.eos_token_id]
    assert one.learned.tolist() == [False] + [True] * (one.length - 1)
    assert "it is a conversation" in reason(renderer.encode(Example(BETTER, HERE)))


def test_control_tokens_in_plain_text_are_text(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "text")
    (one,) = texts(renderer.encode(plain("so <|im_end|> it is")))
    assert one.input_ids.tolist().count(renderer.tokenizer.eos_token_id) == 1
    assert renderer.tokenizer.decode(one.input_ids[:-1]) == "so <|im_end|> it is"
    assert one.traits == {CONTROL}


@given(st.integers(1, 60), st.integers(2, 20))
def test_every_token_of_a_chunked_text_is_learned_once(length: int, room: int) -> None:
    whole = Encoded(np.arange(length, dtype=np.int32), np.arange(length) > 0, HERE)
    parts = chunks(whole, room)
    assert all(isinstance(part, Encoded) and 0 < part.length <= room for part in parts)
    learned = [
        (int(part.input_ids[at - 1]), int(part.input_ids[at]))
        for part in parts
        for at in np.flatnonzero(part.learned)  # type: ignore[union-attr]
    ]
    assert learned == [(at - 1, at) for at in range(1, length)]


def test_documents_become_chunks_in_the_order_of_the_file(tiny_llama: Path) -> None:
    renderer = of(tiny_llama, "text")
    said = ["First it is so, then it is not. " * 9, "Short.", "Because. " * 30]
    examples = [Example((Message(TEXT, text),), Source("raw.jsonl", n)) for n, text in enumerate(said)]
    shard = in_memory(examples, renderer, Limits(20), processes=1)
    assert shard.expanded == 2
    assert shard.examples == 3
    for number, text in enumerate(said):
        rows = [row for row in shard.rows if row.source.line == number]
        ids = [*rows[0].input_ids.tolist(), *(i for row in rows[1:] for i in row.input_ids[1:].tolist())]
        assert renderer.tokenizer.decode(ids) == text + "<|im_end|>"


def test_documents_on_disk_are_the_chunks_in_memory(tiny_llama: Path, tmp_path: Path) -> None:
    examples = [plain(f"First {n}, then it is so. " * (n + 1)) for n in range(6)]
    report, rows = stored(renderer := of(tiny_llama, "text"), examples, tmp_path, max_length=30)
    kept = in_memory(examples, renderer, Limits(30), processes=1).rows
    assert [row.input_ids.tolist() for row in rows] == [row.input_ids.tolist() for row in kept]
    whole = sum(texts(renderer.encode(one))[0].length for one in examples)
    assert report.data["splits"]["train"]["learned"] == whole - len(examples)
    assert any("documents cut into chunks of 30 tokens" in finding.text for finding in report.findings)


LINES = st.lists(st.text(st.sampled_from("abc XYZ\n\t.,;é日。本　 '\u0301\u200d9"), max_size=40), max_size=12)


@settings(max_examples=30, deadline=None)
@given(LINES, st.sampled_from(["bytes", "llama2", "mistral"]))
def test_a_text_in_pieces_has_the_ids_of_the_whole(lines: list[str], kind: str) -> None:
    renderer = Renderer(tokenizer_of(kind, None, "<|im_end|>" if kind == "bytes" else "</s>"), rows="text")
    text = " it is so.\nBecause ".join(lines) + "Why? No rain\nor rain, " * 9
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("luthier.tokens.documents.PIECE", 40)
        patched.setattr("luthier.tokens.documents.AROUND", 30)
        pieces = [piece for _, piece, _ in renderer.pieces(text)]
        (one,) = texts(renderer.encode(plain(text)))
    assert "".join(pieces) == text
    assert len(pieces) > 2
    assert one.input_ids[:-1].tolist() == renderer.ids(text)


@pytest.mark.parametrize("name", ["qwen2", "pythia"])
def test_a_long_real_text_in_pieces_has_the_ids_of_the_whole(name: str) -> None:
    folder = Path(__file__).parents[3] / "shared" / "models" / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip("no real tokenizer here")
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if name == "qwen2":
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    else:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<|endoftext|>")
    renderer = Renderer(tokenizer, rows="text")
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py")))
    text = text.replace("<", "‹")  # no control tokens
    assert len(list(renderer.pieces(text))) > 10
    (one,) = texts(renderer.encode(plain(text)))
    assert one.input_ids[:-1].tolist() == renderer.ids(text)
