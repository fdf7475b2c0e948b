"""`synthaug show`."""

from pathlib import Path
from typing import Annotated

import typer

from synthaug.cli.command import (
    DebugOption,
    DeviceOption,
    JsonOption,
    RunOption,
    command,
)


def show(
    what: Annotated[str, typer.Argument(help="forward, progressive, interpolate or neighbours.")],
    class_name: Annotated[
        str | None, typer.Option("--class", help="This class only; default: several or the rarest.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", min=1, max=50, help="Images or pairs of each class.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG file; default: pictures/<what>.png in the run folder.")
    ] = None,
    run: RunOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw what the model does: noising, denoising, mixing, or the nearest train images."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_picture
        from synthaug.stages.show import ShowRequest
        from synthaug.stages.show import show as run_show

        request = ShowRequest(
            what=what, run=run, class_name=class_name, n=n, out=out, device=device
        )
        result = run_show(request, terminal)
        print_picture(terminal, result)
        terminal.json(result)
