"""The `synthaug` command: one thin function a verb; faults become one line and an exit code."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from synthaug import __version__
from synthaug.cli.command import (
    DebugOption,
    DeviceOption,
    JsonOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    command,
)
from synthaug.cli.terminal import Terminal

app = typer.Typer(
    name="synthaug",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Synthetic images for the rare classes of your image folder, and a fair answer to whether "
    "they help.\n\n"
    "synthaug fit --dataset ./imgs   trains a class-conditional DDPM\n\n"
    "synthaug generate --balance     fills up the rare classes\n\n"
    "synthaug evaluate               compares classifiers with and without the synthetic images",
)

_CommandLineError: Any = typer.BadParameter.__mro__[1]
"""What an option that does not exist raises; typer itself has no public name for it."""


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"synthaug {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show version.")
    ] = False,
) -> None:
    del version


@app.command(epilog="Example: synthaug fit --dataset ./imgs --per-class --time-limit 30m")
def fit(
    dataset: Annotated[
        Path, typer.Option(help="Folder of class folders, or with train/ and test/ of them.")
    ],
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Continue the model for each minority class.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="With --per-class: train each class alone.")
    ] = False,
    recipe: RecipeOption = "default",
    set_: SetOption = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Training time, such as 90s, 10m or 1.5h.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="New run folder; default: runs/<time>-<name>.")
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a class-conditional DDPM on a folder of images."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.show import print_fit, print_plan
        from synthaug.recipe import load_recipe
        from synthaug.stages.fit import FitRequest
        from synthaug.stages.fit import fit as run_fit

        flags = {
            "data.image_size": image_size,
            "diffusion.time_limit": time_limit,
            "diffusion.steps": "null" if time_limit else None,
            "seed": seed,
        }
        overrides = [*(set_ or []), *(f"{k}={v}" for k, v in flags.items() if v is not None)]
        request = FitRequest(
            dataset=dataset,
            recipe=load_recipe(recipe, overrides),
            run=run,
            per_class=per_class,
            from_scratch=from_scratch,
            device=device,
            dry_run=dry_run,
        )
        result = run_fit(request, terminal, lambda plan: print_plan(terminal, plan))
        if dry_run:
            terminal.say("dry run: nothing was trained or written")
        else:
            print_fit(terminal, result)
        terminal.json(result)


@app.command(epilog="Example: synthaug generate --balance --sampler ddim --steps 50")
def generate(
    balance: Annotated[
        str | None,
        typer.Option(
            "--balance",
            help="auto, minority, 'not minority', 'not majority', all, a final count N, class=N,"
            "... or a share of the larger of two classes, such as 0.5. Without a value, plan.json "
            "in the run folder is followed as it is, edits too. Its caps and modes always stay.",
        ),
    ] = None,
    cap: Annotated[
        str | None,
        typer.Option(
            help="At most so many synthetic images for each real one: 10, class=5,... or none; "
            "kept in plan.json."
        ),
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpmpp_2m or heun.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    cfg_scale: Annotated[float | None, typer.Option(min=0, help="Guidance; 1 is off.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="sample, variation or interpolate; or class=mode,...; default: the plan."
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="Noise put on real images to vary or mix them, above 0; 1 is all."),
    ] = None,
    run: RunOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw the images that the rare classes lack and write the balanced folder."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.show import print_generate
        from synthaug.stages.generate import GenerateRequest
        from synthaug.stages.generate import generate as run_generate

        request = GenerateRequest(
            run=run,
            balance=balance or None,
            cap=cap,
            sampler=sampler,
            steps=steps,
            cfg_scale=cfg_scale,
            mode=mode,
            strength=strength,
            device=device,
        )
        result = run_generate(request, terminal)
        print_generate(terminal, result)
        terminal.json(result)


@app.command(epilog="Example: synthaug evaluate --arms real,synthaug --seeds 5")
def evaluate(
    arms: Annotated[
        str | None, typer.Option(help="default, all, or names such as real,synthaug/la.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Paired seeds; default 5.")] = None,
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
        from synthaug.cli.show import print_results
        from synthaug.stages.evaluate import EvaluateRequest
        from synthaug.stages.evaluate import evaluate as run_evaluate

        request = EvaluateRequest(
            run=run, arms=arms, seeds=seeds, oracle=oracle, likelihood=likelihood, device=device
        )
        result = run_evaluate(request, terminal)
        print_results(terminal, result)
        terminal.json(result)


@app.command(epilog="Example: synthaug show progressive --class owl --n 4")
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
        from synthaug.cli.show import print_picture
        from synthaug.stages.show import ShowRequest
        from synthaug.stages.show import show as run_show

        request = ShowRequest(
            what=what, run=run, class_name=class_name, n=n, out=out, device=device
        )
        result = run_show(request, terminal)
        print_picture(terminal, result)
        terminal.json(result)


@app.command(epilog="Example: synthaug demo --out runs/demo")
def demo(
    out: Annotated[Path | None, typer.Option(help="New folder; default: runs/<time>-demo.")] = None,
    recipe: RecipeOption = "digits-demo",
    set_: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """The whole job on scikit-learn's digits, made long-tailed: minutes, nothing downloaded."""
    with command(as_json, debug) as terminal:
        from synthaug.cli.show import print_plan, print_results
        from synthaug.recipe import load_recipe
        from synthaug.stages.demo import demo as run_demo

        result = run_demo(
            load_recipe(recipe, set_ or []),
            out,
            device=device,
            progress=terminal,
            on_plan=lambda plan: print_plan(terminal, plan),
        )
        print_results(terminal, result)
        terminal.json(result)


@app.command(epilog="Example: synthaug ablate --recipe beta-ablation")
def ablate(
    recipe: RecipeOption = "beta-ablation",
    dataset: Annotated[
        Path | None, typer.Option(help="Folder as for fit; default: balanced 8x8 digits.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; default: runs/<time>-<recipe>.")
    ] = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train variants of a recipe alike and measure them alike: large or small beta?"""
    with command(as_json, debug) as terminal:
        from synthaug.cli.show import print_ablation
        from synthaug.recipe import load_recipe
        from synthaug.stages.ablate import AblateRequest
        from synthaug.stages.ablate import ablate as run_ablate

        request = AblateRequest(load_recipe(recipe, set_ or []), dataset, out, device)
        result = run_ablate(request, terminal)
        print_ablation(terminal, result)
        terminal.json(result)


def main(argv: list[str] | None = None) -> None:
    """Entry point. `--balance` may stand without a value, which click cannot express."""
    # Threads that spin for long while they wait slow each other down severalfold as soon as the
    # machine has anything else to do; a short spin costs nothing on a free one. GNU OpenMP reads
    # this when torch is imported, which no command has done yet.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    arguments = give_balance_a_value(list(sys.argv[1:] if argv is None else argv))
    try:
        code = app(args=arguments, prog_name="synthaug", standalone_mode=False)
    except _CommandLineError as error:
        if error.format_message():  # empty when the help was asked for by saying nothing
            Terminal().error(f"{error.format_message().rstrip('.')}; see synthaug --help")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def give_balance_a_value(arguments: list[str]) -> list[str]:
    """Put an empty value after a bare `--balance`: `generate --balance --steps 5` then parses."""
    result: list[str] = []
    for i, word in enumerate(arguments):
        result.append(word)
        following = arguments[i + 1 : i + 2]
        if word == "--balance" and (not following or following[0].startswith("-")):
            result.append("")
    return result
