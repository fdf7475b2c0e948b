"""`synthaug push`."""

from typing import Annotated

import typer

from synthaug.cli.command import DebugOption, JsonOption, RunOption, command

PushToHubOption = Annotated[
    str | None,
    typer.Option(
        "--push-to-hub", help="OWNER/NAME: when done, push it to the Hugging Face Hub, privately."
    ),
]


def push(
    model: Annotated[
        str | None, typer.Option(help="OWNER/NAME of the repository for the models.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="OWNER/NAME of the dataset for the synthetic images.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see; private otherwise.")
    ] = False,
    include_real: Annotated[
        bool,
        typer.Option(
            "--include-real",
            help="Push the balanced folder, real train images and their file names with it. Only "
            "if these may leave this machine.",
        ),
    ] = False,
    run: RunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Put models and synthetic images on the Hugging Face Hub, with the login of `hf auth`."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_push
        from synthaug.stages.push import PushRequest
        from synthaug.stages.push import push as run_push

        request = PushRequest(run, model, data, public=public, include_real=include_real)
        result = run_push(request, terminal)
        print_push(terminal, result)
        terminal.json(result)
