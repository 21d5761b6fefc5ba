"""Edge lines that have nothing to do with the picture."""

from __future__ import annotations

import pytest
import torch
from conftest import waves

from doprestore import restore_image
from doprestore.damage.make import corrupt
from doprestore.image.frame import by_parts, cuts_of, detached_edges
from doprestore.metrics import psnr


def framed(edges: str) -> torch.Tensor:
    picture = waves(3, 96, 96)
    line = 0.2 + 0.3 * torch.linspace(0, 1, 96)
    if "top" in edges:
        picture[:, 0] = line
    if "right" in edges:
        picture[:, :, -1] = line
    return picture


@pytest.mark.parametrize(
    ("edges", "cuts"),
    [
        ("", (False, False, False, False)),
        ("top", (True, False, False, False)),
        ("top right", (True, False, False, True)),
    ],
)
@pytest.mark.parametrize("damage", [None, ("salt-pepper", 0.5), ("random", 0.4)])
def test_detached_lines_are_known_under_damage(edges, cuts, damage):
    picture = framed(edges)
    if damage:
        picture = corrupt(picture, *damage, seed=3).picture
    assert detached_edges(picture) == cuts


@pytest.mark.parametrize("damage", [None, ("salt-pepper", 0.5)])
def test_a_black_line_is_detached(damage):
    picture = waves(3, 96, 96)
    picture[:, -1] = 0
    if damage:
        picture = corrupt(picture, *damage, seed=3).picture
    assert detached_edges(picture) == (False, True, False, False)


def test_pictures_without_detail_have_no_detached_lines():
    assert detached_edges(torch.full((1, 20, 20), 0.5)) == (False,) * 4
    assert detached_edges(torch.zeros(3, 1, 1)) == (False,) * 4


def test_parts_are_worked_on_by_themselves():
    picture = torch.rand(3, 5, 7)
    shapes = []

    def doubled(part):
        shapes.append(tuple(part.shape))
        return 2 * part

    assert torch.equal(by_parts(doubled, (True, False, False, True), picture), 2 * picture)
    assert sorted(shapes) == [(3, 1, 1), (3, 1, 6), (3, 4, 1), (3, 4, 6)]


def test_a_part_in_the_middle_has_no_edges():
    cuts = (True, True, True, True)
    assert cuts_of(cuts, (..., slice(0, 10), slice(5, 20)), 40, 20) == (True, False, False, True)
    assert cuts_of(cuts, (..., slice(5, 10), slice(5, 10)), 40, 20) == (False,) * 4


def test_a_detached_line_is_mended_along_itself():
    picture = framed("top")
    damaged = corrupt(picture, "salt-pepper", 0.3, seed=2).picture
    restored = restore_image(damaged).restored
    assert psnr(restored[:, :1], picture[:, :1]) > 35
