"""Damage made on purpose: the right amount, at the right places, the same for the same seed."""

import pytest
import torch

from doprestore.damage import font
from doprestore.damage.kinds import KINDS
from doprestore.damage.make import _MAKERS, corrupt
from doprestore.errors import UsageError

DRAWN = ["lines", "scratches", "text", "cosmic"]
# A grey no impulse can hit, so that every damaged entry counts as changed.
GREY = torch.full((3, 160, 200), 0.123)


def test_the_list_for_the_command_line_is_complete():
    assert list(KINDS) == list(_MAKERS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", [0.02, 0.1])
def test_amount_range_and_mask(kind, amount):
    damaged, changed = corrupt(GREY, kind, amount, seed=1)
    assert damaged.shape == changed.shape == GREY.shape
    assert damaged.min() >= 0 and damaged.max() <= 1
    assert torch.equal(damaged[~changed], GREY[~changed])
    assert (damaged[changed] != GREY[changed]).all()
    # Drawn damage stops at the pixel count, to within a stroke; impulses follow the binomial law (5 sigma).
    tolerance = 0.012 if kind in DRAWN else 5 * (amount * (1 - amount) / (160 * 200)) ** 0.5
    assert changed.float().mean().item() == pytest.approx(amount, abs=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides(kind, device):
    first = corrupt(GREY.to(device), kind, 0.1, seed=3)
    assert first.picture.device.type == device.type
    state = torch.random.get_rng_state()
    torch.rand(5)
    again = corrupt(GREY, kind, 0.1, seed=3).picture
    assert torch.equal(first.picture.cpu(), again)
    assert not torch.equal(corrupt(GREY, kind, 0.1, seed=4).picture, again)
    torch.random.set_rng_state(state)
    corrupt(GREY, kind, 0.1, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was used"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 3), (3, 5, 64), (4, 33, 47)])
def test_any_shape_and_precision(kind, shape):
    picture = torch.rand(shape, dtype=torch.float64)
    amount = 0 if min(shape[1:]) < 40 and kind == "text" else 0.2
    damaged, _ = corrupt(picture, kind, amount, seed=0)
    assert damaged.shape == shape and damaged.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_amount_zero_changes_nothing(kind):
    damaged, changed = corrupt(GREY, kind, 0.0, seed=0)
    assert torch.equal(damaged, GREY) and not changed.any()


@pytest.mark.parametrize("kind", ["salt-pepper", "salt-pepper-pixel", "random", "random-pixel", "lines"])
def test_amount_one_changes_everything(kind):
    assert corrupt(GREY, kind, 1.0, seed=0).changed.all()


@pytest.mark.parametrize("kind", ["salt-pepper", "random"])
def test_impulses_strike_channels_independently(kind):
    changed = corrupt(GREY, kind, 0.5, seed=0).changed.float()
    both = (changed[0] * changed[1]).mean().item()
    assert both == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("kind", [*DRAWN, "salt-pepper-pixel", "random-pixel"])
def test_whole_pixels_are_struck(kind):
    changed = corrupt(GREY, kind, 0.2, seed=0).changed
    assert torch.equal(changed[0], changed[1]) and torch.equal(changed[0], changed[2])


@pytest.mark.parametrize("kind", ["salt-pepper", "salt-pepper-pixel"])
def test_salt_and_pepper_are_half_and_half(kind):
    damaged, changed = corrupt(GREY, kind, 0.5, seed=0)
    struck = damaged[changed]
    assert set(struck.tolist()) == {0.0, 1.0}
    assert struck.mean().item() == pytest.approx(0.5, abs=0.03)


def test_lines_are_whole_rows_and_columns():
    changed = corrupt(GREY, "lines", 0.1, seed=0).changed[0]
    rows, columns = changed.all(1), changed.all(0)
    assert rows.any() and columns.any()
    assert torch.equal(changed, rows[:, None] | columns[None, :])


def test_values_replaced_by_themselves_are_not_changed():
    white = torch.ones(1, 50, 50)
    assert corrupt(white, "salt-pepper", 1.0, seed=0).changed.float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_cosmic_rays_are_bright():
    damaged, changed = corrupt(GREY[:1], "cosmic", 0.1, seed=0)
    assert damaged[changed].min() >= 0.7


def test_the_font_writes_readable_letters():
    rows = ["".join("#" if ink else "." for ink in row) for row in font.write("TL").tolist()]
    assert rows[0] == "#####.#.....".replace(" ", "")
    assert rows[-1] == "..#...#####."


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [("fog", 0.1, "fog.*salt-pepper"), ("random", 1.5, "between 0 and 1"), ("random", float("nan"), "between 0 and 1"),
     ("scratches", 0.9, "at most 50%"), ("text", 0.45, "smaller amount")],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(kind, amount, words):
    with pytest.raises(UsageError, match=words):
        corrupt(GREY, kind, amount, seed=0)


def test_only_floating_point_pictures_are_taken():
    with pytest.raises(ValueError, match="floating-point"):
        corrupt(torch.zeros(3, 4, 4, dtype=torch.uint8), "random", 0.1, seed=0)
