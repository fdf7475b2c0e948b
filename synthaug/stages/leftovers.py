"""What a process that was killed left behind in a run folder, put right by the next one."""

import os
import re
import shutil
from pathlib import Path

from synthaug.data.swap import BALANCED, SYNTHETIC, finish

TEMPORARY = re.compile(r"\..+\.tmp-\d+(\.npz)?|ckpt-\d+\.tmp-\d+")
"""As `RunDir` and `save_checkpoint` name what is not whole yet."""
OWN_RUNS = ("folds", "variants")
"""Folders with runs of their own, which have a lock of their own."""


def tidy(run: Path) -> None:
    """Finish an interrupted swap of the written folders and remove what was never finished.

    For the owner of the folder's lock only: what another process is writing looks the same.
    """
    finish(run)
    for folder, subfolders, files in os.walk(run):
        for name in [*subfolders, *files]:
            if not TEMPORARY.fullmatch(name):
                continue
            path = Path(folder, name)
            if name in subfolders:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        skipped = (SYNTHETIC, BALANCED, *OWN_RUNS) if Path(folder) == run else ()
        subfolders[:] = [n for n in subfolders if n not in skipped and not TEMPORARY.fullmatch(n)]
