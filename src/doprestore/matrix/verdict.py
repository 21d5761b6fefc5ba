"""What an answer may claim. Pure functions of the evidence: nothing here computes a fit.

"exact" and "noise" are claims, and have to be earned; what earns neither is the solution of the convex program, and is
said to have no clear split.
"""

from __future__ import annotations

from dataclasses import dataclass

# A line is determined by as many agreeing entries as the rank and so many more, at least.
SPARE = 2
# This share of its other known entries must agree, too.
SURPLUS = 0.2
# An exact fit is looked at twice where at least this share of its entries are outliers, and entries are missing or no more
# than so many.
DOUBTFUL, SMALL = 0.05, 10_000
# The share of rows, and of columns, that must hold enough known entries to be determined.
MOST_LINES = 0.8
# A split that explains less than this share of the data explains nothing: up to noise, and to rounding error.
HALF, LESS = 0.5, 0.4


@dataclass(frozen=True)
class Evidence:
    """rows, columns, rank: of the fit. known: entries that it was made from. agreeing: those it explains, to rounding
    error or up to noise. lines: the share of rows and of columns (the smaller) with enough agreeing entries to determine
    them. white: whether nothing more than noise is left over, and even the weakest direction is above it.
    degrees: of freedom of the law of the noise, infinite for a Gaussian one."""

    rows: int
    columns: int
    rank: int
    known: int
    agreeing: int
    lines: float
    white: bool = True
    degrees: float = float("inf")

    @property
    def unknowns(self) -> int:
        """Degrees of freedom of a matrix of that shape and rank."""
        return self.rank * (self.rows + self.columns - self.rank)


def is_exact(evidence: Evidence) -> bool:
    """Low-rank to rounding error: more entries agree than a matrix of that rank has unknowns, not counting zeros, which
    are no evidence of a low rank in a sparse matrix; they are not the lesser part of the data; and nearly every line that
    could be determined is."""
    return (
        evidence.rank > 0
        and evidence.agreeing >= 1.2 * evidence.unknowns
        and evidence.agreeing >= LESS * evidence.known
        and evidence.lines >= 0.95
    )


def is_doubtful(evidence: Evidence, missing: bool) -> bool:
    """Whether an exact fit may have a direction too many for lack of evidence, so that one rank less is worth a try.
    missing: whether entries are."""
    uncertain = missing or evidence.rows * evidence.columns <= SMALL
    return uncertain and evidence.agreeing < (1 - DOUBTFUL) * evidence.known


def is_noise(evidence: Evidence) -> bool:
    """Low-rank up to dense noise: the residual is white, and of finite size; most of the data agrees, and it is more
    than the fit has unknowns; four in five lines are determined."""
    return (
        evidence.rank > 0
        and evidence.white
        and evidence.degrees > 2
        and evidence.rank < min(evidence.rows, evidence.columns) // 2
        and evidence.agreeing >= HALF * evidence.known
        and evidence.agreeing >= 1.5 * evidence.unknowns
        and evidence.lines >= 0.8
    )
