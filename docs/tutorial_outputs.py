"""Run the tutorial and put what its commands print into it: `python docs/tutorial_outputs.py`.

Every `python` and `bash` block is done in order in an empty folder, with the network, the steps and
the times that the page says; what was printed stands in a `text` block after it. It takes about ten
minutes on a free machine. The tests follow the page as well, but with a tiny network.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).with_name("tutorial.md")
BLOCKS = re.compile(r"```(python|bash)\n(.*?)```(?:\n\n```text\n.*?```)?", re.DOTALL)
COLUMNS = "100"


def main() -> None:
    """Raises `CalledProcessError` at the first block that fails; the page is then left alone."""
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:

        def done(block: re.Match[str]) -> str:
            kind, text = block[1], block[2]
            command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-ec", text]
            printed = run(command, folder)
            print(f"{text}{printed}", flush=True)
            output = f"\n\n```text\n{printed}```" if printed else ""
            return f"```{kind}\n{text}```{output}"

        page = BLOCKS.sub(done, page)
    page = re.sub(r"(?<=<!-- outputs -->\n).*?(?=\n\n)", machine(), page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


def run(command: list[str], folder: str) -> str:
    """What a command prints on both streams, in order, as plain text."""
    path = f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}"
    env = {**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1", "PATH": path}
    told = subprocess.run(
        command, cwd=folder, env=env, text=True, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return "".join(f"{line.rstrip()}\n" for line in told.stdout.splitlines())


def machine() -> str:
    """When and on what."""
    from synthaug import __version__

    cores = len(os.sched_getaffinity(0))
    day = datetime.now(UTC).date().isoformat()
    return f"{day}, synthaug {__version__}, {platform.machine()}, {cores} cores, no GPU."


if __name__ == "__main__":
    main()
