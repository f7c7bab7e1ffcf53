"""MLflow: a database in the run unless the recipe names a server.

MLflow keeps a value with its time and step once, so what was sent when a process died may be sent again; a tag says up
to where nothing need be.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.recipe.methods import Mlflow as Options
from luthier.train.track.tracker import Tracked, metrics

RUN, SENT = "luthier.run", "luthier.events"
"""Tags: which run this is, and how many of its events were sent."""

BATCH, PARAMETERS, LENGTH = 1000, 100, 500
"""Metrics and parameters in one call, and characters of a parameter: MLflow's limits."""


class Mlflow:
    """Logs to one MLflow run, found again by its tag."""

    def __init__(self, options: Options, about: Tracked) -> None:
        # MLflow tells its makers how it is used, unless told not to before it is imported.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient
        from mlflow.entities import Param

        about.folder.mkdir(parents=True, exist_ok=True)
        uri = options.uri or f"sqlite:///{about.folder / 'mlflow.db'}"
        self.look = f"mlflow ui --backend-store-uri {uri}"
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = self._client.get_experiment_by_name(options.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(options.experiment)
        known = self._client.search_runs([experiment], filter_string=f"tags.`{RUN}` = '{about.identity}'")
        run = (
            known[0] if known else self._client.create_run(experiment, run_name=about.name, tags={RUN: about.identity})
        )
        self._id = run.info.run_id
        self._first = int(run.data.tags.get(SENT, 0))
        if not known:
            parameters = [Param(key, str(value)[:LENGTH]) for key, value in about.config.items()]
            for start in range(0, len(parameters), PARAMETERS):
                self._client.log_batch(self._id, params=parameters[start : start + PARAMETERS])
        self._client.update_run(self._id, status="RUNNING")

    def tell(self, events: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Show events at their steps and times."""
        from mlflow.entities import Metric, RunTag

        fresh = [(number, event) for number, event in events if number >= self._first]
        values = [
            Metric(name, value, round(event["time"] * 1000), event["step"])
            for _, event in fresh
            for name, value in metrics(event).items()
        ]
        for start in range(0, len(values), BATCH):
            self._client.log_batch(self._id, metrics=values[start : start + BATCH])
        if values:
            self._client.log_batch(self._id, tags=[RunTag(SENT, str(fresh[-1][0] + 1))])

    def close(self) -> None:
        """Say that nothing more comes for now."""
        self._client.set_terminated(self._id)
