"""The paper's figures as a table of experiments. Imports no torch until one is loaded: `--help` reads the table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from doprestore.reproduce.figure import Figure

# What --scale takes: minutes, hours, and the sizes of the paper.
SCALES = ("quick", "small", "full")
# The modules whose figures are of pictures.
PICTURE_MODULES = ("fig_pictures", "fig_claims")


class Entry(NamedTuple):
    """The module that holds the figure, under its name in capitals, what it shows in a line, and the scales it has."""

    module: str
    text: str
    scales: tuple[str, ...] = ("quick", "full")

    @property
    def needs_pictures(self) -> bool:
        return self.module in PICTURE_MODULES


# The figures by the name that the command takes.
FIGURES = {
    "theorem1": Entry("fig_theorem", "the limit of the flow for a vanishing start against the convex solution of (8)"),
    "fig1a": Entry("fig_matrices", "learning curves of matrices: l1 factorisation, exact and full rank, and DOP"),
    "fig2a": Entry("fig_matrices", "error of matrices over the ratio α of the learning rates"),
    "fig2b": Entry("fig_matrices", "phase transition of the convex program over rank and share of outliers"),
    "fig2c": Entry("fig_matrices", "the same of DOP"),
    "fig1b": Entry("fig_pictures", "learning curves of a picture: DIP-l1, narrow and wide, and DOP", SCALES),
    "fig3": Entry("fig_pictures", "four pictures at 50 %: DIP, DIP-l1 and DOP", SCALES),
    "fig4a": Entry("fig_pictures", "learning curves of DOP over the four pictures", SCALES),
    "fig4b": Entry("fig_pictures", "learning curves of DOP over amounts of damage, 10 to 70 %", SCALES),
    "alpha": Entry("fig_claims", "PSNR of DOP in the end over the ratio α, at two sizes", ("small",)),
    "widths": Entry("fig_claims", "learning curves of DOP in networks of three widths, beside DIP-l1", ("small",)),
    "oracles": Entry("fig_claims", "DOP beside DIP and DIP-l1 over amounts of damage", ("small",)),
}


def load(name: str) -> Figure:
    """The figure of that name in :data:`FIGURES`."""
    figure: Figure = getattr(import_module(f"doprestore.reproduce.{FIGURES[name].module}"), name.upper())
    return figure


def sharing(name: str) -> list[str]:
    """The names of the figures, ``name`` among them, whose numbers come from the same kind of run."""
    runs, with_pictures = load(name).runs, FIGURES[name].needs_pictures
    return [other for other, entry in FIGURES.items() if entry.needs_pictures == with_pictures and load(other).runs is runs]
