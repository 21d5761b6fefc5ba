"""Big pictures: the memory estimate, tiles, and what happens when the memory does not suffice after all."""

from __future__ import annotations

import copy
import weakref
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import doprestore.image.portions as portions
from doprestore import restore_image
from doprestore.errors import DoprestoreError, UsageError
from doprestore.image.grid import Grid, largest_tile, tiles_at_a_time, usual_tile
from doprestore.image.memory import bytes_needed
from doprestore.image.portions import recover
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.image.tiles import _Sums, recover_tiles
from doprestore.io.images import read_picture

SETTINGS = image_settings(steps=3, width=4, device="cpu", precision="float32")
CPU = torch.device("cpu")


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("height", [1, 127, 128, 129, 200, 256, 257, 1000])
@pytest.mark.parametrize("width", [50, 300])
def test_tiles_of_one_size_cover_the_picture_and_overlap(height, width):
    grid = Grid(height, width, 128)
    covered = torch.zeros(height, width, dtype=torch.int)
    weight = torch.zeros(height, width)
    corners = grid.corners()
    for top, left in corners:
        assert 0 <= top <= height - grid.size[0] and 0 <= left <= width - grid.size[1]
        covered[top : top + grid.size[0], left : left + grid.size[1]] += 1
        weight[top : top + grid.size[0], left : left + grid.size[1]] += grid.weight(top, left)
    assert covered.min() >= 1 and weight.min() > 0
    tops = sorted({top for top, _ in corners})
    assert max(grid.size) <= 128 and grid.size[0] * len(tops) < height * 1.5 + 128
    assert all(upper + grid.size[0] - lower >= grid.overlap for upper, lower in pairwise(tops))
    assert (len(corners) == 1) == (height <= 128 and width <= 128)


def test_weights_fall_smoothly_towards_neighbours_alone():
    grid = Grid(300, 128, 128)
    first, *_, last = (grid.weight(top, left) for top, left in grid.corners())
    assert (first[0] == 1).all() and (last[-1] == 1).all()  # at the border of the picture
    assert first[-1].max() < 0.01 and last[0].max() < 0.01
    assert (first[:, 0].diff() <= 0).all() and first[:, 0].diff().abs().max() < 2 / grid.overlap
    assert (first == first[:, :1]).all()  # no neighbour left or right


def test_one_tile_is_the_whole():
    picture = _random(3, 90, 100)
    whole, tiled = recover_image(picture, SETTINGS), recover_tiles(picture, SETTINGS, 128)
    assert torch.allclose(whole.restored, tiled.restored, atol=1e-6) and torch.equal(whole.found, tiled.found)
    assert tiled.steps == 3


@pytest.mark.parametrize("output", ["composed", "network"])
def test_far_from_the_seams_a_tile_is_what_it_is_alone(output):
    settings = image_settings(steps=3, width=4, device="cpu", precision="float32", output=output)
    picture = _random(3, 128, 200)
    tiled = recover_tiles(picture, settings, 128)
    alone = recover_image(picture[..., :128].contiguous(), settings)
    assert tiled.steps == 6
    left = (..., slice(0, 200 - 128))  # the second tile begins there
    for name in ("restored", "network", "outliers", "found"):
        expected = getattr(alone, name)[left].float().clamp(-16, 16)  # three steps make some outliers vast
        assert torch.allclose(getattr(tiled, name)[left].float(), expected, atol=1e-6), name


def test_clean_values_stay_to_the_last_bit_and_the_mask_reaches_every_tile():
    picture, mask = _random(3, 200, 200), _random(200, 200, seed=1) < 0.3
    result = recover_tiles(picture, SETTINGS, 128, mask=mask)
    assert result.found[:, mask].all() and not result.found.all()
    assert torch.equal(result.restored[~result.found], picture[~result.found])
    assert (result.restored[result.found] != picture[result.found]).float().mean() > 0.9


def test_where_tiles_disagree_the_one_that_sees_more_around_decides():
    """Two tiles of a black picture; each calls all of it corrupted and white, or all of it clean."""

    def result(found: bool) -> SimpleNamespace:
        white = torch.full((1, 128, 128), float(found))
        return SimpleNamespace(restored=white, network=torch.ones(1, 128, 128), outliers=-white, found=white > 0)

    picture, grid = torch.zeros(1, 128, 200), Grid(128, 200, 128)
    for first in (False, True):
        sums = _Sums(picture)
        for (top, left), found in zip(grid.corners(), (first, not first), strict=True):
            sums.add(result(found), (..., slice(top, top + 128), slice(left, left + 128)), grid.weight(top, left))
        blended = sums.blended(picture, keep_clean=True)
        middle = (128 + 72) // 2
        assert (blended["found"][..., :middle] == first).all() and (blended["found"][..., middle:] != first).all()
        assert torch.equal(blended["restored"], blended["found"].float())  # not mixed with the value judged corrupted
        assert torch.allclose(blended["network"], torch.ones(()))


