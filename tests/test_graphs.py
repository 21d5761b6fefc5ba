"""Steps replayed as CUDA graphs; without CUDA only that the work is done."""

from __future__ import annotations

import pytest
import torch

from doprestore.baselines.deep_prior import prior_fit, prior_settings
from doprestore.image.graphs import WARM_UP, Replayed
from doprestore.image.paper import PaperRecovery
from doprestore.image.settings import image_settings


def test_every_call_does_the_work_with_the_numbers_of_the_moment(device):
    total, amount = torch.zeros((2,), device=device)
    replayed = Replayed(device)
    for number in range(2 * WARM_UP):
        amount.fill_(number)
        replayed(lambda: total.add_(amount))
    assert total.item() == sum(range(2 * WARM_UP))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("what", ["paper", "prior"])
def test_replayed_steps_go_the_way_of_executed_ones(what):
    y = torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(0))
    options = {"steps": 30, "width": 8, "device": "cuda", "precision": "float32"}

    def made():
        if what == "paper":
            return PaperRecovery(y, image_settings("paper", **options))
        return prior_fit(y, prior_settings(**options), "l1")

    replayed, executed = made(), made()
    executed._update = lambda work: work()
    for _ in range(20):
        replayed.step()
        executed.step()
    assert replayed._update._graph is not None
    torch.testing.assert_close(replayed.loss, executed.loss, rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(replayed.output, executed.output, rtol=0, atol=2e-2)
