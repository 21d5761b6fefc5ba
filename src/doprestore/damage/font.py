"""A 5x7 bitmap font, enough to write over a picture without a drawing library."""

from __future__ import annotations

import torch
from torch import Tensor

# Rows of a letter.
HEIGHT = 7
# Columns from one letter to the next: five of ink at most, one of space.
ADVANCE = 6

# One letter a word: seven rows from the top, each five bits as two hexadecimal digits.
_ROWS = """
    0E11111F111111 1E11111E11111E 0E11101010110E 1E11111111111E 1F10101E10101F 1F10101E101010
    0E11101711110F 1111111F111111 0E04040404040E 0702020202120C 11121418141211 1010101010101F
    111B1515111111 11191513111111 0E11111111110E 1E11111E101010 0E11111115120D 1E11111E141211
    0F10100E01011E 1F040404040404 1111111111110E 11111111110A04 11111115151B11 11110A040A1111
    11110A04040404 1F01020408101F
"""
_GLYPHS = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", _ROWS.split(), strict=True))


def write(text: str) -> Tensor:
    """The ink of one line of capitals and spaces: bool, (7, 6 * len(text))."""
    bits = torch.tensor([16, 8, 4, 2, 1, 0])
    letters = [torch.tensor(list(bytes.fromhex(_GLYPHS.get(c, "00" * HEIGHT))))[:, None] & bits != 0 for c in text]
    return torch.cat(letters, dim=1)
