"""TensorBoard: a file of scalars, written anew from the events whenever a training begins or goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.recipe.methods import TensorBoard as Options
from luthier.train.track.tracker import Tracked, metrics


class TensorBoard:
    """Writes one `events.out.tfevents.*` file; an earlier one of the same run is replaced."""

    def __init__(self, options: Options, about: Tracked) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = Path(options.folder) / about.name if options.folder else about.folder / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f".{about.identity}"
        for path in folder.glob(f"events.out.tfevents.*{suffix}"):
            path.unlink()
        self.look = f"tensorboard --logdir {folder}"
        self._writer = EventFileWriter(str(folder), filename_suffix=suffix)

    def tell(self, events: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Show events at their steps and times."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for _, event in events:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics(event).items()]
            if values:
                told = Event(wall_time=event["time"], step=event["step"], summary=Summary(value=values))
                self._writer.add_event(told)
        self._writer.flush()

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
