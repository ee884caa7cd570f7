"""Charts as inline SVG that takes the page's own colours, with a title and a description for who cannot see it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # for what matplotlib has written a moment ago, never for a stranger's file

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 340
"""CSS pixels: what a phone shows without making the letters smaller; wide screens set two side by side."""

LETTERS = 12

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"

INK, QUIET, EDGE, BAR, GOOD, FAIR, POOR = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707"
"""Colours that stand for the page's own, until the drawing is done."""

LIGHT: Mapping[str, str] = {
    INK: "#1c2731",
    QUIET: "#52606d",
    EDGE: "#d5dce3",
    BAR: "#0b5d86",
    GOOD: "#17663b",
    FAIR: "#7a4a00",
    POOR: "#9b1c1c",
}
"""For paper, where no style sheet of the page reaches into a drawing."""
PAGE: Mapping[str, str] = {
    INK: "var(--text)",
    QUIET: "var(--quiet)",
    EDGE: "var(--edge)",
    BAR: "var(--accent)",
    GOOD: "var(--ok)",
    FAIR: "var(--warn)",
    POOR: "var(--bad)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: what it is called, how long it is, and the figure printed at its end."""

    label: str
    value: float
    shown: str
    color: str = BAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis and what stands there."""

    at: float
    shown: str


def bars(name: str, title: str, description: str, rows: Sequence[Bar], colors: Mapping[str, str]) -> Markup:
    """Horizontal bars from the top down, each with its label above it, so that long words have room."""
    figure, axes = _figure(max(1, len(rows)) * 44 + 6)
    longest = max((row.value for row in rows), default=0) or 1
    for place, row in enumerate(rows):
        axes.barh(place, longest, height=0.26, color=EDGE)
        # Something that is there is seen, however small it is.
        axes.barh(place, max(row.value, longest * 0.008 if row.value else 0), height=0.26, color=row.color)
        axes.text(
            0, place - 0.26, _short(row.label), color=INK, fontsize=LETTERS, va="bottom", ha="left", parse_math=False
        )
        axes.text(
            longest, place - 0.26, row.shown, color=INK, fontsize=LETTERS, va="bottom", ha="right", parse_math=False
        )
    axes.set_xlim(0, longest)
    axes.set_ylim(len(rows) - 0.75, -0.85)
    axes.axis("off")
    return _svg(figure, name, title, description, colors)


def steps(
    name: str,
    title: str,
    description: str,
    values: Sequence[float],
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
    colors: Mapping[str, str],
) -> Markup:
    """A value that holds for a step of time each."""
    figure, axes = _figure(170)
    axes.stairs(values, range(len(values) + 1), fill=True, color=BAR)
    _frame(axes, x_ticks, y_ticks)
    axes.set_xlim(0, len(values))
    return _svg(figure, name, title, description, colors)


def points(
    name: str,
    title: str,
    description: str,
    values: Sequence[tuple[float, bool]],
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
    colors: Mapping[str, str],
) -> Markup:
    """A value for each drill, with a filled mark where it was proven and a cross where it was not."""
    figure, axes = _figure(170)
    places = range(len(values))
    axes.plot(places, [value for value, _ in values], color=BAR, linewidth=1.6, zorder=2)
    for good, mark, color in ((True, "o", GOOD), (False, "X", POOR)):
        shown = [(place, value) for place, (value, proven) in zip(places, values, strict=True) if proven is good]
        if shown:
            axes.scatter([x for x, _ in shown], [y for _, y in shown], marker=mark, s=42, color=color, zorder=3)
    _frame(axes, x_ticks, y_ticks)
    axes.set_xlim(-0.4, max(len(values) - 0.6, 0.4))
    return _svg(figure, name, title, description, colors)


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "axes.linewidth": 0.8}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained")
        FigureCanvasSVG(figure)
        figure.get_layout_engine().set(w_pad=2 / 72, h_pad=2 / 72)  # type: ignore[union-attr,call-arg]  # it has one: "constrained"
        return figure, figure.add_subplot()


def _frame(axes: Axes, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> None:
    axes.set_xticks(
        [tick.at for tick in x_ticks], [tick.shown for tick in x_ticks], color=QUIET, fontsize=LETTERS - 0.5
    )
    axes.set_yticks(
        [tick.at for tick in y_ticks], [tick.shown for tick in y_ticks], color=QUIET, fontsize=LETTERS - 0.5
    )
    for place, label in enumerate(axes.get_xticklabels()):  # the outer ones stay inside the drawing
        label.set_horizontalalignment("left" if place == 0 else "right" if place == len(x_ticks) - 1 else "center")
    axes.tick_params(length=0, pad=4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(EDGE)
    axes.grid(axis="y", color=EDGE, linewidth=0.8)
    axes.set_axisbelow(True)
    if y_ticks:
        low, high = min(tick.at for tick in y_ticks), max(tick.at for tick in y_ticks)
        axes.set_ylim(low, high + (high - low or 1) * 0.06)


def _short(label: str) -> str:
    return label if len(label) <= 34 else f"{label[:33]}…"


def _svg(figure: Figure, name: str, title: str, description: str, colors: Mapping[str, str]) -> Markup:
    """The drawing as an element of a page: its own names, no fixed size, no font and no colour but the page's."""
    from matplotlib import rc_context

    drawn = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's own font draws the letters
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(drawn.getvalue())  # noqa: S314 - matplotlib wrote it a line above
    for child in list(root):
        # A style sheet in a drawing would hold for the whole page.
        if child.tag == f"{{{_SVG}}}metadata" or child.find(f"{{{_SVG}}}style") is not None:
            root.remove(child)
    for element in root.iter():
        if "id" in element.attrib:
            element.set("id", f"{name}-{element.get('id')}")
        if _LINK in element.attrib:
            element.set(_LINK, f"#{name}-{element.attrib[_LINK].removeprefix('#')}")
        if "clip-path" in element.attrib:
            element.set("clip-path", element.attrib["clip-path"].replace("url(#", f"url(#{name}-"))
        if "style" in element.attrib:
            element.set("style", re.sub(r"font-family: [^;]*; ?", "", element.attrib["style"]))
    width, height = (float(root.get(side, "0pt").removesuffix("pt")) for side in ("width", "height"))
    root.set("width", f"{width:g}")
    root.set("height", f"{height:g}")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    text = ET.tostring(root, encoding="unicode")
    for placeholder, color in colors.items():
        text = text.replace(placeholder, color)
    return Markup(text)  # noqa: S704 - serialised by ElementTree, which escapes every text in it
