"""What a dataset calls its classes and files is text: it leads nowhere and is never run."""

import csv
import io
import json
import tarfile
import zipfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from synthaug.recipe import load_recipe

CLASSES = {
    "<script>alert(1)</script>": 9,
    "..x/<img src=x onerror=alert(2)>": 6,
    '" onload="alert(3)': 5,
    "con": 5,
}
"""A table may name them: none leads out as it stands, but as a folder or as HTML it might."""
FLAGS = ("<b>set", "<i>torn.png", "<u>recipe</u>")


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A table whose own name, classes and files could be taken for something else."""
    home = tmp_path / "data"
    home.mkdir()
    table = home / "<b>set.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(["path", "label"])
        for k, (name, n) in enumerate(CLASSES.items()):
            for i in range(n):
                noise(100 * k + i).save(home / f"<i>{k}-{i}.png")
                rows.writerow([f"<i>{k}-{i}.png", name])
        (home / "<i>torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        rows.writerow(["<i>torn.png", next(iter(CLASSES))])
    return table


def files_beside(folder: Path) -> set[Path]:
    """Everything in the tree around the folder, but not in it."""
    return {p for p in folder.parent.rglob("*") if folder not in (p, *p.parents)}


def test_row_45_hostile_names_stay_in_the_run_folder_and_are_text_on_the_page(
    cli, hostile: Path, tmp_path: Path, serial: None
):
    recipe = tmp_path / "mine.yaml"
    content = load_recipe("smoke").model_dump(mode="json", exclude_unset=True)
    recipe.write_text(yaml.safe_dump({**content, "name": FLAGS[2]}), encoding="utf-8")
    run = tmp_path / "run"
    before = files_beside(run)
    fitted = cli("fit", "--dataset", hostile, "--recipe", recipe, "--run", run).ok()
    cli("generate", "--run", run, "--balance").ok()
    cli("evaluate", "--run", run, "--arms", "real,synthaug", "--seeds", "1").ok()
    cli("show", "forward", "--run", run).ok()
    assert files_beside(run) == before
    assert FLAGS[1] in " ".join(fitted.err.split())

    for top in ("balanced", "synthetic"):
        folders = [p.name for p in (run / top).iterdir()]
        assert not [name for name in folders if set(name) & set('<>"/\\:') or name == "con"]
    lines = (run / "synthaug_manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert {entry["class_name"] for entry in entries} == set(CLASSES)
    assert all((run / entry["file"]).resolve().is_relative_to(run) for entry in entries)

    text = (run / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for name in (*CLASSES, *FLAGS):
        assert name in page.text, f"{name} is not shown as it is"
    assert not {"script", "b", "i", "u"} & page.tags.keys()
    assert not {"onerror", "onload"} & page.attributes.keys()
    assert page.tags["svg"] >= 1 and "<img src=x" not in text


def test_what_the_page_is_searched_for_would_be_found():
    page = Page("<p>a</p><svg><text onload='x'>b</text></svg><script>c</script>")
    assert {"svg", "script", "p"} <= page.tags.keys() and "onload" in page.attributes


@pytest.mark.parametrize("name", ["../evil", "/evil", "..\\evil", "ev\0il"])
def test_row_45_a_class_that_leads_out_is_refused_by_fit(cli, tmp_path: Path, name: str):
    home, run = tmp_path / "data", tmp_path / "run"
    home.mkdir()
    for i in range(8):
        noise(i).save(home / f"{i}.png")
    rows = [f"{i}.png,{name if i < 4 else 'dog'}" for i in range(8)]
    (home / "set.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    before = files_beside(run)
    refused = cli("fit", "--dataset", home / "set.csv", "--recipe", "smoke", "--run", run)
    assert refused.code == 3 and "row 2" in refused.fault
    assert files_beside(run) == before and not run.exists()


def png() -> bytes:
    buffer = io.BytesIO()
    noise(0).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("member", ["../evil.png", "/evil.png", "a/../../evil.png", "link"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_row_50_a_member_that_leads_out_is_refused_by_fit(
    cli, tmp_path: Path, kind: str, member: str
):
    (tmp_path / "data").mkdir()
    archive, run = tmp_path / "data" / f"set.{kind}", tmp_path / "run"
    good = {f"{name}/{i}.png": png() for name in ("cat", "dog") for i in range(4)}
    bad = "cat/link.png" if member == "link" else member
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name, content in good.items():
                packed.writestr(name, content)
            entry = zipfile.ZipInfo(bad)
            entry.external_attr = (0o120777 if member == "link" else 0o100644) << 16
            packed.writestr(entry, "/etc/passwd" if member == "link" else png())
    else:
        with tarfile.open(archive, "w:gz") as packed:
            for name, content in good.items():
                packed.addfile(_entry(name, len(content)), io.BytesIO(content))
            entry = _entry(bad, 0 if member == "link" else len(png()))
            if member == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(entry, io.BytesIO(b"" if member == "link" else png()))
    before = files_beside(run)
    refused = cli("fit", "--dataset", archive, "--recipe", "smoke", "--run", run)
    assert refused.code == 3 and bad in refused.fault
    assert files_beside(run) == before and not run.exists()
    assert not Path("/evil.png").exists()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info
