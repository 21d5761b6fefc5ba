"""Light and realistic damage of known pictures: what people have, and nothing at all. The problems of light.py.

    from light_problems import problem
    clean, damaged, bad, reference = problem("coffee", 128, "random-1")

The pictures are those of light_pictures.py, the kinds of damage those of light_damage.py. An amount in a name is in per
cent, of the values unless the name says otherwise.

``bad`` marks the values that the sparse damage changed. ``reference`` is what the picture would be without it, which is
the clean picture except for two kinds. With dense noise it is the noisy picture: noise is not sparse, and an answer that
leaves the values alone that no impulse struck should not pay for it. With a JPEG it is the clean picture that went
through the same JPEG; ``bad`` are then the values that the impulses struck before it, and what they spilled over the
rest of their blocks is neither bad nor whole (:attr:`Problem.whole`).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from light_damage import DAMAGE, through_jpeg, with_noise
from light_pictures import clean
from torch import Generator, Tensor

SIDES = (128, 256)  # pixels, of the crops
WHOLE = 2 / 255  # a value within this of the reference is whole


class Problem(NamedTuple):
    """A damaged picture and what is known of it; all (C, H, W)."""

    clean: Tensor
    damaged: Tensor
    bad: Tensor  # bool
    reference: Tensor

    @property
    def whole(self) -> Tensor:
        """The values that nothing has touched, and that an answer should leave alone."""
        return ~self.bad & ((self.damaged - self.reference).abs() <= WHOLE)


def problem(name: str, side: int, damage: str, seed: int = 0) -> Problem:
    """One cell of the benchmark. Every picture and size has damage of its own."""
    original = clean(name, side)
    own = seed + zlib.crc32(f"{name} {side}".encode())
    damaged, bad = DAMAGE[damage](original, own)
    return Problem(original, damaged, bad, reference(damage, original, own))


def reference(damage: str, clean: Tensor, seed: int) -> Tensor:
    """What ``DAMAGE[damage](clean, seed)`` would be without its sparse part."""
    if damage.startswith("jpeg"):
        return through_jpeg(clean)
    if damage.startswith("noise"):
        return with_noise(clean, Generator().manual_seed(seed))
    return clean
