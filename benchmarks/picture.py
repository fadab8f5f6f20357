"""A report as a picture: a bar of CPU seconds for each contestant, as SVG that a browser draws.

The colours are readable on a light and on a dark page, because GitHub shows a README on either.
"""

from __future__ import annotations

from html import escape

from benchmarks.report import Report

_WIDTH = 760
_LEFT = 130
_BAR_SPACE = 380
_ROW = 34
_TOP = 58
_TEXT = "#7d8590"
_PEER = "#8c959f"
_OURS = "#2f81f7"


def drawn(report: Report) -> str:
    """Return the picture; what is not the platform, and whom the others are compared with, has a colour of its own."""
    longest = max(line.cpu_seconds.median for line in report.lines)
    height = _TOP + _ROW * len(report.lines) + 34
    machine = report.circumstances
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" font-family="system-ui, sans-serif" font-size="14" fill="{_TEXT}">',
        f"<title>{escape(report.title)}: CPU seconds</title>",
        f'<text x="0" y="20" font-size="16" font-weight="600">{escape(report.title)}</text>',
        f'<text x="0" y="42">CPU seconds for {escape(report.size)}, less is better</text>',
    ]
    for number, line in enumerate(report.lines):
        y = _TOP + _ROW * number
        colour = _OURS if number and line.contestant not in report.others else _PEER
        length = max(2, round(_BAR_SPACE * line.cpu_seconds.median / longest))
        value = f"{line.cpu_seconds.median:.1f} s" + (f" · {line.ratio.median:.1f} ×" if number else "")
        value += f" · {line.peak_bytes / 2**30:.1f} GiB"
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 18}" text-anchor="end">{escape(line.contestant)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{length}" height="24" rx="3" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 8}" y="{y + 18}">{value}</text>',
        ]
    about = (
        f"{machine.cores} cores of {machine.processor}, load {machine.load}; median of {report.lines[0].rounds}"
        f" alternating rounds, {machine.at[:10]}"
    )
    parts += [f'<text x="0" y="{height - 8}" font-size="12">{escape(about)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"
