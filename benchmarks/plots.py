"""Draws the plots that it reads as JSON; it runs where matplotlib is installed.

python plots.py DIRECTORY < plots.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# The same numbers make the same file.
mpl.rcParams.update(
    {"svg.hashsalt": "bench", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
)

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of what it draws to

OURS, OTHERS = "#0f766e", "#94a3b8"


def draw_bars(axes: Any, plot: dict[str, Any]) -> None:
    series = plot["series"][::-1]
    points = [one["points"][0] for one in series]
    medians = [point[1] for point in points]
    errors = [[p[1] - p[2] for p in points], [p[3] - p[1] for p in points]]
    colors = [OURS if one["ours"] else OTHERS for one in series]
    bars = axes.barh(
        [one["title"] for one in series], medians, xerr=errors, color=colors, capsize=3
    )
    axes.bar_label(bars, [f"{value:,.4g}" for value in medians], padding=6)
    axes.set_xlabel(plot["axis"])
    axes.margins(x=0.15)


def draw_lines(axes: Any, plot: dict[str, Any]) -> None:
    for one in plot["series"]:
        labels, medians = zip(*((point[0], point[1]) for point in one["points"]), strict=True)
        axes.plot(labels, medians, marker="o", label=one["title"])
    axes.set_yscale("log")
    axes.legend()


def main() -> None:
    directory = Path(sys.argv[1])
    for plot in json.load(sys.stdin):
        has_lines = any(len(one["points"]) > 1 for one in plot["series"])
        figure, axes = plt.subplots(
            figsize=(8, 4 if has_lines else 1 + 0.4 * len(plot["series"])), layout="constrained"
        )
        axes.set_title(plot["title"], fontsize=11, loc="left")
        (draw_lines if has_lines else draw_bars)(axes, plot)
        figure.savefig(directory / f"{plot['name']}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
