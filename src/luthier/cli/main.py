"""`luthier`: finds the command, runs it, turns problems into lines and exit codes.

Only click is imported here; a command's own file is imported when it is called, so `--help` stays instant.
"""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

COMMANDS = {
    "quickstart": ("luthier.cli.road", "the whole road on the bundled sample: watch luthier do its job"),
    "run": ("luthier.cli.road", "the whole road for your data; restarted, it goes on where it stopped"),
    "init": ("luthier.cli.recipes", "write a commented recipe for your data, model and machine"),
    "check": ("luthier.cli.recipes", "validate a recipe: every problem at once"),
    "explain": ("luthier.cli.recipes", "what a recipe key means"),
    "prepare": ("luthier.cli.stages", "raw files to clean, split data, every dropped row accounted for"),
    "plan": ("luthier.cli.stages", "steps, memory, rates, each with its reason; changes nothing"),
    "inspect": ("luthier.cli.recipes", "real rows token by token: what is learned, what is not, what is cut"),
    "train": ("luthier.cli.stages", "train, from the last checkpoint if there is one"),
    "track": ("luthier.cli.stages", "a run's training in TensorBoard, W&B, MLflow or Trackio"),
    "evaluate": ("luthier.cli.stages", "base against tuned on held-out rows, with intervals"),
    "merge": ("luthier.cli.stages", "adapter into base, streamed, with a certificate"),
    "export": ("luthier.cli.stages", "to GGUF, loaded back and compared"),
}
"""Every command: the file that holds it, and its line in `luthier --help`."""


class Commands(click.Group):
    """A group whose commands are imported when called, and listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of the road."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now."""
        if cmd_name not in COMMANDS:
            from luthier.core.text import did_you_mean

            near = did_you_mean(cmd_name, COMMANDS)
            raise click.UsageError(
                f"there is no command `{cmd_name}`" + (f"; did you mean `{near}`?" if near else ""), ctx
            )
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="luthier", message="luthier %(version)s")
def luthier() -> None:
    """From raw data to a fine-tuned language model that is proven better, exported and served.

    Start with `luthier quickstart`; then `luthier init --data FILE --model NAME`.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    0 done · 1 it failed · 2 asked wrongly · 3 done, and a gate said no · 130 interrupted.
    """
    signal.signal(signal.SIGTERM, _terminated)
    # torch's threads spin while they wait: on a core that somebody else also uses that costs up to fiftyfold. To spin
    # shortly and then sleep keeps most of the speed on free cores (docs/log.md). Read when torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(_run(arguments))


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(arguments: Sequence[str] | None) -> int:
    from luthier.cli import show
    from luthier.core.errors import Interrupted, LuthierError

    try:
        given = [*(sys.argv[1:] if arguments is None else arguments)]
        result: Any = luthier.main(args=given, obj=given, standalone_mode=False)  # `--nproc` starts the same again
    except LuthierError as error:
        show.errors(error)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "luthier"
        show.errors(LuthierError(error.format_message().rstrip("."), hint=f"see `{command} --help`"))
        return 2
    except (KeyboardInterrupt, click.Abort):
        show.errors(
            Interrupted(
                "interrupted; a run keeps what it finished",
                hint="type the same command again: a run goes on where it stopped",
            )
        )
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        return _system(error)
    return result if isinstance(result, int) else 0


def _system(error: OSError) -> int:
    """Tell a failure of the system that a person can mend; let every other keep its traceback."""
    from luthier.cli import show
    from luthier.core.errors import Failed, disk_full
    from luthier.core.files import NO_SPACE

    place = str(error.filename) if error.filename else ""
    if error.errno in NO_SPACE:
        told: Failed = disk_full(place or "the disk")
    elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
        told = Failed(
            "the system refuses access",
            hint="check who owns the folder, or choose another with `--out`",
            place=place,
        )
    else:
        raise error
    show.errors(told)
    return told.exit_code
