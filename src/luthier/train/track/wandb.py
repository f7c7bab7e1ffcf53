"""Weights & Biases: offline into the run unless the recipe says `mode: online`.

Each event is the row of its number, so that a run which goes on goes on there. An offline run is written anew from the
events instead: `wandb sync` then sends each row once.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.recipe.methods import Wandb as Options
from luthier.train.track.tracker import Tracked, metrics


class Wandb:
    """Logs to one W&B run, whose id is made of the run's."""

    def __init__(self, options: Options, about: Tracked) -> None:
        # wandb reports its own errors to its makers, unless told not to before it is imported.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        about.folder.mkdir(parents=True, exist_ok=True)
        for path in (about.folder / "wandb").glob(f"offline-run-*-{about.identity}"):
            shutil.rmtree(path)
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        )
        self._run = wandb.init(
            mode=options.mode,
            dir=str(about.folder),
            project=options.project,
            entity=options.entity,
            id=about.identity,
            name=about.name,
            config=dict(about.config),
            resume="allow" if options.mode == "online" else None,
            settings=settings,
        )
        offline = f"wandb sync {about.folder}/wandb/offline-run-*-{about.identity}"
        self.look = offline if options.mode == "offline" else f"xdg-open {self._run.url}"
        self._first = self._run.step
        self._run.define_metric("step")
        for place in ("train/*", "eval/*"):
            self._run.define_metric(place, step_metric="step")

    def tell(self, events: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Show events, each as the row of its number; rows the server has already are left out."""
        for number, event in events:
            values = metrics(event)
            if values and number >= self._first:
                self._run.log({**values, "step": event["step"]}, step=number)

    def close(self) -> None:
        """Send or write what waits."""
        self._run.finish()
