"""Very large pictures: restored in pieces, as if they were whole; and the memory that decides."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import torch

import doprestore.image.portions as portions
from doprestore.drive import Progress
from doprestore.errors import DoprestoreError, InputError
from doprestore.image.light import Damage
from doprestore.image.memory import light_bytes
from doprestore.image.pieces import MARGIN, places, recover_pieces
from doprestore.image.portions import Portions
from doprestore.image.recovery import ImageResult, recover_image
from doprestore.image.settings import image_settings

SIDE = 2 * MARGIN + 32
SETTINGS = image_settings(steps=6, device="cpu")


def _local(
    piece, settings=SETTINGS, *, mask=None, callback=None, should_stop=None, save=None, resume=None, **_: object
) -> ImageResult:
    """A recovery that depends on what is around: values above 0.9 become the mean of 9x9 pixels. In two steps."""
    means = torch.nn.functional.avg_pool2d(piece[None], 9, 1, 4, count_include_pad=False)[0]
    found = piece > 0.9
    start = 0 if resume is None else resume["step"]
    stopped = False
    for step in range(start + 1, 3):
        if callback is not None:
            callback(Progress(step, 2, 0.5, 1.0))
        stopped = should_stop is not None and should_stop()
        if save is not None:
            save(lambda now=step: {"step": now, "seconds": 1.0})
        if stopped:
            break
    restored = torch.where(found, means, piece)
    damage = (Damage("single values", found.float().mean().item(), 0.01),)
    return ImageResult(restored, means, piece - restored, found, SETTINGS, "cpu", 2, 0.5, 1.0, stopped, damage)


def test_places_cover_every_pixel_once_and_have_their_margins():
    seen = torch.zeros(1, 100, 333, dtype=torch.int)
    for outer, inner, place in places(100, 333, SIDE):
        seen[place] += 1
        around = torch.arange(100 * 333).view(1, 100, 333)[outer]
        assert torch.equal(around[inner], torch.arange(100 * 333).view(1, 100, 333)[place])
        assert max(around.shape[1:]) <= SIDE
        left, right = place[2].start - outer[2].start, outer[2].stop - place[2].stop
        assert left == MARGIN or outer[2].start == 0
        assert right == MARGIN or outer[2].stop == 333
    assert (seen == 1).all()


def test_the_same_as_the_whole_where_only_the_neighbourhood_matters():
    picture = torch.rand(3, 70, 150, generator=torch.Generator().manual_seed(0))
    whole, reports = _local(picture), []
    pieces = recover_pieces(picture, SETTINGS, SIDE, _local, callback=reports.append)
    for name in ("restored", "network", "outliers", "found"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name))
    assert pieces.steps == 2 * len(list(places(70, 150, SIDE)))
    assert [one.step for one in reports] == sorted({one.step for one in reports}) and reports[-1].step == pieces.steps
    assert {one.steps for one in reports} == {pieces.steps}
    assert pieces.damage[0].share == pytest.approx(whole.damage[0].share, rel=0.2)


def test_goes_on_where_it_was_interrupted():
    picture = torch.rand(1, 70, 150, generator=torch.Generator().manual_seed(0))
    states, asked = [], count(1)
    stopped = recover_pieces(
        picture, SETTINGS, SIDE, _local, save=lambda state: states.append(state()), should_stop=lambda: next(asked) == 5
    )
    assert stopped.interrupted and torch.equal(stopped.restored[:, 40:], picture[:, 40:])  # not begun: as it was
    steps = []
    gone_on = recover_pieces(
        picture, SETTINGS, SIDE, _local, resume=states[-1], callback=lambda progress: steps.append(progress.step)
    )
    assert steps[0] == 6 and torch.equal(gone_on.restored, _local(picture).restored) and not gone_on.interrupted
    with pytest.raises(InputError, match="does not fit"):
        recover_pieces(picture[:, :60], SETTINGS, SIDE, _local, resume=states[-1])


def test_no_seam_shows():
    """A smooth picture with random values on 2 %, searched and fitted for real: nothing whole is changed, and what lies next
    to the seam is restored as well as the rest."""
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 60), torch.linspace(0, 6, 120), indexing="ij")
    clean = torch.stack([0.5 + 0.3 * torch.sin(rows + columns + shift) for shift in (0.0, 0.4, 0.8)])
    clean = (clean * 255).round() / 255
    generator = torch.Generator().manual_seed(1)
    struck = torch.rand(clean.shape, generator=generator) < 0.02
    damaged = torch.where(struck, (torch.rand(clean.shape, generator=generator) * 255).round() / 255, clean)
    seam = SIDE - 2 * MARGIN
    side = 2 * MARGIN + 64

    def light(piece, settings, **options):
        assert max(piece.shape[1:]) <= side
        return recover_image(piece, settings, **options)

    result = recover_pieces(damaged, SETTINGS, side, light)
    error = (result.restored - clean).abs()
    assert result.found[struck & ((damaged - clean).abs() > 0.1)].float().mean() > 0.95
    near = torch.zeros_like(struck)
    near[..., seam * 2 - 6 : seam * 2 + 6] = True
    replaced = result.found & struck
    assert error[near & replaced].max() < 0.1 and error[near & replaced].mean() < 2 * error[replaced].mean() + 1e-3
    assert torch.equal(result.restored[~result.found], damaged[~result.found])


def test_the_free_memory_decides(monkeypatch):
    shape = (3, 3000, 4000)
    told: list[str] = []
    for free, piece in ((10 * light_bytes(shape), None), (light_bytes(shape) // 2, 1000)):
        monkeypatch.setattr(portions, "free_memory", lambda device, free=free: free)
        chosen = Portions(shape, image_settings(device="cpu"), tell=told.append)
        assert (chosen.piece is None) == (piece is None)
        assert piece is None or piece < chosen.piece < 3000
    assert len(told) == 1 and "working in pieces of" in told[0] and chosen.pieces > 1
    monkeypatch.setattr(portions, "free_memory", lambda device: 2**30)
    with pytest.raises(DoprestoreError, match=r"4000x3000 pixels need .* GB, even in pieces"):
        Portions(shape, image_settings(device="cpu"))
    with pytest.raises(DoprestoreError, match=r"4000x3000 pixels at width 128 need .* GB with --preset paper"):
        Portions(shape, image_settings("paper", device="cpu"))
    assert Portions((3, 64, 64), image_settings("paper", width=8, device="cpu")).pieces == 1


def test_out_of_memory_falls_back_to_pieces(monkeypatch):
    sides: list[int] = []

    def fail_at_first(picture, settings, **options):
        sides.append(max(picture.shape[1:]))
        if sides[-1] > 600:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return replace(_local(picture), settings=settings)

    monkeypatch.setattr(portions, "recover_image", fail_at_first)
    result = portions.recover(torch.full((1, 32, 1000), 0.5), image_settings(device="cpu"))
    assert sides[0] == 1000 and max(sides[1:]) == 512 and result.restored.shape == (1, 32, 1000)


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_out_of_memory_in_the_smallest_piece_is_one_line(monkeypatch, preset):
    def fail(*args, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(portions, "recover_image", fail)
    with pytest.raises(DoprestoreError, match=r"out of memory for 40x32 pixels at width 4; .* a smaller --width"):
        portions.recover(torch.full((1, 32, 40), 0.5), image_settings(preset, width=4, device="cpu"))
