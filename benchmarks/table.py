"""Print the result of a run as Markdown: `python benchmarks/table.py runs/<run> > benchmarks/x.md`.

All numbers come from the run's results.json, with machine, seeds and date; none is computed here.
"""

import json
import platform
import sys
from pathlib import Path

from synthaug.report.class_tables import classes_table
from synthaug.report.schema import validate_results
from synthaug.report.tables import Table, arms_table, differences_table
from synthaug.report.tuning_tables import tuning_tables
from synthaug.report.words import describe_verdict


def markdown(table: Table) -> str:
    """A table with all its columns; the best of a column is bold."""
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [[column.heading for column in table.columns], rule]
    lines += [[f"**{c.text}**" if c.strong else c.text for c in row.cells] for row in table.rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"### {table.title}\n\n{body}\n\n{table.caption}\n"


def main(run: Path) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    validate_results(results)
    data, protocol = results["dataset"], results["protocol"]
    fit, generate = results["fit"], results["generate"]
    print(f"## {data['name']} at {data['image_size']}×{data['image_size']}\n")
    print(f"```\n{chr(10).join(results['commands'])}\n```\n")
    print(
        f"{results['created'][:10]}, synthaug {results['synthaug_version']}, recipe "
        f"{protocol['recipe']}, {protocol['device']}, {platform.machine()}, torch "
        f"{protocol['torch']}; seeds {protocol['seeds']}; {protocol['steps']} steps of "
        f"{protocol['batch_size']} images in every arm; logit adjustment tau "
        f"{protocol['logit_adjustment_tau']:g}; synthetic share "
        f"{protocol['synthetic_share']:g}.\n"
    )
    print(
        f"DDPM: {fit['parameters'] / 1e6:.2f} M parameters, {fit['n_img']:,} images in "
        f"{fit['minutes']:.1f} min ({fit['images_per_second']:.0f} training images/s); "
        f"{generate['n']:,} images drawn with {generate['sampler']}, {generate['steps']} steps "
        f"({generate['images_per_second']:.0f} sampling images/s).\n"
    )
    compared = (arms_table(results), differences_table(results), classes_table(results))
    for table in (*compared, *tuning_tables(results)):
        print(markdown(table))
    verdict = results["verdict"]
    print(f"Verdict: {describe_verdict(verdict['overall'])}. {verdict['sentence']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
