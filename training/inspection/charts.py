"""Small charts as SVG, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .markup import Markup, element

WIDTH, HEIGHT, FOOT = 340, 110, 20


def ticks(low: float, high: float, count: int = 4) -> np.ndarray:
    """About `count` round numbers (1, 2 or 5 times a power of ten) from `low` to `high`."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / count))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= count)
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def number(value: float) -> str:
    """Three significant digits, thousands apart, no exponent where people would not write one."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-4:
        return f"{value:.2g}"
    digits = max(0, 2 - int(np.floor(np.log10(size))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def histogram(
    values: np.ndarray,
    low: float | None = None,
    high: float | None = None,
    bins: int = 32,
    other: np.ndarray | None = None,
    logarithmic: bool = False,
    colours: Sequence[str] | None = None,
    unit: str = "",
    label: str = "",
    bare: bool = False,
) -> Markup:
    """Shares of values as bars, those of `other` (the held-out shapes) as a line over them.

    Args:
        values: any shape; what lies outside low … high counts to the last bar on its side.
        low, high: ends of the axis; None takes them from the values.
        logarithmic: space the bins by ratio; values must be positive.
        colours: one for each bin.
        unit: written after the numbers.
        label: what screen readers hear.
        bare: leave the axis out and stretch to whatever height there is.
    """
    values = np.asarray(values, float).reshape(-1)
    both = values if other is None else np.concatenate([values, np.asarray(other, float).reshape(-1)])
    if len(both) == 0:
        return element("p", "Nothing to show.", class_="quiet")
    low = float(both.min()) if low is None else low
    high = float(both.max()) if high is None else high
    if not high > low:
        low, high = low - max(abs(low), 1e-3) * 0.1, high + max(abs(high), 1e-3) * 0.1
    scale = np.log10 if logarithmic else np.asarray
    edges = np.linspace(scale(low), scale(high), bins + 1)

    def shares(data: np.ndarray) -> np.ndarray:
        counts, _ = np.histogram(np.clip(scale(data), edges[0], edges[-1]), edges)
        return counts / max(counts.sum(), 1)

    bars = shares(values)
    line = None if other is None or len(other) == 0 else shares(np.asarray(other, float).reshape(-1))
    top = max(bars.max(), 0 if line is None else line.max(), 1e-9)
    ends = edges if not logarithmic else 10**edges
    parts = []
    foot = 0 if bare else FOOT
    across, up = WIDTH / bins, (HEIGHT - foot - 4) / top
    for i, share in enumerate(bars):
        if share:
            tip = f"{number(ends[i])} … {number(ends[i + 1])}{unit}: {100 * share:.1f} %"
            height = max(share * up, 0.8)
            box = {"x": f"{i * across + 0.5:.1f}", "y": f"{HEIGHT - foot - height:.1f}"}
            size = {"width": f"{across - 1:.1f}", "height": f"{height:.1f}", "rx": 1}
            fill = None if colours is None else f"fill:{colours[i]}"
            parts.append(element("rect", element("title", tip), class_="bar", style=fill, **box, **size))
    if line is not None:
        steps = " ".join(
            f"{'M' if i == 0 else 'L'}{i * across:.1f} {HEIGHT - foot - share * up:.1f} H{(i + 1) * across:.1f}"
            for i, share in enumerate(line)
        )
        parts.append(element("path", class_="line", d=steps))
    if bare:
        size = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "preserveAspectRatio": "none"}
        return element("svg", parts, class_="chart", role="img", aria_label=label or "Histogram", **size)
    parts.append(element("line", class_="axis", x1=0, x2=WIDTH, y1=HEIGHT - FOOT + 0.5, y2=HEIGHT - FOOT + 0.5))
    marks = 10.0 ** np.arange(np.ceil(np.log10(low)), np.log10(high) + 1e-9) if logarithmic else ticks(low, high)
    if logarithmic and len(marks) < 2:
        marks = np.array([low, high])
    for mark in marks:
        x = float((scale(mark) - edges[0]) / (edges[-1] - edges[0]) * WIDTH)
        anchor = "start" if x < 12 else "end" if x > WIDTH - 14 else "middle"
        parts.append(element("text", number(mark) + unit, x=f"{x:.1f}", y=HEIGHT - 5, text_anchor=anchor))
    return element(
        "svg", parts, class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label or "Histogram"
    )


def stacked(parts: Sequence[tuple[str, int]], height: int = 14) -> Markup:
    """One bar in parts, each with its name as class and tooltip."""
    total = max(sum(count for _, count in parts), 1)
    x, boxes = 0.0, []
    for name, count in parts:
        width = 1000 * count / total
        if count:
            tip = f"{name}: {count} ({100 * count / total:.1f} %)"
            size = {"x": f"{x:.1f}", "y": 0, "width": f"{max(width - 2, 1):.1f}", "height": height}
            boxes.append(element("rect", element("title", tip), class_=f"part {name}", **size))
        x += width
    label = ", ".join(f"{count} {name}" for name, count in parts)
    size = {"viewBox": f"0 0 1000 {height}", "preserveAspectRatio": "none"}
    return element("svg", boxes, class_="stack", role="img", aria_label=label, **size)


def meter(share: float) -> Markup:
    """A share as a short bar with its figure."""
    width = f"width:{100 * min(max(share, 0), 1):.1f}%"
    return element(
        "span", element("span", element("span", style=width), class_="track"), f"{100 * share:.0f} %", class_="meter"
    )


def curve(
    x: Sequence[float], y: Sequence[float], marks: Sequence[tuple[float, str]] = (), label: str = "", points: int = 300
) -> Markup:
    """A line over an axis, with the range of its values in the corner.

    Args:
        x, y: of equal length, x rising; what is not finite is left out.
        marks: places on the x axis and what is there, drawn as upright lines.
        label: what screen readers hear.
        points: more are thinned out, evenly, and the last one is kept.
    """
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    xs, ys = xs[np.isfinite(ys)], ys[np.isfinite(ys)]
    if len(xs) == 0:
        return element("p", "Nothing to show.", class_="quiet")
    chosen = np.unique(np.linspace(0, len(xs) - 1, min(points, len(xs))).round().astype(int))
    xs, ys = xs[chosen], ys[chosen]
    low, high = float(ys.min()), float(ys.max())
    left, right = float(xs[0]), max(float(xs[-1]), float(xs[0]) + 1)
    up, foot = HEIGHT - FOOT - 22, HEIGHT - FOOT - 4  # the range is written above

    def across(at: float) -> float:
        return (at - left) / (right - left) * WIDTH

    heights = foot - (ys - low) / max(high - low, 1e-12) * up
    steps = " L".join(f"{across(a):.1f} {b:.1f}" for a, b in zip(xs, heights, strict=True))
    parts = [element("line", class_="axis", x1=0, x2=WIDTH, y1=HEIGHT - FOOT + 0.5, y2=HEIGHT - FOOT + 0.5)]
    for at, what in marks:
        place = f"{across(min(max(at, left), right)):.1f}"
        line = {"x1": place, "x2": place, "y1": 0, "y2": HEIGHT - FOOT}
        parts.append(element("line", element("title", f"{what}, step {at:,.0f}"), class_="mark", **line))
    parts.append(element("path", class_="line", d=f"M{steps}" if len(xs) > 1 else f"M{steps} h1"))
    ends = f"{number(high)}" if high == low else f"{number(low)} … {number(high)}"
    parts.append(element("text", ends, x=WIDTH - 2, y=10, text_anchor="end"))
    for mark in ticks(left, right):
        anchor = "start" if across(mark) < 12 else "end" if across(mark) > WIDTH - 14 else "middle"
        parts.append(element("text", number(mark), x=f"{across(mark):.1f}", y=HEIGHT - 5, text_anchor=anchor))
    return element(
        "svg", parts, class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label or "Curve"
    )
