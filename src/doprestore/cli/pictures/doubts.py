"""When the answer for a picture is in doubt: what a person should know, and what --strict makes an exit code of.

Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from doprestore.image.settings import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from doprestore.image.recovery import ImageResult

# The exit code under --strict: the outputs are written, but somebody should look at them.
DOUBTFUL = 5
# The share of values from which on, if so many are judged damaged, what the rest says of them may be wrong, too.
MOST = 0.6
# The share of the replaced values that may be expected to have been whole without a word.
MISTAKEN = 1 / 3
_LOOK = "compare the result with the input before use"


def warnings(result: ImageResult, mask: Tensor | None) -> list[str]:
    """What is worth a line on stderr in any case. mask: what was known to be bad, which nobody has judged."""
    told = []
    if result.undecided:
        told.append(
            "looks like print, a drawing or noise, which cannot be told from damage; "
            "left as it is, give --mask for what is damaged"
        )
    judged = result.found if mask is None else result.found & ~mask
    share = judged.float().mean().item()
    if share > MOST:
        told.append(f"{share:.0%} of its values are judged damaged; {_LOOK}")
    # An interrupted search may know of damage that nothing was done about.
    mistaken = sum(damage.mistaken or 0.0 for damage in result.damage)
    if share and mistaken > MISTAKEN * share:
        told.append(f"{mistaken / share:.0%} of what was replaced may have been whole; {_LOOK}")
    return told


def is_too_short(result: ImageResult) -> bool:
    """Whether so few steps were asked for that the answer can be none: less than a tenth of the preset's own. Where nothing
    was found there is nothing to fit, and the steps do not matter."""
    fitted = result.settings.is_paper or bool(result.found.any())
    return fitted and result.settings.steps < PRESETS[result.settings.preset].steps / 10


def is_doubtful(result: ImageResult, mask: Tensor | None) -> bool:
    """Whether anything forbids to take the answer unseen."""
    return is_too_short(result) or bool(warnings(result, mask))
