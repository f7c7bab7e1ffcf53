"""The verbs: a recipe and a run directory in, a report out. Every stitching of stages is here and only here.

Stages are imported inside the verbs: `luthier check` must not wait for torch. A verb whose stage is finished, for
the same recipe, data and model, returns the stored report without doing it again; so `run` goes on where it stopped.
"""

from luthier.workflow.data import only_text, prepare
from luthier.workflow.encoding import inspect, renderer, tokens
from luthier.workflow.evaluation import evaluate, evaluate_models
from luthier.workflow.exporting import export, merge
from luthier.workflow.needs import parent_weights
from luthier.workflow.people import ask_people
from luthier.workflow.planning import plan, preview
from luthier.workflow.road import check, init, run_all
from luthier.workflow.runs import begin, fresh_folder, new_folder, reopen, run_folder, unfinished
from luthier.workflow.training import follow, track, train

__all__ = [
    "ask_people",
    "begin",
    "check",
    "evaluate",
    "evaluate_models",
    "export",
    "follow",
    "fresh_folder",
    "init",
    "inspect",
    "merge",
    "new_folder",
    "only_text",
    "parent_weights",
    "plan",
    "prepare",
    "preview",
    "renderer",
    "reopen",
    "run_all",
    "run_folder",
    "tokens",
    "track",
    "train",
    "unfinished",
]
