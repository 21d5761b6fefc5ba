"""The verdicts of doprestore reproduce, on made-up numbers: green where they should be, and red."""

import numpy as np
import pytest
import torch

from doprestore.reproduce import cells, fig_matrices, load, picture_cells
from doprestore.reproduce.figure import Plan


def rows_1a(exact=1e-6, full=0.7, dop=(0.5, 0.05)):
    ends = {fig_matrices.EXACT: (1.0, exact), fig_matrices.FULL: (1.0, full), fig_matrices.DOP: dop}
    return [{"method": method, "trial": trial, "step": step, "error": error}
            for method, errors in ends.items() for trial in range(2) for step, error in enumerate(errors)]  # fmt: skip


def rows_2a(best, error=0.05):
    return [{"n": 50, "r": 5, "p": 0.3, "trial": trial, "alpha_by_sqrt_n": factor,
             "error": error * (1 + abs(np.log(factor / best)))}
            for factor in (0.25, 0.5, 0.707, 1.0, 1.414, 2.0, 4.0) for trial in range(2)]  # fmt: skip


def rows_phase(convex, dop=None):
    """Success below the line r/20 + p < limit."""
    limits = {fig_matrices.CONVEX: convex} | ({} if dop is None else {fig_matrices.DOP: dop})
    grid = [(r, p, trial) for r in (2, 6, 10) for p in (0.1, 0.3, 0.5) for trial in range(3)]
    return [{"r": r, "p": p, "trial": trial, "method": method, "error": 0.01 if r / 20 + p < limit else 0.5}
            for method, limit in limits.items() for r, p, trial in grid]  # fmt: skip


def rows_theorem(gaps, residual=1e-6):
    return [{"seed": 0, "alpha": 2.0, "gamma": 10.0**-k, "gap": gap, "residual": residual} for k, gap in enumerate(gaps)]


def rows_picture(curves, **settings):
    """Rows of the picture figures: ``curves`` by the varying settings, PSNR step by step."""
    base = {"picture": "F16", "amount": 0.5, "method": picture_cells.DOP, "width": 32, "damaged": 8.0, "preset": "fast"}
    return [base | settings | dict(varying) | {"step": step, "psnr": quality, "best": max(curve[: step + 1])}
            for varying, curve in curves.items() for step, quality in enumerate(curve)]  # fmt: skip


# PSNR of a whole run: it stabilises, falls again, or has not stabilised when the steps are over.
STABLE, FALLING, RISING = (10, 20, 25, 28, 29, 29.5, 29.8, 30, 30.1, 30.1), tuple(range(30, 20, -1)), tuple(range(20, 30))


def rows_long(**curves):
    return rows_picture({of(picture=picture): curve for picture, curve in curves.items()}, preset="paper")


def rows_alpha(best64, best96):
    """PSNR in the end over α, highest at these."""
    return [row for side, best, alphas in ((64, best64, (125.0, 250.0, 500.0, 1000.0, 2000.0)),
                                           (96, best96, (250.0, 500.0, 1000.0)))
            for row in rows_picture({of(alpha=alpha, side=side): (10, 30 - np.log2(alpha / best) ** 2)
                                     for alpha in alphas})]  # fmt: skip


def rows_widths(dop=(STABLE, STABLE, STABLE), oracle=28):
    curves = {of(width=width): curve for width, curve in zip((16, 32, 64), dop, strict=True)}
    return rows_picture({**curves, of(method="DIP"): (9, 20, 11), of(method="DIP-l1"): (10, oracle, 15)}, preset="paper")


def rows_oracles(heavy):
    return rows_picture({of(amount=amount, method=method): (20, quality, last)
                         for amount, dop in ((0.1, 36), (0.7, heavy))
                         for method, quality, last in (("DIP", 22, 10), ("DIP-l1", 25, 15), ("DOP", dop, dop))})  # fmt: skip


def of(**settings):
    return tuple(settings.items())


def rows_1b(narrow=(20, 24), wide=(28, 15), dop=(20, 30)):
    return rows_picture({of(method="DIP-l1", width=8): narrow, of(method="DIP-l1", width=64): wide,
                         of(method="DOP", width=64): dop})  # fmt: skip


