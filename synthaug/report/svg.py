"""A matplotlib figure as inline SVG that takes its colours and its typeface from the page."""

import hashlib
import html
import io
import re
import warnings

import matplotlib
from matplotlib.figure import Figure

# Stand-ins that matplotlib draws with and `inline_svg` swaps for CSS, so that one picture serves
# the light and the dark page.
INK, ACCENT, MUTED, HAIRLINE = "#010101", "#010102", "#010103", "#010104"
_CSS = {
    INK: "currentColor",
    ACCENT: "var(--accent)",
    MUTED: "var(--muted)",
    HAIRLINE: "var(--hairline)",
}

_TAG = re.compile(r"<[^>]*>")
_TEXT_ONLY_LAYOUT = re.compile(r"\s*font-family: [^;\"]*;?")


def inline_svg(figure: Figure, *, alt: str) -> str:
    """Draw the figure as an `<svg>` element to be placed inside an HTML page.

    The same figure gives the same text. Ids carry a digest of the drawing, so that several
    drawings share a page; text stays text and follows the page's typeface.

    Args:
        figure: one user unit per 1/72 inch; drawn on a transparent ground.
        alt: what a reader who cannot see the picture should know; escaped here.
    """
    buffer = io.StringIO()
    # "none" leaves drawing the glyphs to the browser: one missing from matplotlib's own font
    # (a class named in Chinese, say) is no fault.
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "synthaug"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<style.*?</style>", "", drawing, flags=re.DOTALL)
    prefix = f"g{hashlib.sha256(drawing.encode()).hexdigest()[:10]}-"
    # Matplotlib escapes < and > in text, so whatever a class is called, tags are told from text.
    drawing = _TAG.sub(lambda match: _for_the_page(match.group(), prefix), drawing)
    view_box = re.search(r'viewBox="([^"]*)"', drawing)
    assert view_box is not None
    width = float(view_box.group(1).split()[2])
    opening = (
        f'<svg viewBox="{view_box.group(1)}" style="max-width: {width:g}px" role="img" '
        f'aria-label="{html.escape(alt)}">'
    )
    body = re.sub(r"\s*\n\s*", "\n", drawing[drawing.index(">") + 1 :])
    return opening + body.strip()


def _for_the_page(tag: str, prefix: str) -> str:
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\bid="', f'id="{prefix}', tag)
    tag = tag.replace("xlink:href", "href")  # inside HTML no namespace has to be declared
    tag = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", tag)
    tag = _TEXT_ONLY_LAYOUT.sub("", tag)
    if tag.startswith("<text"):
        tag = tag.replace('style="', f'style="fill: {INK}; ', 1) if "fill:" not in tag else tag
    for stand_in, css in _CSS.items():
        tag = tag.replace(stand_in, css)
    return tag
