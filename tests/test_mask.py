"""--mask and what stays untouched: known damage, and clean values kept to the last bit at every depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import ROOT, salted, waves
from PIL import Image

import doprestore.image.portions as portions
from doprestore import restore_image
from doprestore.damage.make import corrupt
from doprestore.errors import InputError
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.io.images import Picture, read_picture, write_picture
from doprestore.metrics import psnr

# So small an alpha finds nothing in noise by itself: what is judged corrupted is what the mask says.
QUICK = ("--preset", "paper", "--output", "composed", "--steps", 2, "--width", 4, "--device", "cpu", "--alpha", 1e-3)
SETTINGS = image_settings(steps=5, width=4, device="cpu")


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("few_lessons")
@pytest.mark.parametrize("preset", ["fast", "paper"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_what_lies_under_the_mask_has_no_influence(preset, per_channel, device):
    settings = image_settings(preset, steps=5, width=4, device=str(device), precision="float32")
    picture = salted(waves(3, 24, 40), 0.05)
    mask = _random(3, 24, 40, seed=1) < 0.3 if per_channel else _random(24, 40, seed=1) < 0.3
    other = torch.where(mask, _random(3, 24, 40, seed=2), picture)
    one, two = (recover_image(values, settings, mask=mask) for values in (picture, other))
    assert torch.equal(one.network, two.network) and torch.equal(one.restored, two.restored)
    assert one.found[mask.expand(3, -1, -1)].all()
    unmasked = recover_image(picture, settings)
    assert not torch.equal(one.network, unmasked.network)


@pytest.mark.usefixtures("few_lessons")
def test_an_empty_mask_changes_nothing():
    picture = salted(waves(1, 24, 40))
    plain = recover_image(picture, SETTINGS)
    masked = recover_image(picture, SETTINGS, mask=torch.zeros(24, 40, dtype=torch.bool))
    assert torch.equal(plain.restored, masked.restored)


def test_known_damage_is_filled_in():
    """A smooth picture with a black half-tone: inpainting recovers it where the values are unknown."""
    ramp = torch.linspace(0.3, 0.9, 64).expand(1, 64, 64)
    mask = _random(64, 64, seed=1) < 0.5
    damaged = torch.where(mask, torch.zeros(()), ramp)
    settings = image_settings(steps=10, width=8, device="cpu", precision="float32")
    result = recover_image(damaged, settings, mask=mask)
    assert (result.restored - ramp)[:, mask].abs().mean() < 0.05 < (damaged - ramp)[:, mask].abs().mean()


def test_to_be_told_all_that_is_damaged_is_no_worse_than_to_be_told_nothing():
    """What the search finds by itself must not be filled better than what a mask names, up to half a dB: its network has
    then learnt for longer. It was 1.9 dB once."""
    whole = torch.from_numpy(read_picture(ROOT / "sample_images" / "camera.png").pixels[:, 100:148, 100:148])
    damaged, bad = corrupt(whole, "salt-pepper", 0.3, seed=1)
    settings = image_settings(steps=30, device="cpu")
    untold, told = (psnr(recover_image(damaged, settings, mask=mask).restored, whole) for mask in (None, bad))
    assert told > untold - 0.5 > psnr(damaged, whole) + 15


@pytest.mark.parametrize(
    "mask",
    [torch.zeros(64, 64), torch.zeros(64, 65, dtype=torch.bool), torch.ones(64, 64, dtype=torch.bool)],
)
def test_masks_that_make_no_sense(mask):
    for settings in (SETTINGS, image_settings("paper", steps=1, width=4, device="cpu")):
        with pytest.raises(InputError, match="mask"):
            recover_image(_random(3, 64, 64), settings, mask=mask)


def test_the_python_interface_takes_masks_in_its_layout():
    picture = _random(12, 14, 3).numpy()
    mask = _random(12, 14, 3, seed=1).numpy() < 0.5
    result = restore_image(picture, layout="HWC", mask=mask, steps=2, width=4, device="cpu")
    assert result.found[mask].all() and result.found.shape == picture.shape


def _samples(depth: str, channels: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    if depth.startswith("uint"):
        return generator.integers(0, np.iinfo(depth).max, (channels, 24, 33), depth, endpoint=True)
    return (generator.normal(size=(channels, 24, 33)) * 1e4).astype(depth)  # a telescope's counts


LOSSLESS = {"png": ("uint8", "uint16"), "tif": ("uint8", "uint16", "float32", "float64"), "ppm": ("uint8", "uint16"),
            "npy": ("uint8", "uint16", "float32", "float64"), "webp": ("uint8",), "bmp": ("uint8",)}  # fmt: skip
# WebP has no grey; BMP and PPM no transparency.
CHANNELS = {"webp": (3, 4), "bmp": (1, 3), "ppm": (1, 3)}


@pytest.mark.parametrize(
    ("extension", "depth", "channels"),
    [
        (extension, depth, channels)
        for extension, depths in LOSSLESS.items()
        for depth in depths
        for channels in CHANNELS.get(extension, (1, 2, 3, 4))
    ],
)
def test_values_judged_clean_come_back_to_the_last_bit(run_cli, tmp_path, monkeypatch, extension, depth, channels):
    source, out, mask = (tmp_path / f"{name}.{extension}" for name in ("in", "out", "mask"))
    planes = _samples(depth, channels)
    colours = 3 if channels >= 3 else 1
    picture = Picture(planes[:colours], planes[-1] if channels > colours else None)
    write_picture(source, picture.pixels, picture)
    bad = np.random.default_rng(1).random((1, 24, 33)) < 0.4
    mask = mask.with_suffix(".png")
    write_picture(mask, bad.astype(np.float32))
    results = []
    recover = portions.Portions.recover
    monkeypatch.setattr(portions.Portions, "recover", lambda *args, **kw: results.append(recover(*args, **kw)) or results[0])
    assert run_cli("image", source, out, *QUICK, "--mask", mask).code == 0
    before, after = read_picture(source), read_picture(out)
    clean = ~results[0].found.numpy()
    assert after.samples.dtype == before.samples.dtype == depth
    assert 0.2 < clean.mean() < 0.7 and not (clean & bad).any()
    assert np.array_equal(before.samples[clean], after.samples[clean])
    assert (before.samples[~clean] != after.samples[~clean]).mean() > 0.9
    if channels > colours:
        assert np.array_equal(before.alpha, after.alpha)


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_masks_in_every_mode(run_cli, tmp_path, mode):
    source, out, mask = (tmp_path / name for name in ("in.png", "out.png", "mask.png"))
    Image.fromarray(_samples("uint8", 3).transpose(1, 2, 0).copy()).save(source)
    white = np.zeros((24, 33), np.uint8)
    white[5:9, 3:30] = 255
    Image.fromarray(white).convert(mode).save(mask)
    assert run_cli("image", source, out, *QUICK, "--mask", mask).code == 0
    changed = (read_picture(source).samples != read_picture(out).samples).all(axis=0)
    assert changed[5:9, 3:30].mean() > 0.9


def test_a_colour_mask_marks_channels(run_cli, tmp_path):
    source, grey, out, mask = (tmp_path / name for name in ("in.png", "grey.png", "out.png", "mask.png"))
    Image.fromarray(_samples("uint8", 3).transpose(1, 2, 0).copy()).save(source)
    Image.fromarray(_samples("uint8", 1)[0]).save(grey)
    Image.new("RGB", (33, 24), (255, 0, 0)).save(mask)
    assert run_cli("image", source, out, *QUICK, "--mask", mask).code == 0
    changed = (read_picture(source).samples != read_picture(out).samples).mean(axis=(1, 2))
    assert changed[0] > 0.9 and changed[0] > changed[1] + 0.3
    outcome = run_cli("image", grey, tmp_path / "other.png", *QUICK, "--mask", mask)
    assert outcome.code == 1 and "every value" in outcome.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: Image.new("L", (33, 25)).save(path), "is 33x25 grey, the input is 33x24 colour"),
        (lambda path: Image.new("L", (33, 24), 1).save(path), "has no white"),
        (lambda path: Image.new("L", (33, 24), 255).save(path), "every value"),
        (lambda path: None, "no such file"),
    ],
)
def test_bad_masks_are_one_line(run_cli, tmp_path, make, words):
    source, out, mask = (tmp_path / name for name in ("in.png", "out.png", "mask.png"))
    Image.fromarray(_samples("uint8", 3).transpose(1, 2, 0).copy()).save(source)
    make(mask)
    code, stdout, stderr = run_cli("image", source, out, *QUICK, "--mask", mask)
    assert (code, stdout) == (1, "") and words in stderr and stderr.count("\n") == 1 and not out.exists()
    assert f"{mask}: " in stderr


def test_a_mask_that_leaves_only_nan_is_named(run_cli, tmp_path):
    source, mask = tmp_path / "in.npy", tmp_path / "mask.png"
    np.save(source, np.where(np.eye(20) > 0, np.nan, 0.5))
    Image.fromarray(np.where(np.eye(20) > 0, 0, 255).astype(np.uint8)).save(mask)
    code, _, stderr = run_cli("image", source, tmp_path / "out.npy", *QUICK, "--mask", mask)
    assert code == 1 and f"--mask {mask}: marks every value that is not NaN as bad" in stderr


def test_one_mask_for_many_pictures_or_a_folder_of_them(run_cli, tmp_path):
    sources = [tmp_path / "a.png", tmp_path / "b.png"]
    for source in sources:
        Image.fromarray(_samples("uint8", 3).transpose(1, 2, 0).copy()).save(source)
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (33, 24)).save(masks / "a.png")
    assert run_cli("image", *sources, tmp_path / "out", *QUICK, "--mask", masks / "a.png").code == 0
    outcome = run_cli("image", *sources, tmp_path / "again", *QUICK, "--mask", masks)
    assert outcome.code == 1 and "masks/b.png: no such file" in outcome.stderr and "1 restored" in outcome.stdout
