"""Links between the pages lead somewhere, and so do the headings they name."""

import re

import pytest
from documents import ROOT, Document, pages, read

OTHERS = ["CONTRIBUTING.md", "CHANGELOG.md", *(p.relative_to(ROOT).as_posix()
          for p in sorted((ROOT / "benchmarks").glob("*.md")))]  # fmt: skip
DOCUMENTS = [read(path) for path in [*pages(), *(ROOT / name for name in OTHERS)]]
FILES = re.compile(r"(?:docs|examples|recipes|benchmarks|synthaug|tests)/[\w./-]*\w\.\w+")


def test_there_are_links():
    assert sum(len(document.links) for document in DOCUMENTS) > 20


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Document):
    for link in document.links:
        if link.startswith(("https://", "mailto:")):
            continue
        assert not link.startswith(("http:", "/")), link
        name, _, anchor = link.partition("#")
        target = (document.path.parent / name).resolve() if name else document.path
        assert target.exists() and ROOT in target.parents, link
        if anchor:
            assert anchor in read(target).anchors, link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_files_named_in_passing_exist(document: Document):
    if document.name in ("docs/LOG.md", "CHANGELOG.md"):
        return  # these tell what was
    for mentioned in {name for code in document.code for name in FILES.findall(code)}:
        assert (ROOT / mentioned).exists(), mentioned


def test_every_page_of_docs_can_be_reached_from_the_readme():
    readme = ROOT / "README.md"
    seen, waiting = {readme}, [readme]
    while waiting:
        page = read(waiting.pop())
        for link in page.links:
            target = (page.path.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                seen.add(target)
                waiting.append(target)
    missing = sorted(p.name for p in pages() if p not in seen)
    assert not missing