def rows_3(dop):
    return rows_picture({of(picture=picture, method=method): curve for picture in ("F16", "Baboon") for method, curve in
                         {"DIP": (20, 10), "DIP-l1": (27, 15), "DOP": (10, dop[picture])}.items()})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rows", "agrees"),
    [
        ("fig1a", rows_1a(), True),
        ("fig1a", rows_1a(exact=0.3), False),
        ("fig1a", rows_1a(full=0.01), False),  # over-parameterised and yet no overfitting
        ("fig1a", rows_1a(dop=(0.5, 0.3)), False),
        ("fig1a", rows_1a(dop=(0.02, 0.05)), False),  # it was better before: it overfits
        ("fig2a", rows_2a(best=1.0), True),
        ("fig2a", rows_2a(best=1.414), True),
        ("fig2a", rows_2a(best=2.0), False),
        ("fig2a", rows_2a(best=0.25), False),
        ("fig2a", rows_2a(best=1.0, error=0.6), False),  # the best of failures
        ("fig2b", rows_phase(convex=0.5), True),
        ("fig2b", rows_phase(convex=0.0), False),
        ("fig2b", rows_phase(convex=5.0), False),
        ("fig2c", rows_phase(convex=0.5, dop=0.6), True),
        ("fig2c", rows_phase(convex=0.5, dop=0.5), True),
        ("fig2c", rows_phase(convex=0.5, dop=0.3), False),
        ("theorem1", rows_theorem([0.3, 0.05, 0.01]), True),
        ("theorem1", rows_theorem([0.3, 0.05, 0.06]), False),
        ("theorem1", rows_theorem([0.5, 0.4, 0.3]), False),
        ("theorem1", rows_theorem([0.3, 0.05, 0.01], residual=0.5), False),
        ("fig1b", rows_1b(), True),
        ("fig1b", rows_1b(wide=(26, 28)), False),  # no overfitting to avoid
        ("fig1b", rows_1b(dop=(30, 25)), False),  # DOP overfits
        ("fig1b", rows_1b(narrow=(20, 31)), False),
        ("fig3", rows_3({"F16": 30, "Baboon": 28}), True),
        ("fig3", rows_3({"F16": 30, "Baboon": 26}), False),
        ("fig4a", rows_picture({of(picture="F16"): (10, 30), of(picture="Baboon"): (10, 22)}), True),
        ("fig4a", rows_picture({of(picture="F16"): (10, 30), of(picture="Baboon"): (22, 20)}), False),
        ("fig4a", rows_picture({of(picture="F16"): (9, 9)}), False),  # it does not fall, but neither does it recover
        ("fig4b", rows_picture({of(amount=0.1): (20, 33), of(amount=0.7): (15, 24.9)}), True),
        ("fig4b", rows_picture({of(amount=0.1): (20, 33), of(amount=0.7): (26, 24.9)}), False),
        ("fig4a", rows_long(F16=STABLE, Baboon=STABLE), True),
        ("fig4a", rows_long(F16=STABLE, Baboon=STABLE[::-1]), False),
        ("fig4a", rows_long(F16=STABLE, Baboon=FALLING), False),
        ("fig4a", rows_long(F16=STABLE, Baboon=RISING), False),  # the steps did not suffice to tell
        ("alpha", rows_alpha(500, 500), True),
        ("alpha", rows_alpha(400, 400), True),
        ("alpha", rows_alpha(1800, 500), False),
        ("alpha", rows_alpha(130, 500), False),
        ("alpha", rows_alpha(500, 500 * 64 / 96), False),  # one α for all sizes
        ("alpha", rows_alpha(500, 500 * 96 / 64), False),  # one rate of g and h for all sizes
        ("alpha", rows_alpha(500, 100), False),  # no maximum among those tried
        ("widths", rows_widths(), True),
        ("widths", rows_widths(dop=(STABLE, STABLE, STABLE[::-1])), False),
        ("widths", rows_widths(oracle=31), False),
        ("oracles", rows_oracles(heavy=26), True),
        ("oracles", rows_oracles(heavy=24), False),
    ],
)
def test_verdicts_follow_the_numbers(name, rows, agrees):
    verdict = load(name).verdict(rows)
    assert verdict.agrees is agrees
    line = cells.line(name, Plan("quick", pictures={"F16": torch.zeros(3, 8, 8)}), verdict)
    assert line.endswith("agrees with the paper") is agrees and "\n" not in line
    assert ("DISAGREES" in line) is not agrees


def test_the_sentence_names_the_best_alpha():
    assert "best α 7.07 = √50 at r = 5, p = 30%" in load("fig2a").verdict(rows_2a(best=1.0)).sentence
    assert "best α 14.1 = 2·√50" in load("fig2a").verdict(rows_2a(best=2.0)).sentence
