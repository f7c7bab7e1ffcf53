"""What a target makes of a conversation, beside what transformers makes of it."""

import importlib.util
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from luthier.core.errors import DataError, LuthierError
from luthier.core.example import Message
from luthier.export.gguf import to_gguf
from luthier.export.prompts import Refusal, adds_bos, against
from luthier.export.vocabulary import QWEN2
from luthier.tokens.render import Renderer
from luthier.tokens.template import named

TALK = [
    {"role": "system", "content": "Be polite."},
    {"role": "user", "content": "Order 10023? 😀 "},
    {"role": "assistant", "content": "Shipped <on> 2026-03-01.\n"},
    {"role": "user", "content": "第二行 & {{ .Prompt }}"},
]
ROWS = [TALK, TALK[1:], TALK[:2], TALK[1:2]]
TOOLS = [
    {"type": "function", "function": {"name": "f", "description": "Counts.", "parameters": {}}}
]  # llama.cpp describes all

CHATML = '''FROM ./m.gguf
TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
'''
BY_EXCHANGE = '''FROM m
TEMPLATE """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""
'''


def trained(tokenizer, talk):
    return tokenizer.apply_chat_template(talk, add_generation_prompt=True)["input_ids"]


@pytest.fixture
def write(tmp_path):
    def write(text, name="Modelfile"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("text", [CHATML, BY_EXCHANGE, CHATML[CHATML.index("{{") : CHATML.rindex('"""')]])
def test_a_template_equal_to_the_tokenizers_gives_equal_ids(write, byte_level, text):
    with against(write(text), byte_level) as prompts:
        assert prompts.rows([(talk, None) for talk in ROWS]) == [trained(byte_level, talk) for talk in ROWS]
        assert prompts(TALK) == trained(byte_level, TALK)
        assert prompts.label == "Ollama with Modelfile"


@pytest.mark.parametrize(
    ("right", "wrong"), [("<|im_end|>\n", "<|im_end|>"), ("assistant\n", "assistant"), ("{{ .Role }}", "user")]
)
def test_a_wrong_template_gives_other_ids(write, byte_level, right, wrong):
    prompts = against(write(CHATML.replace(right, wrong)), byte_level)
    assert prompts(TALK) != trained(byte_level, TALK)


def test_the_system_text_and_turns_of_a_modelfile_come_first(write, byte_level):
    text = CHATML + 'SYSTEM "Be brief."\nMESSAGE user Hi\nMESSAGE assistant Hello\n'
    prompts = against(write(text), byte_level)
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    system = {"role": "system", "content": "Be brief."}
    assert prompts(TALK[1:]) == trained(byte_level, [system, *turns, *TALK[1:]])
    assert prompts(TALK) == trained(byte_level, [*turns, *TALK])


def test_a_bos_is_added_where_the_tokenizer_adds_one_and_the_template_does_not(write, sentencepiece, byte_level):
    assert adds_bos(sentencepiece)
    assert not adds_bos(byte_level)
    wanted = [sentencepiece.bos_token_id, *sentencepiece("One? A:", add_special_tokens=False)["input_ids"]]
    talk = [{"role": "user", "content": "One?"}]
    assert against(write("{{ .Prompt }} A:{{ .Response }}"), sentencepiece)(talk) == wanted
    written = sentencepiece("<s>One? A:", add_special_tokens=False)["input_ids"]
    assert written.count(sentencepiece.bos_token_id) == 1
    assert against(write("<s>{{ .Prompt }} A:{{ .Response }}"), sentencepiece)(talk) == written


def test_a_row_that_the_template_fails_on_is_refused_alone(write, byte_level):
    prompts = against(write("{{ range .Messages }}{{ slice .Content 0 4 }}{{ end }}"), byte_level)
    short = [{"role": "user", "content": "ab"}]
    first, second = prompts.rows([(short, None), (TALK, None)])
    assert isinstance(first, Refusal)
    assert "line 1: index 4 out of range" in first.problem
    assert isinstance(second, list)
    with pytest.raises(Refusal):
        prompts(short)
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    with pytest.raises(Refusal, match="not text"):
        prompts(parts)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("FROM m\n", "has no TEMPLATE", "TEMPLATE"),
        ("FROM m\nRENDERER qwen3\nTEMPLATE x", "names a renderer, `qwen3`", "RENDERER"),
        ("FROM m\nTEMPLATE {{ foo }}", "line 1: unknown function `foo`", "Go's text/template"),
        ("FROM m\nTEMPLAT x", "unknown instruction", "did you mean"),
    ],
)
def test_a_modelfile_that_decides_no_prompt_is_refused(write, byte_level, text, said, hint):
    with pytest.raises(DataError) as error:
        against(write(text), byte_level)
    assert said in error.value.problem
    assert hint in error.value.hint