def test_a_hole_larger_than_a_tile_does_not_stop_the_run():
    mask = torch.zeros(128, 400, dtype=torch.bool)
    mask[:, 100:] = True
    result = recover_tiles(_random(1, 128, 400), SETTINGS, 128, mask=mask)
    assert torch.isfinite(result.restored).all()


def test_progress_counts_all_tiles_and_an_early_stop_leaves_the_rest():
    picture, seen = _random(1, 128, 300), []
    result = recover_tiles(
        picture, SETTINGS, 128, callback=seen.append, clean=picture, should_stop=lambda: len(seen) == 3, workers=1
    )
    assert [progress.step for progress in seen] == [1, 2, 3, 4] and seen[0].steps == 9
    assert result.interrupted and result.steps == 4
    assert torch.equal(result.restored[..., 250:], picture[..., 250:])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_resumed_tiles_end_bit_identical(stop, workers):
    picture, saved, calls = _random(1, 128, 200), [], []
    options = {"workers": workers}

    def stop_there() -> bool:
        calls.append(None)
        return len(calls) >= stop

    def save(state) -> None:
        saved.append(copy.deepcopy(state()))

    whole = recover_tiles(picture, SETTINGS, 128, **options)
    recover_tiles(picture, SETTINGS, 128, should_stop=stop_there, save=save, **options)
    resumed = recover_tiles(picture, SETTINGS, 128, resume=saved[-1], **options)
    assert len(saved) >= stop
    for name in ("restored", "network", "outliers", "found"):
        assert torch.equal(getattr(whole, name), getattr(resumed, name)), name
    assert resumed.steps == 6


def test_the_number_of_workers_changes_nothing():
    picture = _random(3, 200, 230)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = recover_tiles(picture, SETTINGS, 128, workers=1)
        three = recover_tiles(picture, SETTINGS, 128, workers=3)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    for name in ("restored", "network", "outliers", "found"):
        assert torch.equal(getattr(one, name), getattr(three, name)), name
    assert one.steps == three.steps == 3 * 4


def test_callbacks_of_several_workers_count_up_and_come_one_at_a_time():
    picture, seen, busy = _random(1, 128, 400), [], []

    def note(progress) -> None:
        assert not busy
        busy.append(None)
        seen.append(progress)
        busy.pop()

    recover_tiles(picture, SETTINGS, 128, callback=note, workers=2)
    assert [progress.step for progress in seen] == list(range(1, 13)) and seen[-1].steps == 12


def test_an_error_in_one_tile_ends_them_all():
    calls = []

    def fail(progress) -> None:
        calls.append(progress)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        recover_tiles(_random(1, 128, 900), SETTINGS, 128, callback=fail, workers=2)
    assert len(calls) <= 2


def test_what_is_worked_on_in_tiles():
    fast, paper = SETTINGS, image_settings("paper", steps=1, width=4, device="cpu")
    assert usual_tile((3, 192, 192), fast) is None and usual_tile((3, 2000, 2000), paper) is None
    assert usual_tile((1, 100, 193), fast) == 192
    picture = _random(1, 64, 400)
    assert torch.equal(recover(picture, fast).restored, recover_tiles(picture, fast, 192).restored)
    assert torch.equal(recover(picture, fast, tile=None).restored, recover_image(picture, fast).restored)
    shape, each = (3, 2000, 2000), bytes_needed((3, 192, 192), SETTINGS, CPU)
    assert tiles_at_a_time(shape, 192, SETTINGS, 10**12) == torch.get_num_threads()
    assert tiles_at_a_time(shape, 192, SETTINGS, each) == 1


def test_the_estimate_grows_with_what_costs_memory():
    def need(side: int, width: int, precision: str = "float32") -> int:
        return bytes_needed((3, side, side), image_settings(width=width, precision=precision, device="cpu"), CPU)

    assert need(512, 32) < need(1024, 32) < need(1024, 64)
    assert need(1024, 32, "bfloat16") < need(1024, 32)
    assert need(10, 32) == need(64, 32)  # padded


