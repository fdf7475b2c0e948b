"""What each verb prints at its end: facts, tables, and the next command to type."""

from typing import Any

from synthaug.cli.following import typed
from synthaug.cli.terminal import Terminal, duration
from synthaug.report.ablation import ablation_table
from synthaug.report.class_tables import about_verdicts, classes_table
from synthaug.report.further_tables import likelihood_table
from synthaug.report.inspection import finding_lines, heading, inspection_table
from synthaug.report.tables import (
    Cell,
    Column,
    Row,
    Table,
    arms_table,
    differences_table,
)
from synthaug.report.words import describe_verdict, explain_brief_losses
from synthaug.stages.disk import in_words

BRIEF_REASONS = {
    "not finite": "broken",
    "one flat colour": "flat",
    "copy of a train image": "copy",
    "duplicate of another candidate": "repeat",
    "outside the class window": "window",
    "another class is likelier": "class",
    "low density": "sparse",
    "high entropy": "unsure",
}


def print_plan(terminal: Terminal, plan: dict[str, Any]) -> None:
    """The plan of a fit, before anything is trained."""
    side = f"{plan['image_size']}×{plan['image_size']}"
    colour = "grey" if plan["channels"] == 1 else "colour"
    n_classes = len(plan["classes"])
    terminal.payload(
        f"{plan['dataset']}: {plan['n_train']} train, {plan['n_val']} validation and "
        f"{plan['n_test']} test images in {n_classes} class{'es' if n_classes > 1 else ''}, used "
        f"at {side} {colour}; imbalance ratio {plan['imbalance_ratio']:.4g}"
    )
    rows = tuple(
        Row((Cell(c["name"]), Cell(str(c["train"])), Cell(str(c["test"])), Cell(c["group"]),
             Cell(str(c["n_new"])), Cell(_why(c))), "primary" if c["minority"] else "")
        for c in plan["classes"]
    )  # fmt: skip
    columns = (
        Column("class", numeric=False), Column("train"), Column("test"),
        Column("group", numeric=False), Column("to make"), Column("why", numeric=False),
    )  # fmt: skip
    caption = (
        "many: over 100 train images, medium: 20 to 100, few: under 20. "
        f"{plan['total_new']} images to synthesise"
        + (f", {plan['left_out_by_caps']} left out by caps." if plan["left_out_by_caps"] else ".")
    )
    terminal.table(Table("Plan", columns, rows, caption))
    if plan.get("folds"):
        terminal.payload(f"the first of {plan['folds']} folds; times are of all together")
    network = plan["network"]
    expected = plan["expected_seconds"]
    patch = f", {network['patch']}×{network['patch']} patches" if network["patch"] > 1 else ""
    terminal.payload(
        f"\nnetwork: UNet, {network['parameters'] / 1e6:.2f} M parameters, "
        f"{network['flops_per_image'] / 1e6:.0f} MFLOP an image, channels "
        f"{network['channels']}{patch}; device {plan['device']}"
    )
    specialists = ""
    if plan["specialists"]:
        n_specialists = len(plan["specialists"])
        specialists = f" and {plan['specialist_steps']} for each of {n_specialists} specialists"
    terminal.payload(
        f"training: {plan['base_steps']} steps for the joint model{specialists}, at "
        f"{plan['train_images_per_second']:.0f} images/s"
    )
    if plan["micro_batch"] < plan["batch_size"]:
        terminal.payload(
            f"memory: {plan['micro_batch']} of the {plan['batch_size']} images of a step at once; "
            "their gradients are added up"
        )
    few = len(plan["drawn_with_replacement"])
    if few:
        terminal.payload(
            f"batches of {plan['batch_size']} images are drawn with replacement, as {few} of the "
            f"{n_classes} classes hold fewer"
        )
    # A single class can be learned and drawn, but there is nothing to tell it from.
    verbs = ("fit", "generate", "evaluate")[: 3 if n_classes > 1 else 2]
    times = ", ".join(f"{verb} {duration(expected[verb])}" for verb in verbs)
    sizes = ", ".join(f"{verb} {in_words(plan['disk_bytes'][verb])}" for verb in verbs)
    terminal.payload(f"expected time: {times}\ndisk at most: {sizes}")
    for notice in plan["notices"]:
        terminal.warn(notice)


def print_inspection(terminal: Terminal, inspection: dict[str, Any], following: str) -> None:
    """What `inspect` found, the gravest first, and the command to type after it."""
    terminal.payload(heading(inspection))
    terminal.table(inspection_table(inspection))
    terminal.payload("")
    for finding in inspection["findings"]:
        for line in finding_lines(finding):
            terminal.payload(line)
    if not inspection["findings"]:
        terminal.payload("nothing remarkable: no broken, repeated or odd images")
    if not inspection["refused"]:
        terminal.next(following)


def _why(entry: dict[str, Any]) -> str:
    """Why a class gets its images and, if it gets any, how they are drawn."""
    return f"{entry['reason']}; {entry['mode_reason']}" if entry["n_new"] else str(entry["reason"])


