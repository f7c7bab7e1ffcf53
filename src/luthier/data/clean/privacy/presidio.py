"""Names of people, found by Microsoft's presidio: its analyzer, the recognisers asked for, and no network.

presidio would download a language model that is missing, and its recognisers of addresses ask the net for a list of
domains. Here a missing model is an error, and only the model's names and the user's own recognisers run.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.core.errors import DataError, MissingExtra
from luthier.data.clean.privacy.hits import Hit
from luthier.recipe.privacy import Presidio

if TYPE_CHECKING:
    from luthier.data.clean.privacy.rewrite import Look


def finder(options: Presidio) -> "Look":
    """Return what finds the recipe's entities in a text.

    Raises:
        MissingExtra: presidio is not installed.
        DataError: The language model is not installed, or the file with recognisers can't be read.
    """
    if importlib.util.find_spec("presidio_analyzer") is None:
        raise MissingExtra("presidio-analyzer", extra="presidio")
    analyzer = _analyzer(options)

    def look(text: str) -> list[Hit]:
        results = analyzer.analyze(
            text, language=options.language, entities=[*options.entities], score_threshold=options.score
        )
        hits: list[Hit] = []
        for found in sorted(results, key=lambda result: (result.start, -result.end)):
            if not hits or found.start >= hits[-1].end:
                hits.append(Hit(found.start, found.end, found.entity_type.lower()))
        return hits

    return look


@cache
def _analyzer(options: Presidio) -> Any:
    """Return presidio's analyzer, made once in a process: a language model takes seconds to load."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    registry = RecognizerRegistry(recognizers=[], supported_languages=[options.language])
    if options.model is not None:
        registry.add_recognizer(SpacyRecognizer(supported_language=options.language))
    if options.recognizers is not None:
        _add_own(registry, Path(options.recognizers).expanduser())
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=_language(options),
        supported_languages=[options.language],
        log_decision_process=False,
    )


def _add_own(registry: Any, file: Path) -> None:
    try:
        registry.add_recognizers_from_yaml(str(file))
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"presidio can't read its recognisers: {error}",
            hint="`data.clean.privacy.ner.recognizers` is a YAML file with a list `recognizers`",
            place=str(file),
        ) from error


def _language(options: Presidio) -> Any:
    """Return what takes texts apart: the model, or only rules for words where no model is asked for."""
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": options.language, "model_name": options.model or "none"}])
    if options.model is None:
        engine.nlp = {options.language: spacy.blank(options.language)}
    elif spacy.util.is_package(options.model) or Path(options.model).is_dir():
        engine.nlp = {options.language: spacy.load(options.model)}
    else:
        raise DataError(
            f"the spaCy model `{options.model}` is not installed",
            hint=f"`python -m spacy download {options.model}` gets it; `data.clean.privacy.ner.model` names another",
            place="data.clean.privacy.ner",
        )
    return engine
