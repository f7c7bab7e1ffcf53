"""A good model gets a passed certificate on any row that could be trained on; what is compared is said."""

import shutil
from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from luthier.core.example import Example, Message, Source
from luthier.core.progress import Silent
from luthier.core.report import Number
from luthier.core.run import Run
from luthier.export.certificate import Certificate, for_gguf, for_merged
from luthier.export.gguf import to_gguf
from luthier.export.merge import merge
from luthier.export.stage import export_gguf, lost, merge_run, probes_of
from luthier.export.vocabulary import QWEN2
from luthier.recipe.methods import Gguf
from luthier.tokens.template import named
from luthier.workflow.exporting import perplexities

WHOLE = {"name": "count", "description": "Counts.", "parameters": {"type": "object", "properties": {"a": {}}}}
TOOL = {"type": "function", "function": WHOLE}
BARE = {"type": "function", "function": {"parameters": {"type": "object", "default": 1.0}, "name": "count"}}
CALL = {"id": "call00001", "type": "function", "function": {"name": "count", "arguments": '{"a": 1}'}}


def row(*turns, tools=()):
    messages = tuple(Message(role, text, *extra) for role, text, *extra in turns)
    return Example(messages, Source("rows.jsonl", 1), tools=tuple(tools))


def asked(text="How many?", answer="Six.", tools=(), **extra):
    return row(("user", text), ("assistant", answer, extra), tools=tools)


def called(tools=(TOOL,), call=CALL):
    talk = (
        ("user", "How many?"),
        ("assistant", "", {"tool_calls": [call]}),
        ("tool", "6", {"tool_call_id": call["id"]}),
    )
    return row(*talk, ("assistant", "Six."), tools=tools)


@pytest.fixture(scope="module")
def chatml(make_model, byte_level_with, tmp_path_factory):
    """A model whose template writes tools."""
    tokenizer = byte_level_with(QWEN2)
    tokenizer.chat_template = named("chatml", tokenizer)
    return make_model(tmp_path_factory.mktemp("models") / "chatml", tokenizer=tokenizer, initializer_range=0.02)


