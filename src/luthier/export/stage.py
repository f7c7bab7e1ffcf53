"""The last stages of a run: one standalone model, one file to serve, each with its certificate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import RunError
from luthier.core.example import Example
from luthier.core.files import described, publish_folder
from luthier.core.progress import Progress
from luthier.core.report import Block, Comparison, Finding, Report, Section, Table
from luthier.core.run import Run
from luthier.core.text import human_bytes
from luthier.export.certificate import LENGTH, Certificate, Probe, for_gguf, for_merged
from luthier.export.gguf import to_gguf
from luthier.export.llamacpp import greedy
from luthier.export.merge import merge
from luthier.model.load import load_tokenizer, stop_ids
from luthier.recipe.methods import Gguf
from luthier.tokens.render import Renderer

SPOKEN = 2
"""Prompts the exported file answers for the report."""


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
    run: Run, target: Gguf, *, base: Path, name: str, rows: Sequence[Example], progress: Progress
) -> Report:
    """Convert the merged model to GGUF, load it in llama.cpp and compare it with the model that was trained.

    The file and its certificate appear together in `run/export/gguf-<quant>`, or not at all.
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
            progress=progress,
        )
        certificate.write(folder)
        blocks = _answers(file, rows[:SPOKEN], probes) if certificate.status == "passed" else ()
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
    """Return each row as a prompt and an answer in token ids, as training rendered them.

    Raises:
        RunError: No row is short enough to compare on.
    """
    renderer = Renderer(load_tokenizer(model), stop_ids(model))
    found = []
    for row in rows:
        last = max((i for i, message in enumerate(row.messages) if message.role == "assistant"), default=0)
        prompt = renderer.prompt_ids(row.messages[:last])
        whole = renderer.ids(renderer.text(row.messages[: last + 1]))
        if last and whole[: len(prompt)] == prompt and len(prompt) < LENGTH:
            turns: tuple[dict[str, Any], ...] = tuple(message.as_dict() for message in row.messages[:last])
            found.append(Probe(prompt=tuple(prompt), answer=tuple(whole[len(prompt) :]), messages=turns))
    if not found:
        raise RunError(
            f"no held-out row has a prompt of less than {LENGTH} tokens to compare on",
            hint="hold out more rows: `data.split.valid`",
            place=str(model),
        )
    return found


def _answers(file: Path, rows: Sequence[Example], probes: Sequence[Probe]) -> tuple[Block, ...]:
    """Return what the file answers, spoken by llama.cpp."""
    prompts = [probe.prompt for probe in probes[: len(rows)]]
    spoken = greedy(file, prompts)
    return tuple(
        Comparison((probe.messages or ({"content": ""},))[-1]["content"], (("llama.cpp", answer),))
        for probe, answer in zip(probes, spoken, strict=False)
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
            ("prompt token ids", "equal" if certificate.prompt_ids_equal else "different"),
            ("KL divergence, mean", f"{certificate.mean_kl:.2e} nats (limit {certificate.limit:.0e})"),
            ("KL divergence, worst position", f"{certificate.max_kl:.2e} nats"),
            ("same first choice", f"{certificate.top1_agreement:.1%}"),
            ("status", certificate.status),
        ),
    )
    findings = (
        (Finding("ok", "what is served is what was trained"),)
        if certificate.status == "passed"
        else (
            Finding(
                "failure",
                f"this does not answer as the trained model does: {certificate.compared}",
                "keep the folder and report it: the certificate beside it says what differs",
            ),
        )
    )
    return Report(
        title=title,
        summary=summary,
        data={"files": files, "certificate": proof},
        sections=(Section("Proof", (table, *blocks)),),
        findings=findings,
        next_steps=next_steps,
    )
