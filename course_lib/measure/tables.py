"""One table, three renderings: terminal, Markdown, HTML. The first column is left-aligned, numbers to the right.

Numbers are written with three significant digits: more would claim a precision that no latency here has.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from course_lib.evaluation import Estimate

Cells = Sequence[Sequence[str]]


def text_table(header: Sequence[str], rows: Cells) -> str:
    """Columns aligned with spaces under a rule."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        numbers = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)][1:]
        return "  ".join([row[0].ljust(widths[0]), *numbers]).rstrip()

    return "\n".join([line(header), "  ".join("─" * w for w in widths), *map(line, rows)])


def markdown_table(header: Sequence[str], rows: Cells) -> str:
    """A GitHub table; a pipe inside a cell is escaped."""
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in (header, align, *rows))


def html_table(header: Sequence[str], rows: Cells, *, caption: str = "", notes: Sequence[str] = ()) -> str:
    """A table with a caption above and notes below; all text is escaped."""

    def line(row: Sequence[str], tag: str) -> str:
        side = ["left", *["right"] * (len(row) - 1)]
        cells = (f'<{tag} style="text-align:{s}">{html.escape(c)}</{tag}>' for c, s in zip(row, side, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    below = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in notes)
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{title}<thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>{below}"


def quantity(value: int | None, unit: str = "") -> str:
    """Three significant digits with k, M or G (powers of 1000); "–" for None.

    >>> quantity(6_290_000, "B"), quantity(98_600), quantity(None)
    ('6.29 MB', '98.6 k', '–')
    """
    if value is None:
        return "–"
    # Rounded first, so that 999,999 is 1.00 M and not 1000 k.
    rounded = float(f"{value:.3g}")
    power = min(3, int(math.log10(rounded) // 3)) if value >= 1000 else 0
    digits = str(value) if power == 0 else three_digits(rounded / 1000**power)
    return f"{digits} {('', 'k', 'M', 'G')[power]}{unit}".rstrip()


def three_digits(value: float) -> str:
    """Three significant digits, zeros kept; larger numbers as integers.

    >>> three_digits(5.7), three_digits(0.1), three_digits(12345.6)
    ('5.70', '0.100', '12346')
    """
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def ratio_text(ratio: Estimate | None) -> str:
    """A ratio with its interval, – where there is none.

    >>> ratio_text(Estimate(2.5, 2.25, 2.75, 30, "×")), ratio_text(None)
    ('2.50 [2.25, 2.75]', '–')
    """
    return "–" if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
