"""The one style of all figures: every figure function of this package returns one with labelled axes and alt text.

Colours are those of Okabe and Ito (2008), which remain distinct with the common kinds of colour blindness; a second
cue (marker, line style, direct label) always accompanies colour. Figures are made without pyplot, so nothing is global
and nothing is shown twice; a notebook shows what a cell returns.

A figure shows itself as HTML: an ``<img>`` that holds the PNG's bytes and the alt text. An output of the kind image/png
would be the usual choice, and would lose the text: JupyterLab writes an ``<img>`` without alt for it, whatever the
output's metadata say. HTML keeps it in JupyterLab (also in a notebook that it does not trust: its sanitizer leaves img,
alt and data), in nbconvert and on a site made with MyST-NB. Both kinds in one output would double a notebook's bytes.
GitHub's viewer shows such HTML too, as it does RDKit's tables of molecules (rdkit/rdkit#5628). nbval compares HTML and
does not compare PNG: conftest.py at the root takes the bytes out of the comparison, and the alt text stays in.

To add a figure: decorate the function with ``@styled``, begin with ``new_figure``, end with ``return finish(figure,
alt="…")``. The alt text says what the picture shows, with its numbers, for a reader who cannot see it.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# Okabe and Ito's palette; yellow last, since it is weak on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: dict[RcKeyType, Any] = {
    "figure.dpi": 100,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
# Decorates a function that draws: titles and legends read the settings when they are made, not when the figure is.
styled = rc_context(STYLE)


class CourseFigure(Figure):
    """A matplotlib figure that carries alt text and shows itself in a notebook as a picture with it."""

    alt_text: str = ""

    def png(self) -> bytes:
        """The picture: figures that were made alike give the same bytes."""
        stream = BytesIO()
        # No metadata: the version of matplotlib would make the same picture differ.
        self.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()

    def html(self) -> str:
        """``<img alt="…">`` with the picture in it."""
        return image_html(self.png(), self.alt_text)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self.html(), "text/plain": f"Figure: {self.alt_text}"}


def image_html(png: bytes, alt: str) -> str:
    """A PNG and its alt text as one ``<img>``, for whatever takes HTML.

    Raises: ValueError: alt is empty.

    >>> image_html(b"PNG", "x < 1")
    '<img alt="x &lt; 1" src="data:image/png;base64,UE5H">'
    """
    if not alt.strip():
        raise ValueError("alt must describe the picture, got an empty text")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(png).decode()}">'


@styled
def new_figure(width: float = 7.0, height: float = 4.0, columns: int = 1, rows: int = 1) -> tuple[CourseFigure, Any]:
    """A figure of width × height inches in the course's style, and its axes (one, or an array if more)."""
    figure = CourseFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def finish(figure: CourseFigure, *, alt: str) -> CourseFigure:
    """Attach the alt text and check that every visible axis is labelled.

    Raises: ValueError: alt is empty, or an axis that is drawn has no label.
    """
    if not alt.strip():
        raise ValueError("alt must describe the figure, got an empty text")
    for axes in figure.axes:
        if axes.axison and not (axes.get_xlabel() and axes.get_ylabel()):
            raise ValueError(f"axes {axes.get_title()!r} need both labels with units (or axes.set_axis_off())")
    figure.alt_text = alt
    return figure


def alt_text(figure: Figure) -> str:
    """The figure's alt text; "" for a figure that was not made here."""
    return getattr(figure, "alt_text", "")