def test_largest_tile():
    shape = (3, 3000, 4000)
    whole = bytes_needed(shape, SETTINGS, CPU)
    assert largest_tile(shape, SETTINGS, whole) is None
    tiles = [largest_tile(shape, SETTINGS, int(whole * share)) for share in (0.9, 0.5, 0.3)]
    assert tiles == sorted(tiles, reverse=True)
    for tile, share in zip(tiles, (0.9, 0.5, 0.3), strict=True):
        assert tile % 32 == 0 and bytes_needed((3, tile, tile), SETTINGS, CPU) < whole * share
    with pytest.raises(DoprestoreError, match="even in tiles"):
        largest_tile(shape, SETTINGS, 10**8)
    with pytest.raises(UsageError, match="--tile 64"):
        recover_tiles(_random(1, 200, 200), SETTINGS, 64)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (140, 300, 3), np.uint8)).save(path)
    return path


QUICK = ("--steps", 2, "--width", 4, "--device", "cpu")


def test_tiles_by_hand(run_cli, photo):
    out = photo.with_name("out.png")
    code, stdout, stderr = run_cli("image", photo, out, *QUICK, "--tile", 128)
    assert (code, stderr) == (0, "") and "12 steps in 6 tiles" in stdout
    assert read_picture(out).samples.shape == (3, 140, 300)
    assert "colour, 2 steps" in run_cli("image", photo, out, *QUICK, "--tile", 300, "--force").stdout
    assert run_cli("image", photo, out, *QUICK, "--tile", 64).code == 2
    assert run_cli("image", photo, out, *QUICK, "--tile", "big").code == 2


def test_tiles_where_the_memory_is_short(run_cli, photo, monkeypatch):
    out = photo.with_name("out.png")
    need = bytes_needed((3, 128, 128), image_settings(width=4), CPU)
    monkeypatch.setattr(portions, "free_memory", lambda device: int(need * 1.3 + 160 * 140 * 300))
    code, stdout, stderr = run_cli("image", photo, out, *QUICK)
    assert code == 0 and " tiles (too few" in stdout
    assert "of the free memory; working in tiles of" in stderr and stderr.count("\n") == 1
    assert "colour, 2 steps" in run_cli("image", photo, out, *QUICK, "--tile", "none", "--force").stdout
    monkeypatch.setattr(portions, "free_memory", lambda device: 10**6)
    code, stdout, stderr = run_cli("image", photo, out, *QUICK, "--force")
    assert (code, stdout) == (1, "") and "--width" in stderr and stderr.count("\n") == 1


def test_out_of_memory_falls_back_to_tiles(run_cli, photo, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(portions, "recover_image", fail)
    out, ckpt = photo.with_name("out.png"), photo.with_name("run.ckpt")
    code, stdout, stderr = run_cli("image", photo, out, *QUICK, "--preset", "paper", "--checkpoint", ckpt)
    assert code == 0 and "12 steps in 6 tiles" in stdout
    assert "out of memory; going on in tiles of 128" in stderr and stderr.count("\n") == 1
    assert not ckpt.exists()
    code, stdout, stderr = run_cli("image", photo, out, *QUICK, "--tile", "none", "--force")
    assert (code, stdout) == (1, "") and "--tile" in stderr and stderr.count("\n") == 1


def test_what_filled_the_memory_is_let_go_before_the_next_attempt(run_cli, photo, monkeypatch):
    held, recover = [], portions.recover_tiles

    def fail_at_first(picture, settings, tile, **options):
        if tile == 192:
            activations = torch.zeros(10)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert tile == 128 and held[0]() is None
        return recover(picture, settings, tile, **options)

    monkeypatch.setattr(portions, "recover_tiles", fail_at_first)
    code, stdout, stderr = run_cli("image", photo, photo.with_name("out.png"), *QUICK)
    assert code == 0 and "12 steps in 6 tiles" in stdout and "going on in tiles of 128" in stderr


def test_the_library_falls_back_to_tiles_too(monkeypatch):
    """restore_image() has what the command line has: smaller tiles when the memory does not suffice."""
    sides = []

    def fail_at_first(picture, settings, tile, **options):
        sides.append(tile)
        if tile > 128:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return recover_tiles(picture, settings, tile, **options)

    monkeypatch.setattr(portions, "recover_tiles", fail_at_first)
    picture = torch.rand(140, 300)
    result = restore_image(picture, steps=2, width=4, device="cpu")
    assert sides == [192, 128] and result.restored.shape == (140, 300)
    with pytest.raises(DoprestoreError, match="out of memory for a picture of 300x140 at width 4"):
        restore_image(picture, steps=2, width=4, device="cpu", tile=192)
    with pytest.raises(UsageError, match="tile 'big'"):
        restore_image(picture, steps=2, width=4, device="cpu", tile="big")

    def broken(*args, **options):
        raise RuntimeError("something else")

    monkeypatch.setattr(portions, "recover_image", broken)
    with pytest.raises(RuntimeError, match="something else"):
        restore_image(torch.rand(64, 64), steps=2, width=4, device="cpu", output="network")
