"""The last stages of a run: one standalone model, one file to serve, each with its certificate."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from luthier.core.errors import RunError
from luthier.core.example import TEXT, Example
from luthier.core.files import described, publish_folder
from luthier.core.progress import Progress
from luthier.core.report import Block, Comparison, Finding, Number, Report, Section, Table
from luthier.core.run import Run
from luthier.core.text import human_bytes
from luthier.export.certificate import LENGTH, Certificate, Compare, Probe, for_gguf, for_merged
from luthier.export.gguf import to_gguf
from luthier.export.merge import merge
from luthier.model.llamacpp import greedy
from luthier.model.load import load_tokenizer, stop_ids
from luthier.recipe.methods import Gguf
from luthier.tokens.render import CONTROL, Refused, Renderer
from luthier.tokens.turns import OURS

SPOKEN = 2
"""Prompts the exported file answers for the report."""

WORSE = 1.1
"""Perplexity over that of the trained model from which on the reader is warned."""

WRITTEN = "control tokens stand in their texts, which training encodes as text and a server may take for real"
"""Why a row is no chat to compare on."""


def merge_run(run: Run, *, base: Path, rows: Sequence[Example], progress: Progress) -> Report:
    """Merge the run's adapter into its base, at `run/merged`, and certify the result.

    Args:
        run: A trained run.
        base: Folder of the base model.
        rows: Held-out rows to compare on.
        progress: Who watches.

    Raises:
        ModelError: The adapter can't be merged, or a folder can't be loaded.
    """
    trained, out = run / "model", run / "merged"
    probes = probes_of(rows, trained)
    summary = merge(base, trained, out, progress=progress)
    certificate = for_merged(base, trained, out, probes, progress=progress)
    certificate.write(out)
    words = "adapter folded into the base" if summary.how == "merged" else "the model was trained whole: copied"
    if summary.kept:
        words += f" as it was trained in ({summary.kept})"
    return _report(
        "Merge",
        f"{words}: {summary.targets} of {summary.tensors} tensors changed, {human_bytes(summary.bytes)}.",
        certificate,
        run=run,
        folder=out,
        blocks=(),
        next_steps=(f"luthier export {run.path} --to gguf --quant q8_0  # one file for llama.cpp and Ollama",),
    )


def export_gguf(
    run: Run, target: Gguf, *, base: Path, name: str, rows: Sequence[Example], compare: Compare, progress: Progress
) -> Report:
    """Convert the merged model to GGUF, load it in llama.cpp and compare it with the model that was trained.

    The file and its certificate appear together in `run/export/gguf-<quant>`, or not at all. `compare` makes the
    perplexities.
    """
    trained, merged = run / "model", run / "merged"
    out = run / "export" / f"gguf-{target.quant}"
    probes = probes_of(rows, trained)
    whole = not (trained / "adapter_config.json").is_file()
    with publish_folder(out) as folder:
        file = folder / f"{name}-{target.quant}.gguf"
        to_gguf(merged, file, quant=target.quant, name=name, progress=progress)
        certificate = for_gguf(
            trained if whole else base,
            file,
            probes,
            quant=target.quant,
            adapter=None if whole else trained,
            compare=compare,
            progress=progress,
        )
        certificate.write(folder)
        blocks = _answers(file, probes[:SPOKEN]) if certificate.status == "passed" else ()
    return _report(
        f"Export to GGUF {target.quant}",
        f"{file.name} ({human_bytes((out / file.name).stat().st_size)}) was loaded by llama.cpp and compared.",
        certificate,
        run=run,
        folder=out,
        blocks=blocks,
        next_steps=(f"llama-cli -m {out / file.name}  # talk to it, where llama.cpp is installed",),
    )


def probes_of(rows: Sequence[Example], model: Path) -> list[Probe]:
    """Return each row as a prompt and its last answer in token ids, as training rendered them.

    What a row says to luthier about its turns is left out: it decides what is learned, not what is asked.

    Raises:
        RunError: No row is short enough to compare on.
    """
    renderer = Renderer(load_tokenizer(model), stop_ids(model), learn="last", place=str(model))
    found = []
    for row in map(_bare, rows):
        if row.messages[0].role == TEXT:
            found += _halved(renderer, row)
            continue
        result = renderer.encode(row)
        if isinstance(result, Refused) or not result:
            continue
        ids, first = result[-1].input_ids.tolist(), int(result[-1].learned.argmax())
        if 0 < first < LENGTH:
            last = max(place for place, message in enumerate(row.messages) if message.role == "assistant")
            chat = CONTROL not in result[-1].traits
            found.append(
                Probe(
                    prompt=tuple(ids[:first]),
                    answer=tuple(ids[first:]),
                    messages=tuple(message.as_dict() for message in row.messages[:last]) if chat else None,
                    tools=row.tools if chat else (),
                    why="" if chat else WRITTEN,
                    question=row.messages[last - 1].text if last else "",
                )
            )
    if not found:
        raise RunError(
            f"no held-out row has a prompt of less than {LENGTH} tokens to compare on",
            hint="hold out more rows: `data.split.valid`",
            place=str(model),
        )
    return found


def _halved(renderer: Renderer, row: Example) -> list[Probe]:
    """Return the beginning of a plain text as a prompt and its answer; nothing of a text too short to part."""
    result = renderer.encode(row, "text")
    ids = [] if isinstance(result, Refused) or not result else result[0].input_ids[:LENGTH].tolist()
    half = len(ids) // 2
    return [Probe(tuple(ids[:half]), tuple(ids[half:]), why="plain text has no turns")] if half else []


def _bare(row: Example) -> Example:
    """Return a row without luthier's own keys."""
    turns = (
        replace(message, extra={key: value for key, value in message.extra.items() if key not in OURS})
        for message in row.messages
    )
    return replace(row, messages=tuple(turns))


