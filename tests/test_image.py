"""The recovery of a picture by either preset: its properties; and one step of the paper's against the published code."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from conftest import salted, waves

from doprestore import restore_image
from doprestore.errors import InputError, NumericalError, UsageError
from doprestore.image.paper import INPUT_NOISE, PaperRecovery, outlier_rate
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr


def picture(channels=3, height=64, width=64, seed=0):
    return torch.rand((channels, height, width), generator=torch.Generator().manual_seed(seed))


def tiny(preset="fast", **settings):
    return image_settings(preset, **{"steps": 3, "width": 4, "device": "cpu", "precision": "float32"} | settings)


def test_one_paper_step_is_the_published_step():
    """SGD, rate 1 on θ and 500 on g and h, of the mean squared residual, by autograd (alpha as scaled for the size)."""
    y = picture()
    settings = tiny("paper")
    ours = PaperRecovery(y, settings)
    theirs = PaperRecovery(y, settings)  # the same start; only its network, g and h are used below
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


def test_the_rate_of_the_outliers_is_the_published_one_at_512_and_follows_the_side():
    assert outlier_rate(500, 512, 512) == pytest.approx(4 * 500 / (3 * 512 * 512))
    assert outlier_rate(500, 256, 256) == pytest.approx(2 * outlier_rate(500, 512, 512))
    assert outlier_rate(500, 128, 512) == pytest.approx(outlier_rate(500, 256, 256))
    assert outlier_rate(1000, 64, 64) == pytest.approx(2 * outlier_rate(500, 64, 64))


@pytest.mark.usefixtures("few_lessons")
@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_a_seed_fixes_the_result_and_the_clean_picture_does_not_touch_it(preset, device):
    clean = waves(3, 24, 40)
    y = salted(clean)
    settings = tiny(preset, device=str(device))
    first = recover_image(y, settings)
    torch.rand(3)  # the global generator must not matter
    again = recover_image(y, settings, clean=clean, callback=lambda progress: None, report_every=1)
    other = recover_image(y, tiny(preset, device=str(device), seed=1))
    if device.type == "cpu":  # reflection padding's gradient is not deterministic on CUDA
        assert torch.equal(first.network, again.network)
        assert torch.equal(first.outliers, again.outliers)
        assert torch.equal(first.restored, again.restored)
    assert not torch.equal(first.network, other.network)


def test_a_recovery_is_gone_with_its_last_reference():
    """A cycle would keep the memory of many pictures until the garbage collector comes by."""
    recovery = PaperRecovery(picture(), tiny("paper"))
    recovery.step()
    gone = weakref.ref(recovery)
    gc.disable()
    try:
        del recovery
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("preset", ["fast", "paper"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (9, 8), (70, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_comes_back_in_full(preset, channels, height, width):
    result = recover_image(picture(channels, height, width), tiny(preset, steps=1))
    for part in (result.restored, result.network, result.outliers, result.found):
        assert part.shape == (channels, height, width)
    assert result.restored.min() >= 0 and result.restored.max() <= 1


@pytest.mark.usefixtures("few_lessons")
@pytest.mark.parametrize("channels", [1, 3])
def test_impulses_on_a_smooth_picture_are_removed_and_nothing_else_is_touched(channels):
    clean = waves(channels, 48, 48)
    y = salted(clean)
    result = recover_image(y, tiny(steps=10, width=8), clean=clean)
    far = (y - clean).abs() > 0.3
    assert psnr(result.restored, clean) > psnr(y, clean) + 10
    assert result.found[far].float().mean() > 0.95
    untouched = ~result.found
    assert torch.equal(result.restored[untouched], y[untouched])
    assert result.found[y == clean].float().mean() < 0.05
    torch.testing.assert_close(result.restored + result.outliers, y)


@pytest.mark.usefixtures("few_lessons")
def test_half_salt_and_pepper_is_removed():
    clean = waves(3, 48, 48)
    y = salted(clean, 0.5)
    result = recover_image(y, tiny(steps=10, width=8))
    assert psnr(result.restored, clean) > 30 > psnr(y, clean) + 15


@pytest.mark.parametrize("output", ["composed", "network"])
def test_an_undamaged_picture_comes_back_as_it_was_or_as_it_is_predicted(output):
    clean = waves(3, 24, 40)
    result = recover_image(clean, tiny(output=output))
    assert not result.found.any() and not result.outliers.any()
    assert torch.equal(result.restored, clean if output == "composed" else result.network)
    assert psnr(result.network, clean) > 25


@pytest.mark.usefixtures("few_lessons")
def test_the_output_of_the_network_is_predicted_everywhere():
    clean = waves(3, 24, 40)
    y = salted(clean)
    composed, network = (recover_image(y, tiny(steps=8, output=output)) for output in ("composed", "network"))
    assert torch.equal(network.restored, network.network) and torch.equal(network.network, composed.network)
    assert torch.equal(network.restored[network.found], composed.restored[composed.found])
    assert psnr(network.restored, clean) > psnr(y, clean) + 10


def test_what_is_nan_is_known_to_be_bad():
    clean = waves(1, 12, 40)[0]
    damaged = clean.clone()
    damaged[3:5, 7:20] = torch.nan
    result = restore_image(damaged, device="cpu")
    assert torch.equal(result.found, damaged.isnan())
    assert (result.restored - clean).abs().max() < 0.1


def test_reports_count_up_to_the_last_step():
    seen = []
    recover_image(picture(), tiny("paper", steps=5), clean=picture(), callback=seen.append, report_every=2)
    assert [progress.step for progress in seen] == [2, 4, 5]
    assert all(progress.psnr is not None and 0 <= progress.outlier_share <= 1 for progress in seen)
    assert seen[0].seconds <= seen[-1].seconds


@pytest.mark.usefixtures("few_lessons")
def test_reports_of_the_fast_preset_name_its_stages():
    clean, seen = waves(3, 24, 40), []
    recover_image(salted(clean), tiny(), clean=clean, callback=seen.append)
    steps = [progress.step for progress in seen]
    assert steps == sorted(set(steps)) and seen[-1].step == seen[-1].steps
    stages = [progress.stage for progress in seen]
    assert stages == sorted(stages, reverse=True) and stages.count("fit") == 3  # search, then fit
    assert seen[-1].psnr > seen[0].psnr


@pytest.mark.usefixtures("few_lessons")
@pytest.mark.parametrize(("preset", "stop"), [("paper", 4), ("fast", 2), ("fast", "fit")])
def test_a_run_can_be_stopped_and_keeps_what_it_has(preset, stop):
    y, calls, stages = salted(waves(3, 24, 40)), [], []

    def should_stop() -> bool:
        calls.append(1)
        return len(calls) == stop or (stop == "fit" and "fit" in stages)

    settings = tiny(preset, steps=50)
    result = recover_image(
        y, settings, should_stop=should_stop, callback=lambda now: stages.append(now.stage), report_every=1
    )
    assert result.interrupted and torch.isfinite(result.restored).all()
    if stop != "fit":
        assert result.steps == stop
    if preset == "fast":
        assert torch.equal(result.restored, y) != (stop == "fit")  # nothing is replaced before the search has ended


def test_bad_pictures_and_settings_are_refused():
    with pytest.raises(InputError, match="shape"):
        recover_image(torch.rand(2, 64, 64), tiny())
    with pytest.raises(InputError, match="NaN"):
        recover_image(torch.full((1, 64, 64), math.nan), tiny())
    with pytest.raises(InputError, match="clean picture"):
        recover_image(picture(), tiny(), clean=picture(1))
    with pytest.raises(NumericalError, match="--tau"):
        recover_image(picture(), tiny("paper", tau=1e30, steps=20))
    with pytest.raises(UsageError, match="unknown setting 'average'"):
        image_settings(average=0.9)
    with pytest.raises(UsageError, match="--steps 0"):
        image_settings(steps=0)
    with pytest.raises(UsageError, match="unknown setting 'stpes'"):
        image_settings(stpes=3)
    for preset in ("fast", "paper"):
        with pytest.raises(UsageError, match="--device gpu"):
            recover_image(picture(), tiny(preset, device="gpu"))
