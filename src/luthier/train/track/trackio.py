"""Trackio: rows in its own local database (`trackio show` finds them); nothing is sent anywhere.

Its `init` sends to a Space or a server where environment variables say so, which no recipe named; so rows go into the
database directly. Each has a name made of the run's and its number: a row that is there already stays as it is.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from luthier.recipe.methods import Trackio as Options
from luthier.train.track.tracker import Tracked, metrics


class Trackio:
    """Writes to one Trackio run."""

    def __init__(self, options: Options, about: Tracked) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        self._storage = SQLiteStorage
        self._project = options.project
        self._about = about
        self.look = f"trackio show --project {options.project}"

    def tell(self, events: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Show events at their steps and times."""
        rows = [(number, event, values) for number, event in events if (values := metrics(event))]
        if rows:
            self._storage.bulk_log(
                self._project,
                self._about.name,
                [values for _, _, values in rows],
                steps=[event["step"] for _, event, _ in rows],
                timestamps=[datetime.fromtimestamp(event["time"], UTC).isoformat() for _, event, _ in rows],
                config=dict(self._about.config),
                log_ids=[f"{self._about.identity}-{number}" for number, _, _ in rows],
                run_id=self._about.identity,
            )

    def close(self) -> None:
        """Do nothing: every row is written."""
