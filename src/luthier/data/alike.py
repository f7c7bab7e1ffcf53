"""Rows that are alike, in words or in meaning: dropped or held back together, and told."""

from typing import NamedTuple

import numpy as np

from luthier.core.progress import Progress
from luthier.core.report import Check
from luthier.data.intake import Intake
from luthier.data.kept import Numbers
from luthier.data.near.compared import compared
from luthier.data.semantic.embeddings import Embed
from luthier.data.split import units
from luthier.recipe.data import Clean
from luthier.recipe.methods import Rows


class Alike(NamedTuple):
    """What was found."""

    clusters: Numbers | None
    """A number for each row that was kept before: rows with the same are held back together. None: nothing is known."""
    checks: list[Check]


def take_out_alike(intake: Intake, clean: Clean, rows: Rows, embed: Embed | None, progress: Progress) -> Alike:
    """Find the rows that are alike, those in words first, and drop those that are to go."""
    comparing = compared(clean, rows)
    clusters: list[Numbers] = []
    checks = []
    of_all = np.arange(len(intake.kept))
    if comparing:
        near = intake.take_out_near(comparing)
        clusters.append(near.clusters)
        checks.append(near.check())
    if clean.semantic_duplicates and embed:
        left = intake.kept.left
        same = intake.take_out_same(clean.semantic_duplicates, embed, progress)
        of_all[left] = left[same.clusters]
        clusters.append(of_all)
        checks.append(same.check())
    return Alike(units(clusters).of if clusters else None, checks)
