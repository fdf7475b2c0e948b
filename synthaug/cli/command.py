"""What all verbs have in common: the options they share, and what becomes of a fault."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.terminal import Terminal, discard
from synthaug.errors import InterruptedRun, ResourceError, SynthaugError, is_out_of_memory

RunOption = Annotated[
    Path | None, typer.Option("--run", help="Run folder; default: the newest under runs/.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda:0 or mps.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
RecipeOption = Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a recipe key, as in --set diffusion.batch_size=32."),
]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the run.")]


@contextmanager
def command(as_json: bool, debug: bool) -> Iterator[Terminal]:
    """Run a command's body; a fault of the user's is one line on stderr and its exit code.

    With `--json` it is also the one object on stdout, under the key "error".
    """
    terminal = Terminal(as_json=as_json)
    try:
        yield terminal
    except SynthaugError as error:
        _fail(terminal, error, debug)
    except KeyboardInterrupt as error:
        stopped = InterruptedRun("stopped at once", remedy="finished files are kept")
        terminal.fault(stopped)
        raise typer.Exit(stopped.exit_code) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fault = ResourceError(
            f"out of memory ({error})" if str(error) else "out of memory",
            remedy="close other programs, or use a smaller --image-size or batch size",
        )
        _fail(terminal, fault, debug, error)
    except OSError as error:
        if error.errno == errno.EPIPE:
            # `synthaug ... | head` closed stdout: not a fault, and nothing more can be said there.
            discard(sys.stdout)
            raise typer.Exit(0) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        fault = ResourceError(
            f"cannot write {error.filename or 'the run folder'} ({error.strerror})",
            remedy="free some space or choose another --run",
        )
        _fail(terminal, fault, debug, error)


def _fail(
    terminal: Terminal, fault: SynthaugError, debug: bool, cause: BaseException | None = None
) -> None:
    """End the command with a fault; with `--debug` by the error itself, whose traceback shows."""
    if debug:
        terminal.json(fault.to_json())
        raise cause or fault
    terminal.fault(fault)
    raise typer.Exit(fault.exit_code)