def _answers(file: Path, probes: Sequence[Probe]) -> tuple[Block, ...]:
    """Return what the file answers, spoken by llama.cpp."""
    spoken = greedy(file, [probe.prompt for probe in probes])
    return tuple(
        Comparison(probe.question, (("llama.cpp", answer),)) for probe, answer in zip(probes, spoken, strict=True)
    )


def _report(
    title: str,
    summary: str,
    certificate: Certificate,
    *,
    run: Run,
    folder: Path,
    blocks: tuple[Block, ...],
    next_steps: tuple[str, ...],
) -> Report:
    files = [described(path, run.path) for path in sorted(folder.rglob("*")) if path.is_file()]
    proof = certificate.as_dict()
    table = Table(
        "Certificate",
        ("what", "value"),
        (
            ("compared", certificate.compared),
            ("rows", f"{certificate.rows}"),
            ("prompts compared as chats", f"{certificate.chats} of {certificate.rows}"),
            ("prompt token ids", "equal" if certificate.prompt_ids_equal else "different"),
            ("KL divergence, mean", f"{certificate.mean_kl:.2e} nats (limit {certificate.limit:.0e})"),
            ("KL divergence, worst position", f"{certificate.max_kl:.2e} nats"),
            ("same first choice", f"{certificate.top1_agreement:.1%}"),
            *_perplexity(certificate),
            ("status", certificate.status),
        ),
    )
    equal = certificate.prompt_ids_equal
    verdict = (
        Finding("ok", "what is served is what was trained" if equal else "this answers as the trained model does")
        if certificate.status == "passed"
        else Finding(
            "failure",
            f"this does not answer as the trained model does: {certificate.compared}",
            "keep the folder and report it: the certificate beside it says what differs",
        )
    )
    notes = (Finding("note" if equal else "warning", note) for note in certificate.notes)
    return Report(
        title=title,
        summary=summary,
        data={"files": files, "certificate": proof},
        sections=(Section("Proof", (table, *blocks)),),
        findings=(verdict, *lost(certificate), *notes),
        next_steps=next_steps,
    )


def _perplexity(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """Yield lines on how likely the answers are."""
    if certificate.perplexity is not None:
        words = {"trained": "as trained", "served": "in llama.cpp", "change": "in llama.cpp, times as trained"}
        for key, number in certificate.perplexity.items():
            yield f"perplexity of the answers, {words[key]}", _between(number)


def lost(certificate: Certificate) -> Iterator[Finding]:
    """Yield a warning where smaller weights certainly cost a noticeable part of what was learned."""
    change = certificate.perplexity["change"] if certificate.perplexity is not None else None
    if change is not None and change.low is not None and change.low > WORSE:
        text = f"the answers' perplexity is {_between(change)} times that of the trained model"
        yield Finding(
            "warning", text, "export with a larger `--quant` and compare: q8_0, q6_k, q5_k_m and q4_k_m lose less"
        )


def _between(number: Number) -> str:
    interval = "" if number.low is None else f" ({number.low:.4g} to {number.high:.4g})"
    return f"{number.value:.4g}{interval}"