def test_a_target_of_no_kind_is_refused(tmp_path, byte_level):
    with pytest.raises(DataError, match="no such file") as error:
        against(str(tmp_path / "none"), byte_level)
    assert "http://HOST:PORT" in error.value.hint
    with pytest.raises(DataError, match="a folder"):
        against(str(tmp_path), byte_level)
    with pytest.raises(LuthierError, match="not the address"):
        against("ftp://127.0.0.1", byte_level)
    (tmp_path / "model.bin").write_bytes(b"\x80\x81\x82")
    with pytest.raises(DataError, match="not text"):
        against(str(tmp_path / "model.bin"), byte_level)


def test_a_server_refuses_a_row_alone_but_a_missing_key_stops_all(byte_level, serve_vllm):
    with against(
        serve_vllm(lambda body: (200, b'{"tokens": [4]}') if b"Be polite" in body else (400, b"no")), None
    ) as prompts:
        short, long = prompts.rows([(TALK[1:2], None), (TALK, None)])
        assert isinstance(short, LuthierError)
        assert long == [4]
        assert prompts.label.startswith("vLLM at http://127.0.0.1:")
        assert prompts.rows([]) == []
    with pytest.raises(LuthierError, match="status 401"):
        against(serve_vllm(lambda _: (401, b"")), None).rows([(TALK, None)])


@pytest.fixture
def serve_vllm():
    running = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, content):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                self.reply(200, b'{"data": [{"id": "m", "owned_by": "vllm"}]}')

            def do_POST(self):
                self.reply(*answer(self.rfile.read(int(self.headers["Content-Length"]))))

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


needs_llama_cpp = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs xllamacpp")


@needs_llama_cpp
def test_a_gguf_file_gives_the_ids_that_transformers_gives(llama, byte_level, tmp_path):
    to_gguf(llama, tmp_path / "m.gguf", quant="q8_0", name="m")
    with against(str(tmp_path / "m.gguf"), byte_level) as prompts:
        rows = [(talk, None) for talk in ROWS]
        assert prompts.rows(rows) == [trained(byte_level, talk) for talk in ROWS]


@needs_llama_cpp
def test_a_gguf_file_writes_tools_and_their_calls_as_transformers_does(make_model, byte_level_with, tmp_path):
    tokenizer = byte_level_with(QWEN2)
    tokenizer.chat_template = named("chatml", tokenizer)
    to_gguf(make_model(tmp_path / "m", tokenizer=tokenizer), tmp_path / "m.gguf", quant="q8_0", name="m")
    talk = [
        {"role": "user", "content": "How many?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "content": "six", "tool_call_id": "call00001"},
    ]
    rendered = Renderer(tokenizer).prompt_ids(
        [Message(m["role"], m["content"], {k: v for k, v in m.items() if k not in ("role", "content")}) for m in talk],
        tools=TOOLS,
    )
    with against(str(tmp_path / "m.gguf"), tokenizer) as prompts:
        (ids,) = prompts.rows([(talk, TOOLS)])
        assert tokenizer.decode(ids) == tokenizer.decode(rendered)
        assert ids == rendered


@needs_llama_cpp
def test_a_gguf_file_whose_template_refuses_a_row_says_so(make_model, byte_level_with, tmp_path):
    tokenizer = byte_level_with(QWEN2)
    tokenizer.chat_template = "{%- if messages | length > 1 %}{{ raise_exception('one turn only') }}{%- endif %}Q: " + (
        "{{ messages[0].content }}{%- if add_generation_prompt %}A:{%- endif %}"
    )
    to_gguf(make_model(tmp_path / "m", tokenizer=tokenizer), tmp_path / "m.gguf", quant="q8_0", name="m")
    refused, answer = against(str(tmp_path / "m.gguf"), tokenizer).rows([(TALK, None), (TALK[1:2], None)])
    assert isinstance(refused, Refusal)
    assert "one turn only" in refused.problem
    assert answer == trained(tokenizer, TALK[1:2])


@needs_llama_cpp
def test_a_file_in_the_current_folder_stands_in_for_no_module(llama, byte_level, tmp_path, monkeypatch):
    to_gguf(llama, tmp_path / "m.gguf", quant="q8_0", name="m")
    (tmp_path / "secrets.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    assert against("m.gguf", byte_level)(TALK) == trained(byte_level, TALK)


@needs_llama_cpp
def test_an_old_function_call_is_put_to_a_gguf_file_as_a_tool_call(make_model, byte_level_with, tmp_path):
    tokenizer = byte_level_with(QWEN2)
    tokenizer.chat_template = named("chatml", tokenizer)
    to_gguf(make_model(tmp_path / "m", tokenizer=tokenizer), tmp_path / "m.gguf", quant="q8_0", name="m")
    call = {"name": "f", "arguments": '{"a": 1}'}
    talk = [TALK[1], {"role": "assistant", "content": "", "function_call": call}, {"role": "tool", "content": "six"}]
    extra = [Message(m["role"], m["content"], {k: v for k, v in m.items() if k == "function_call"}) for m in talk]
    assert against(str(tmp_path / "m.gguf"), tokenizer)(talk) == Renderer(tokenizer).prompt_ids(extra)
