"""The recovery against a plain transcription of the published code, and its properties."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch

from doprestore.errors import InputError, NumericalError, UsageError
from doprestore.image.recovery import recover_image
from doprestore.image.schedule import LATE, SEARCH, SEARCHES, Clock, StoppedClock
from doprestore.image.settings import image_settings
from doprestore.image.step import INPUT_NOISE, ImageRecovery
from doprestore.metrics import psnr


def picture(channels=3, height=64, width=64, seed=0):
    return torch.rand((channels, height, width), generator=torch.Generator().manual_seed(seed))


def tiny(preset="fast", **settings):
    return image_settings(preset, **{"steps": 3, "width": 4, "device": "cpu", "precision": "float32"} | settings)


def test_one_paper_step_is_the_published_step():
    """SGD, rate 1 on θ and 500 on g and h, of the mean squared residual, by autograd (alpha as scaled for the size)."""
    y = picture()
    settings = tiny("paper")
    ours = ImageRecovery(y, settings)
    theirs = ImageRecovery(y, settings)  # the same start; only its network, g and h are used below
    # Larger g and h than 1e-5, so that a wrong sign or factor would show in the signal, too.
    for recovery in (ours, theirs):
        recovery.outliers.g.mul_(1e4)
        recovery.outliers.h.mul_(1e4)
    g = theirs.outliers.g.clone().requires_grad_()
    h = theirs.outliers.h.clone().requires_grad_()
    rate = settings.alpha * math.sqrt(64 * 64) / 512  # 500 at 512x512x3
    groups = [{"params": list(theirs.network.parameters()), "lr": 1.0}, {"params": [g, h], "lr": rate}]
    optimizer = torch.optim.SGD(groups)
    noise = torch.empty(theirs.z.permute(0, 2, 3, 1).shape).normal_(generator=theirs.noise).permute(0, 3, 1, 2)
    loss = torch.nn.functional.mse_loss(theirs.network(theirs.z + INPUT_NOISE * noise)[0] + g**2 - h**2, y)
    loss.backward()
    optimizer.step()

    ours.step()
    torch.testing.assert_close(ours.loss, loss.detach())
    torch.testing.assert_close(ours.outliers.g, g.detach())
    torch.testing.assert_close(ours.outliers.h, h.detach())
    for mine, plain in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        torch.testing.assert_close(mine, plain)


def test_the_clock_of_the_paper_is_the_published_one_at_512_and_follows_the_side():
    paper = image_settings("paper")

    def rate(settings, height, width):
        clock = Clock(settings, height, width)
        assert clock.rate(0) == clock.rate(1000) and not any(clock.ends_search(step) for step in range(1000))
        return clock.rate(0)

    assert rate(paper, 512, 512) == pytest.approx(4 * 500 / (3 * 512 * 512))
    assert rate(paper, 256, 256) == pytest.approx(2 * rate(paper, 512, 512))
    assert rate(paper, 128, 512) == pytest.approx(rate(paper, 256, 256))
    assert rate(image_settings("paper", alpha=1000), 64, 64) == pytest.approx(2 * rate(paper, 64, 64))


@pytest.mark.parametrize("side", [64, 128, 160, 192, 512])
@pytest.mark.parametrize("steps", [800, 2400])
def test_the_clock_of_the_fast_preset(side, steps):
    clock = Clock(image_settings(steps=steps), side, side)
    rates = [clock.rate(step) for step in range(steps)]
    ends = [step for step in range(steps + 1) if clock.ends_search(step)]
    assert len(ends) == clock.searches and ends[-1] <= (0.5 if len(ends) == SEARCHES else 0.6) * steps
    assert clock.searches == (SEARCHES if side * 800 > steps * 161 else SEARCHES + 1)
    search, late = rates[: ends[0]], rates[ends[-1] :]
    assert rates[: ends[-1]] == len(ends) * search and search == sorted(search, reverse=True)
    assert sum(search) == pytest.approx(SEARCH, rel=0.05)
    most = LATE * steps / 800
    assert late[0] == 0 and late == sorted(late) and sum(late) <= most
    clock.found = 0.7
    many = [clock.rate(step) for step in range(steps)]
    assert many[: ends[-1]] == rates[: ends[-1]] and sum(many[ends[-1] :]) <= most
    assert sum(many) > sum(rates) or sum(late) == pytest.approx(most, rel=0.01)
    clock.slow_down(0.7)
    paced = [clock.rate(step) for step in range(steps)]
    assert paced[: ends[1]] == pytest.approx(search + [0.7 * rate for rate in search])
    assert paced[ends[1]] == 0 and sum(paced[ends[1] :]) <= most and not clock.ends_search(3 * ends[0])
    double = Clock(image_settings(steps=steps, alpha=1000), side, side)
    assert [double.rate(step) for step in range(steps)] == pytest.approx([2 * rate for rate in rates])


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_a_seed_fixes_the_result_and_the_clean_picture_does_not_touch_it(preset, device):
    y, clean = picture(), picture(seed=1)
    settings = tiny(preset, device=str(device))
    first = recover_image(y, settings)
    again = recover_image(y, settings, clean=clean, callback=lambda progress: None, report_every=1)
    other = recover_image(y, tiny(preset, device=str(device), seed=1))
    if device.type == "cpu":  # reflection padding's gradient is not deterministic on CUDA
        assert torch.equal(first.network, again.network)
        assert torch.equal(first.outliers, again.outliers)
        assert torch.equal(first.restored, again.restored)
    assert not torch.equal(first.network, other.network)


def test_what_follows_a_search_starts_like_a_new_fit_but_for_its_numbers():
    """The end of a search restarts the network in place; a network and optimisers made anew would go the same way."""
    recovery = ImageRecovery(picture(), tiny(steps=20))
    for _ in range(recovery.clock.search_steps):
        recovery.step()
    start = {name: value.clone() for name, value in recovery.network.state_dict().items()}
    anew = ImageRecovery(picture(), tiny(steps=20, seed=5))  # its own network is replaced
    anew.network.load_state_dict(start)
    for name in ("z", "sampling", "average"):
        getattr(anew, name).copy_(getattr(recovery, name))
    anew.clock.load_state_dict(recovery.clock.state_dict())
    anew.step_number = recovery.step_number
    for _ in range(3):
        recovery.step()
        anew.step()
    assert torch.equal(recovery.average, anew.average)
    assert torch.equal(recovery.outliers.q, anew.outliers.q)
    for name, value in anew.network.state_dict().items():
        assert torch.equal(recovery.network.state_dict()[name], value)
        assert torch.equal(start[name], value) == (name in ("axes", "centre"))  # the colours stay as the search knew them
    first = ImageRecovery(picture(), tiny(steps=20)).network.state_dict()
    assert not any(torch.equal(first[name], start[name]) for name in ("head.weight", "axes", "centre"))


@pytest.mark.parametrize("whole", [True, False])
def test_colour_axes_are_graded_where_values_are_missing_but_not_whole_pixels(whole):
    mask = picture(channels=1 if whole else 3, seed=1) < 0.3
    recovery = ImageRecovery(picture(), tiny(), mask.expand(3, 64, 64))
    for _ in range(recovery.clock.search_steps):
        recovery.step()
    lengths = recovery.network.axes.norm(dim=0)
    assert ((lengths - 1).abs() < 1e-5).all() == whole


def test_with_a_stopped_clock_it_is_a_fit_without_outliers():
    recovery = ImageRecovery(picture(), tiny())
    recovery.clock = StoppedClock()
    for _ in range(recovery.settings.steps):
        recovery.step()
    assert not recovery.corruption().any() and not recovery.found_outliers().any()


def test_a_recovery_is_gone_with_its_last_reference():
    """A cycle would keep the memory of many tiles until the garbage collector comes by."""
    recovery = ImageRecovery(picture(), tiny())
    recovery.step()
    gone = weakref.ref(recovery)
    gc.disable()
    try:
        del recovery
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (33, 65), (64, 64), (70, 3), (100, 130)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_comes_back_in_full(channels, height, width):
    result = recover_image(picture(channels, height, width), tiny(steps=1))
    for part in (result.restored, result.network, result.outliers, result.found):
        assert part.shape == (channels, height, width)
    assert result.restored.min() >= 0 and result.restored.max() <= 1


def test_impulses_on_a_smooth_picture_are_removed_and_nothing_else_is_touched():
    row = torch.linspace(0.2, 0.8, 64)
    clean = torch.stack([row.expand(64, 64), row.expand(64, 64).T, 1 - row.expand(64, 64)])
    hit = torch.rand(clean.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    y = torch.where(hit, 1 - clean.round(), clean)
    result = recover_image(y, image_settings(steps=200, width=16, device="cpu"), clean=clean)
    assert psnr(result.restored, clean) > psnr(y, clean) + 15
    assert result.found[hit].float().mean() > 0.98
    untouched = ~result.found
    assert torch.equal(result.restored[untouched], y[untouched])
    assert result.found[~hit].float().mean() < 0.05


def test_reports_count_up_to_the_last_step():
    seen = []
    recover_image(picture(), tiny(steps=5), clean=picture(), callback=seen.append, report_every=2)
    assert [progress.step for progress in seen] == [2, 4, 5]
    assert all(progress.psnr is not None and 0 <= progress.outlier_share <= 1 for progress in seen)
    assert seen[0].seconds <= seen[-1].seconds


def test_a_run_can_be_stopped_and_keeps_what_it_has():
    calls = []
    result = recover_image(picture(), tiny(steps=50), should_stop=lambda: calls.append(1) or len(calls) == 4)
    assert result.interrupted
    assert result.steps == 4
    assert torch.isfinite(result.restored).all()


def test_bad_pictures_and_settings_are_refused():
    with pytest.raises(InputError, match="shape"):
        recover_image(torch.rand(2, 64, 64), tiny())
    with pytest.raises(InputError, match="NaN"):
        recover_image(torch.full((1, 64, 64), math.nan), tiny())
    with pytest.raises(InputError, match="clean picture"):
        recover_image(picture(), tiny(), clean=picture(1))
    with pytest.raises(NumericalError, match="--tau"):
        recover_image(picture(), tiny("paper", tau=1e30, steps=20))
    with pytest.raises(UsageError, match="not used by --preset paper"):
        image_settings("paper", average=0.9)
    with pytest.raises(UsageError, match="--steps 0"):
        image_settings(steps=0)
    with pytest.raises(UsageError, match="unknown setting 'stpes'"):
        image_settings(stpes=3)
    with pytest.raises(UsageError, match="--device gpu"):
        recover_image(picture(), tiny(device="gpu"))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 70)])
def test_the_input_of_the_fast_preset_marks_the_edges_of_the_picture(height, width):
    recovery = ImageRecovery(picture(3, height, width), tiny())
    marks = recovery.padding.crop(recovery.z[0, :4].float())
    assert (marks[0, 0] == 1).all() and (marks[1, -1] == 1).all()
    assert (marks[2, :, 0] == 1).all() and (marks[3, :, -1] == 1).all()
    assert marks.sum() == 2 * height + 2 * width
    assert ImageRecovery(picture(3, height, width), tiny("paper")).z.max() <= 0.1  # the published input
