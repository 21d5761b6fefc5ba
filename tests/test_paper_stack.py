"""Networks of the paper's preset that make their steps stacked make the same steps."""

from __future__ import annotations

import paper_stack
import torch
from conftest import long_run


class Member:
    """Stands for a run that has files."""

    def __init__(self, loss: str | None, seed: int, alpha: float):
        self.run, self.is_l1 = long_run(loss, seed=seed, alpha=alpha), loss == "l1"


def test_stacked_networks_make_the_steps_that_they_make_alone(monkeypatch):
    monkeypatch.setattr(paper_stack, "INPUT_NOISE", 0.0)
    given = [(None, 0, 500.0), (None, 1, 2e5), ("l1", 2, 500.0), ("l2", 3, 500.0)]
    alone, stacked = ([Member(*arguments) for arguments in given] for _ in range(2))
    stack = paper_stack.Stack(stacked)
    for _ in range(3):
        stack.step()
        for member in alone:
            member.run.step()
    for one, other in zip(alone, stacked, strict=True):
        for of in (lambda run: run.fit.output, lambda run: run.fit.outliers.g, lambda run: run._best, lambda run: run.loss):
            torch.testing.assert_close(of(other.run), of(one.run), rtol=1e-9, atol=1e-9)
    assert alone[1].run.fit.outliers.value().abs().max() > 1e-6  # s has moved, so that it has been compared
