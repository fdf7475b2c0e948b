"""`synthaug evaluate`."""

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
from synthaug.cli.following import same_run


def evaluate(
    arms: Annotated[
        str | None,
        typer.Option(
            help="default, all, or a list such as real,synthaug/la. Data: real, real+oversample, "
            "classical, mixup, cutmix, smote, smote-features, copy-control, noise-control, "
            "synthaug, synthaug-unfiltered, synthaug-weighted, synthaug-finetune, oracle. "
            "Losses: ce, cb, la, ldam, focal; without one, ce and la."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Paired seeds; default 5.")] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="package:function(channels, n_classes, image_size), timm:MODEL or small-resnet, "
            "in place of the recipe's."
        ),
    ] = None,
    oracle: Annotated[
        Path | None,
        typer.Option(help="Folder of extra real images, for the oracle arm only."),
    ] = None,
    likelihood: Annotated[
        bool,
        typer.Option("--likelihood", help="Also measure bits/dim of train and test images."),
    ] = False,
    run: RunOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train classifiers with and without the synthetic images and compare them fairly."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.printing import print_results
        from synthaug.stages.evaluate import EvaluateRequest
        from synthaug.stages.evaluate import evaluate as run_evaluate

        request = EvaluateRequest(
            run=run,
            arms=arms,
            seeds=seeds,
            classifier=classifier,
            oracle=oracle,
            likelihood=likelihood,
            device=device,
        )
        result = run_evaluate(request, terminal)
        print_results(terminal, result, same_run(run, device))
        terminal.json(result)
