"""The project's Markdown as a reader uses it: its blocks, headings and links.

Comments right above a block say what it needs or is: `<!-- needs: gpu -->` is checked and not
run, `<!-- file: nets.py -->` is a file that later blocks of the page use.
"""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "sh")
"""Kinds of blocks with commands, beside those of no kind that begin with one."""
MARK = re.compile(r"<!-- (needs|file): (\S+) -->")
OPERATORS = {";", ";;", "&&", "||", "|", "&", ">", ">>", "<", "2>", "(", ")"}


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its first fence, `needs` and `file` are of its comment."""

    page: str
    line: int
    kind: str
    text: str
    needs: str = ""
    file: str = ""

    @property
    def is_shell(self) -> bool:
        first = self.text.partition(" ")[0]
        return self.kind in SHELL or (not self.kind and first in ("synthaug", "make"))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Document:
    """One page: its blocks, the anchors of its headings, its links and its spans of code."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


def read(path: Path) -> Document:
    document = Document(path)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    before: Token | None = None
    comments = ""
    for token in tokens:
        if token.type == "fence":
            document.blocks.append(_block(document.name, token, comments))
        elif token.type == "inline":
            _read_text(document, token, heading=before is not None and before.tag[:1] == "h")
        comments = comments + token.content if token.type == "html_block" else ""
        before = token
    return document


def _block(page: str, token: Token, comments: str) -> Block:
    marks = dict(MARK.findall(comments))
    assert token.map is not None
    return Block(
        page, token.map[0] + 1, token.info.strip(), token.content,
        needs=marks.get("needs", ""), file=marks.get("file", ""),
    )  # fmt: skip


def _read_text(document: Document, token: Token, *, heading: bool) -> None:
    parts = token.children or []
    document.code += [part.content for part in parts if part.type == "code_inline"]
    for part in parts:
        target = part.attrGet("href") or part.attrGet("src")
        if target:
            document.links.append(str(target))
    if heading:
        told = "".join(part.content for part in parts)
        # As GitHub makes them: letters, digits, hyphens and underscores stay, spaces are hyphens.
        document.anchors.add(re.sub(r"[^\w\- ]", "", told.lower()).replace(" ", "-"))


def pages() -> list[Path]:
    """README.md and everything under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def logical_lines(text: str) -> list[str]:
    """Lines of a shell block: continued ones joined, empty ones and comments left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def calls(line: str) -> list[list[str]]:
    """What `synthaug` is called with in a shell line, alone or behind `srun`, `if` or `&&`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = []
    inside = False
    for word in lexer:
        if word in OPERATORS:
            inside = False
        elif inside:
            found[-1].append(word)
        elif word == "synthaug":
            found.append([])
            inside = True
    return found