def print_fit(terminal: Terminal, result: dict[str, Any], same: dict[str, Any]) -> None:
    """What `fit` did; `same` are the options that the next verb has to be told, too."""
    terminal.payload(
        f"trained on {result['n_img']} images in {result['minutes']:.1f} min: "
        f"{result['images_per_second']:.0f} training images/s on {result['device']}"
    )
    kept = [s["class_name"] for s in result["specialists"] if s["kept"]]
    if result["specialists"]:
        names = ", ".join(kept) or "none"
        terminal.payload(f"specialists kept: {names} (of {len(result['specialists'])} classes)")
    terminal.payload(f"run folder: {result['run']}")
    if result["n_classes"] > 1:
        terminal.next(typed("generate", {"--balance": True, **same}))
    else:
        number = typed("generate", {"--balance": "N", **same})
        terminal.next(f"{number}, where N is how many images it should have")


def print_generate(terminal: Terminal, result: dict[str, Any], same: dict[str, Any]) -> None:
    """What `generate` made."""
    if not result["n"]:
        terminal.payload("every class has its target already: nothing was drawn")
    else:
        terminal.payload(
            f"{result['n']} synthetic images with {result['sampler']}, {result['steps']} steps, "
            f"guidance {result['cfg_scale']:g}: {result['images_per_second']:.0f} "
            f"sampling images/s on {result['device']}"
        )
    partial: dict[str, list[str]] = {}
    for name, how in result["modes"].items():
        if how["mode"] != "sample":
            partial.setdefault(how["mode"], []).append(name)
    for mode, names in partial.items():
        start = "single real images" if mode == "variation" else "pairs of real images"
        terminal.payload(
            f"{mode}, from {start} at noise strength {result['strength']:g}: {', '.join(names)}"
        )
    if result["rejected"]:
        terminal.table(_rejections(result))
        terminal.payload("")
    for notice in result["notices"]:
        terminal.warn(notice)
    terminal.payload(f"balanced folder to train on: {result['balanced']}")
    terminal.payload(f"provenance of every file: {result['manifest']}")
    if result["n_classes"] > 1:
        terminal.next(typed("evaluate", same))


def _rejections(result: dict[str, Any]) -> Table:
    """How many candidates of each class were drawn, kept and rejected for each reason."""
    reasons = result["rejected"]
    columns = (
        Column("class", numeric=False), Column("candidates", brief="drawn"), Column("kept"),
        *(Column(reason, brief=BRIEF_REASONS.get(reason, reason)) for reason in reasons),
    )  # fmt: skip
    rows = tuple(
        Row(tuple(Cell(str(value)) for value in (
            name, n, result["counts"][name],
            *(result["rejected_by_class"][name].get(reason, 0) for reason in reasons),
        )))
        for name, n in result["candidates"].items()
    )  # fmt: skip
    caption = "Rejected: " + ", ".join(
        f"{BRIEF_REASONS.get(reason, reason)}: {reason}" for reason in reasons
    )
    return Table("Selection", columns, rows, f"{caption}. Others were not needed.")


def print_recipes(terminal: Terminal, recipes: list[dict[str, Any]]) -> None:
    """The shipped recipes, a line each."""
    columns = (
        Column("recipe", numeric=False), Column("needs", numeric=False),
        Column("what it is for", numeric=False),
    )  # fmt: skip
    rows = tuple(
        Row((Cell(r["name"]), Cell("GPU" if r["needs_gpu"] else ""), Cell(r["description"])))
        for r in recipes
    )
    terminal.table(
        Table("Recipes", columns, rows, "Any key can be changed: --set section.key=value.")
    )
    terminal.next("synthaug recipes show NAME, or synthaug recipes copy NAME mine.yaml")


def print_push(terminal: Terminal, result: dict[str, Any]) -> None:
    """Where what was pushed is."""
    seen = "private" if result["private"] else "public"
    for what in ("model", "data"):
        if result[what]:
            terminal.payload(f"{what}: {result[what]} ({seen})")


def print_picture(terminal: Terminal, result: dict[str, Any]) -> None:
    """Where the picture of `show` is and how to read it."""
    terminal.payload(f"picture: {result['path']}")
    terminal.payload(result["reading"])


def print_results(terminal: Terminal, results: dict[str, Any], same: dict[str, Any]) -> None:
    """The tables and the verdict of `evaluate`."""
    arms = arms_table(results)
    terminal.table(arms, caption=f"{explain_brief_losses(results)}. {arms.caption}")
    if results["comparison"]:
        told = (
            "Recall with and without synthetic images, the rarest class first. "
            f"{about_verdicts(results)} The page says why, class by class."
        )
        terminal.table(classes_table(results), caption=told)
        terminal.table(differences_table(results))
    if results.get("likelihood"):
        terminal.table(likelihood_table(results))
    sentence = (results.get("collapse") or {}).get("sentence")
    if sentence:
        terminal.payload(f"\nBefore: the opponent; after: synthaug. {sentence}")
    verdict = results["verdict"]
    terminal.payload(f"\nVerdict: {describe_verdict(verdict['overall'])}. {verdict['sentence']}")
    terminal.payload(f"page: {results['report']}")
    terminal.next(typed("show neighbours", same))


def print_ablation(terminal: Terminal, result: dict[str, Any]) -> None:
    """The table and the answer of `ablate`."""
    terminal.table(ablation_table(result))
    terminal.payload(f"\n{result['sentence']}")
    terminal.payload(f"figure: {result['figure']}")
