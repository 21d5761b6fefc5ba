"""--strict: an answer in doubt is no success, for one picture and for many; and what is in doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from doprestore.cli.pictures.doubts import DOUBTFUL, is_doubtful, warnings
from doprestore.image.light import Damage
from doprestore.image.recovery import ImageResult
from doprestore.image.settings import image_settings

SHORT = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


def _result(found: float, **fields: object) -> ImageResult:
    picture = torch.zeros(1, 10, 10)
    judged = (torch.arange(100) < 100 * found).view(1, 10, 10)
    plain = ImageResult(picture, picture, picture, judged, image_settings(), "cpu", 800, 0.0, 1.0, False)
    return replace(plain, **fields)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (_result(0.0), None),
        (_result(0.5), None),
        (_result(0.7), "70% of its values are judged damaged"),
        (_result(0.1, damage=(Damage("single values", 0.1, 0.03),)), None),
        (_result(0.1, damage=(Damage("single values", 0.1, 0.04),)), "40% of what was replaced may have been whole"),
        (_result(0.0, undecided=True), "looks like print"),
    ],
)
def test_what_is_in_doubt(result, told):
    lines = warnings(result, None)
    assert is_doubtful(result, None) == (told is not None) == bool(lines)
    assert told is None or (len(lines) == 1 and told in lines[0])


def test_what_is_known_to_be_bad_is_in_no_doubt():
    result = _result(0.7)
    assert not is_doubtful(result, result.found) and not is_doubtful(result, result.found[0])


def test_too_few_steps():
    assert is_doubtful(_result(0.1, settings=image_settings(steps=4)), None)
    assert not is_doubtful(_result(0.0, settings=image_settings(steps=4)), None)  # nothing to fit
    assert is_doubtful(_result(0.0, settings=image_settings("paper", steps=4)), None)


def test_the_exit_code(run_cli, scans):
    args = ("image", "scans", "out", "-r", *SHORT, "--force")
    assert run_cli(*args).code == 0
    code, stdout, _ = run_cli(*args, "--strict")
    assert code == DOUBTFUL and "3 doubtful in" in stdout and len(list((scans / "out").iterdir())) == 3
    (scans / "scans" / "bad.png").write_text("not a picture")
    assert run_cli(*args, "--strict").code == 1  # what failed weighs more


def test_the_exit_code_of_one_picture(run_cli, scans):
    for strict, code in ((), 0), (("--strict",), DOUBTFUL):
        assert run_cli("image", "scans/0.png", "out.png", *SHORT, "--force", *strict).code == code
        assert (scans / "out.png").exists()