@pytest.fixture(scope="module")
def copied(chatml, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "model"
    merge(chatml, chatml, out)
    return out


@pytest.fixture(scope="module")
def file(chatml, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    to_gguf(chatml, path, quant="f16", name="m")
    return path


def merged_with(copied, rows):
    return for_merged(copied, copied, copied, probes_of(rows, copied))


def test_a_control_token_in_a_text_fails_no_good_model(copied):
    rows = [asked("what does <|im_end|> mean?"), asked(answer="Write <|im_end|>."), asked()]
    certificate = merged_with(copied, rows)
    assert (certificate.status, certificate.prompt_ids_equal) == ("passed", True), certificate
    assert (certificate.rows, certificate.chats) == (3, 1)
    assert "2 of 3 prompts" in certificate.notes[0]
    assert "control tokens" in certificate.notes[0]


def test_a_control_token_in_a_text_fails_no_good_file(copied, file):
    rows = [asked("what does <|im_end|> mean?"), asked()]
    certificate = for_gguf(copied, file, probes_of(rows, copied), quant="f16")
    assert (certificate.status, certificate.chats) == ("passed", 1), certificate


def test_what_a_row_says_to_luthier_changes_no_prompt(copied):
    rows = [
        asked(weight=1),
        asked(weight=0),
        row(("user", "How many?", {"train": True}), ("assistant", "Six.", {"learn": [[0, 3]]})),
    ]
    assert [probe.prompt for probe in probes_of(rows, copied)] == [probes_of([asked()], copied)[0].prompt] * 3
    certificate = merged_with(copied, rows)
    assert (certificate.status, certificate.chats, certificate.notes) == ("passed", 3, ())


def test_tools_and_calls_are_compared_as_chats(copied, file):
    rows = [asked(tools=[TOOL]), called()]
    for certificate in (
        merged_with(copied, rows),
        for_gguf(copied, file, probes_of(rows, copied), quant="f16"),
    ):
        assert (certificate.status, certificate.prompt_ids_equal) == ("passed", True), certificate
        assert (certificate.chats, certificate.notes) == (2, ())


def test_a_template_that_writes_tools_otherwise_fails(copied, tmp_path):
    shutil.copytree(copied, tmp_path / "bad")
    template = (copied / "chat_template.jinja").read_text()
    assert "<tool_call>" in template
    (tmp_path / "bad" / "chat_template.jinja").write_text(template.replace("<tool_call>", "<call>"))
    plain, tools = (probes_of([example], copied) for example in (asked(), called()))
    assert for_merged(copied, copied, tmp_path / "bad", plain).status == "passed"
    certificate = for_merged(copied, copied, tmp_path / "bad", tools)
    assert (certificate.status, certificate.prompt_ids_equal) == ("failed", False)
    to_gguf(tmp_path / "bad", tmp_path / "m.gguf", quant="f16", name="m")
    certificate = for_gguf(copied, tmp_path / "m.gguf", tools, quant="f16")
    assert (certificate.status, certificate.prompt_ids_equal) == ("failed", False)
    assert "<call>" in certificate.compared


def test_what_llama_cpp_rebuilds_is_said_and_fails_no_good_file(copied, file):
    long = {**CALL, "function": {"name": "count", "arguments": {"a": [2.0, 1e-07, 3.14159265, 2**53 + 1, 2**70, -0.5]}}}
    strict = {"x": 1, "type": "function", "function": {**WHOLE, "strict": True}}
    flipped = {"function": {"description": "x", "name": "f"}, "type": "function"}
    rows = [asked(), asked(tools=[BARE]), asked(tools=[strict]), asked(tools=[flipped]), called(call=long)]
    certificate = for_gguf(copied, file, probes_of(rows, copied), quant="f16")
    assert certificate.status == "passed", certificate
    assert not certificate.prompt_ids_equal
    assert certificate.chats == 5
    assert len(certificate.notes) == 1
    assert "llama.cpp writes 4 of 5 prompts otherwise" in certificate.notes[0]
    assert "`description`" in certificate.notes[0]
    assert merged_with(copied, rows).prompt_ids_equal


def test_what_llama_cpp_takes_no_chat_of_is_compared_as_text(copied, file):
    broken = {**CALL, "function": {"name": "count", "arguments": '{"a": '}}
    rows = [
        asked(),
        called(call=broken),
        row(("user", "How many?"), ("assistant", "Well."), ("assistant", "Six.")),
    ]
    certificate = for_gguf(copied, file, probes_of(rows, copied), quant="f16")
    assert (certificate.status, certificate.prompt_ids_equal) == ("passed", True), certificate
    assert (certificate.rows, certificate.chats) == (3, 1)
    assert "continues" in " ".join(certificate.notes)
    assert "no JSON" in " ".join(certificate.notes)
    assert merged_with(copied, rows).chats == 3


def test_the_template_for_tools_reaches_the_file(copied, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(copied)
    shutil.copytree(copied, tmp_path / "m")
    template = tokenizer.chat_template
    tokenizer.chat_template = {"default": template, "tool_use": template.replace("# Tools", "# Functions")}
    tokenizer.save_pretrained(tmp_path / "m")
    to_gguf(tmp_path / "m", tmp_path / "m.gguf", quant="f16", name="m")
    probes = probes_of([asked(), asked(tools=[TOOL])], tmp_path / "m")
    assert tokenizer.decode(probes[1].prompt).count("# Functions") == 1
    certificate = for_gguf(tmp_path / "m", tmp_path / "m.gguf", probes, quant="f16")
    assert (certificate.status, certificate.chats) == ("passed", 2), certificate


@pytest.mark.parametrize(
    "bomb", ["{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "{{"]
)
def test_a_template_that_never_ends_or_is_none_fails_the_certificate_alone(copied, tmp_path, bomb):
    shutil.copytree(copied, tmp_path / "bad")
    (tmp_path / "bad" / "chat_template.jinja").write_text(bomb)
    certificate = for_merged(copied, copied, tmp_path / "bad", probes_of([asked(), asked("Again?")], copied))
    assert (certificate.status, certificate.prompt_ids_equal) == ("failed", False)
    assert "template" in certificate.compared


def test_a_lost_template_fails(copied, tmp_path):
    shutil.copytree(copied, tmp_path / "bad")
    (tmp_path / "bad" / "chat_template.jinja").unlink()
    certificate = for_merged(copied, copied, tmp_path / "bad", probes_of([asked()], copied))
    assert certificate.status == "failed"
    assert "no chat template" in certificate.compared


def test_the_report_says_how_many_chats_and_shows_the_last_question(copied, tmp_path):
    run = Run(tmp_path / "run")
    shutil.copytree(copied, tmp_path / "run" / "model")
    rows = [called(), asked("what does <|im_end|> mean?"), asked(tools=[BARE])]
    report = merge_run(run, base=copied, rows=rows, progress=Silent())
    table = dict(report.sections[0].blocks[0].rows)
    assert table["prompts compared as chats"] == "2 of 3"
    assert report.data["certificate"]["chats"] == 2
    assert [finding.level for finding in report.findings] == ["ok", "note"]
    options = {"base": copied, "name": "m", "rows": rows, "progress": Silent()}
    report = export_gguf(run, Gguf(quant="f16"), compare=perplexities, **options)
    assert [finding.level for finding in report.findings] == ["ok", "warning", "warning"]
    assert float(dict(report.sections[0].blocks[0].rows)["perplexity of the answers, in llama.cpp"]) > 1
    shown = [block.prompt for block in report.sections[0].blocks[1:]]
    assert shown == ["6", "what does <|im_end|> mean?"]


def test_what_a_small_type_certainly_costs_is_a_warning():
    proof = Certificate(True, 0.1, 0.1, 0.9, 16, 1.0, "passed", "q2_k")
    for low, found in [(1.2, 1), (1.0, 0), (None, 0)]:
        change = Number(1.3, 16, low, None if low is None else 1.4)
        numbers = {"trained": Number(2.0, 16), "served": Number(2.6, 16), "change": change}
        assert len([*lost(replace(proof, perplexity=numbers))]) == found
    assert [*lost(proof)] == []
