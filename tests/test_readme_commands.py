"""What the documents tell a reader to type is done here as it is printed, on small files under the names that it uses.

What takes too long for a test, or needs what a test cannot ask for, is listed with the place where it is done instead.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, salted, waves
from PIL import Image

from doprestore.cli.pictures import estimate
from doprestore.image.settings import PRESETS

# A command, by how it begins -> the file that runs it, with words of that file which show it.
ELSEWHERE = {
    "pip install . && doprestore image": (".ci/run", r"pip install \. && doprestore image"),
    "pip install '.[test]' && pytest": (".ci/run", r"pip install '\.\[test\]' && pytest"),
    "python3 -m venv .venv": (".ci/run", "python3 -m venv"),
    "pip install -e '.[dev]'": (".ci/run", "pip install '.[dev]'"),
    "pip install '.[": (".ci/run", "pip install '.[dev]'"),
    "pip install 'doprestore[": (".ci/run", "pip install '.[dev]'"),
    "pip install astroscrappy astropy": (".ci/run", "pip install '.[dev]'"),
    "ruff check && ruff format && mypy && pytest": (".ci/run", "ruff check\nruff format --check\nmypy\npytest"),
    "pytest tests/": (".ci/run", 'eval "$check"'),
    "doprestore image scans/ restored/ -r --dask": (
        "tests/test_dask.py",
        '"scans", "there", "-r", *QUICK, "--dask", address',
    ),
    "doprestore image scans/ restored/ -r --jobs": ("tests/test_cli_jobs.py", '"scans", "two", "-r", *QUICK, "--jobs", 2'),
    "doprestore reproduce": ("tests/benchmarks/README.md", "doprestore reproduce all -o results/"),
}
# What nobody runs but a reader: it changes the checkout that it is typed in, or fetches 200 MB from another index.
BY_HAND = ("pre-commit install", "pip install torch torchvision --index-url")

DOCUMENTS = [
    "README.md", ".github/CONTRIBUTING.md", "sample_images/README.md", "tests/benchmarks/README.md",
    *(f"src/doprestore/{part}/README.md" for part in ("image", "matrix", "reproduce")),
]  # fmt: skip
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:pip install|pytest|pre-commit|eval|python) [^`]+|[a-z_]+\.py --[^`]+)`")
FIRST_WORDS = ("doprestore", "python", "python3", "pip", "pytest", "ruff", "pre-commit", "srun", "convert")
BENCHMARK = re.compile(r"(?:python tests/benchmarks/)?([a-z_]+|NAME)\.py ?(.*)")
FILE = re.compile(r"(?!\.)[\w./]+\.(?:png|tif|fits|npy|npz|csv|html|mp4)|[a-z_]+/")


def _commands() -> list[tuple[str, str]]:
    """(document, command) in the order in which they are printed, without comments."""
    found: list[tuple[str, str]] = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text().replace("\\\n", " ")
        fenced = [line for language, block in FENCED.findall(text) if language == "sh" for line in block.splitlines()]
        inline = [re.sub(r"\s+", " ", command) for command in INLINE.findall(FENCED.sub("", text))]
        for line in [*fenced, *INDENTED.findall(FENCED.sub("", text)), *inline]:
            command = line.split(" #")[0].strip()
            if command.split(" ")[0] in FIRST_WORDS or command in inline:
                found.append((document, command))
    return list(dict.fromkeys(found))


COMMANDS = _commands()
OURS = [one for one in COMMANDS if one[1].startswith(("doprestore", "srun doprestore"))]
BENCHMARKS = [one for one in COMMANDS if BENCHMARK.fullmatch(one[1]) and "NAME" not in one[1]]
PYTHON = [
    (document, block)
    for document in DOCUMENTS
    for language, block in FENCED.findall((ROOT / document).read_text())
    if language == "python"
]


def _is_elsewhere(command: str) -> bool:
    return any(command.startswith(beginning) for beginning in ELSEWHERE)


@pytest.fixture
def quick(monkeypatch, few_lessons) -> None:
    """A fast preset that is faster than good, and a dry run that looks at it for less long."""
    monkeypatch.setitem(PRESETS, "fast", replace(PRESETS["fast"], steps=2, width=8))
    monkeypatch.setattr(estimate, "SIDES", (16, 24, 32))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder, with all files that the documents speak of, but smaller."""
    monkeypatch.chdir(tmp_path)
    whole = (255 * waves(3, 32, 40)).byte().permute(1, 2, 0).numpy()
    struck = (255 * salted(waves(3, 32, 40))).byte().permute(1, 2, 0).numpy()
    for folder in ("scans", "sample_images", "frames"):
        Path(folder).mkdir()
    for name in ("photo.png", "cat.png", "astronaut.png", "coffee.png"):
        Image.fromarray(whole).save(name)
    Image.fromarray(whole[..., 0]).save("camera.png")
    for name in ("damaged.png", "scan.png", "scan.tif", "plate.tif", "scans/a.png", "scans/b.png", "cat_salt_pepper.png",
                 "sample_images/cat_salt_pepper.png"):  # fmt: skip
        Image.fromarray(struck).save(name)
    for name in ("bad.png", "dust.png"):
        Image.fromarray(np.where((struck != whole).any(-1), 255, 0).astype(np.uint8)).save(name)
    counts = (900 + 2 * struck[..., 0].astype(np.uint16)).astype(np.uint16)
    np.save("counts.npy", counts)
    for name in ("rays.npy", "hot.npy"):
        np.save(name, counts == counts.max())
    Image.fromarray(counts).save("hot.tif")
    generator = np.random.default_rng(0)
    table = generator.normal(size=(60, 2)) @ generator.normal(size=(2, 12)) + 5
    spoiled = np.where(generator.random(table.shape) < 0.05, 90.0, table)
    np.save("data.npy", spoiled)
    np.savez("data.npz", Y=spoiled)
    np.savetxt("table.csv", spoiled, delimiter=",", header=",".join("abcdefghijkl"), comments="")
    rows = [f"2026-11-{1 + row // 24:02}T{row % 24:02}:00,2026," + ",".join(f"{value:.12g}" for value in line)
            for row, line in enumerate(np.where(spoiled == 90, -999, spoiled))]  # fmt: skip
    Path("export.csv").write_text("\n".join(["time,year," + ",".join("abcdefghijkl"), *rows]) + "\n")
    sensors = generator.normal(size=(150, 6, 6))
    readings = sensors.reshape(150, 36) @ np.outer(generator.normal(size=6), generator.normal(size=6)).ravel()
    np.savez("problem.npz", A=sensors, y=readings + 9 * (generator.random(150) < 0.05))
    for number in range(16):
        frame = whole.copy()
        frame[8:14, 2 * number : 2 * number + 6] = 255
        Image.fromarray(frame).save(f"frames/{number:02}.png")
    return tmp_path


def _write_frame_of_stars() -> None:
    fits = pytest.importorskip("astropy.io.fits")
    counts = np.load("counts.npy").astype(np.float32)
    fits.PrimaryHDU(counts).writeto("rays.fits")


def _write_clip() -> None:
    av = pytest.importorskip("av")
    with av.open("clip.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 40, 32, "yuv420p"
        for path in sorted(Path("frames").iterdir()):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.open(path))))
        container.mux(stream.encode())


@pytest.mark.parametrize(("document", "command"), [one for one in OURS if not _is_elsewhere(one[1])])
def test_the_command_does_what_it_says(run_cli, folder, quick, document, command):
    if "clip.mp4" in command:
        _write_clip()
    if ".fits" in command:
        _write_frame_of_stars()
    words = shlex.split(re.sub(r"\$\w+", "1", command.removeprefix("srun ")).split(" | ")[0])
    if words[1] == "corrupt":
        Path(words[3]).unlink(missing_ok=True)  # what it makes is there for the other commands
    before = {path for path in folder.rglob("*") if path.is_file()}
    outcome = run_cli(*words[1:])
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout
    made = {path for path in folder.rglob("*") if path.is_file()} - before
    assert bool(made) == ({"--dry-run", "-", "compare"}.isdisjoint(words))
    for word in words[2:]:
        if FILE.fullmatch(word) and made:
            assert Path(word).exists(), f"{word} was not written"


@pytest.mark.parametrize(("document", "command"), BENCHMARKS)
def test_the_benchmark_has_these_options(monkeypatch, document, command):
    name, options = BENCHMARK.fullmatch(command).groups()
    for kind, package in (("parquet", "pyarrow"), ("mp4", "av")):
        if kind in options:
            pytest.importorskip(package)
    parse = argparse.ArgumentParser.parse_args

    class Understood(Exception):
        pass

    def only_parse(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    monkeypatch.setattr(sys, "argv", [name, *shlex.split(options)])
    module = importlib.import_module(name)
    with pytest.raises(Understood):
        module.main()


@pytest.mark.parametrize(("document", "block"), PYTHON)
def test_the_python_runs(folder, quick, document, block):
    for optional in ("astropy", "astroscrappy", "scipy", "sklearn"):
        if optional in block:
            pytest.importorskip(optional)
    if "rays.fits" in block:
        _write_frame_of_stars()
    names = {"damaged": np.asarray(Image.open("damaged.png")) / 255.0, "table": np.load("data.npy")}
    exec(compile(block, document, "exec"), names)
    for name in re.findall(r'save\("([^"]+)"', block):
        assert np.load(name).dtype == bool


def test_imagemagick_takes_its_command(folder):
    from uses import image_magick

    commands = [command for _, command in COMMANDS if command.startswith("convert ")]
    assert commands
    if (program := image_magick()) is None:
        pytest.skip("ImageMagick is not installed")
    for command in commands:
        words = shlex.split(command)
        subprocess.run([program, *words[1:]], check=True)
        assert Path(words[-1]).is_file()


def test_completion_for_the_shell():
    line = next(command for _, command in COMMANDS if command.startswith("eval "))
    variable, shell = re.search(r"(_\w+)=(\w+)", line).groups()
    program = "import sys; sys.argv = ['doprestore']; from doprestore.cli import main; main()"
    environment = os.environ | {variable: shell}
    made = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "complete " in made.stdout and "doprestore" in made.stdout


def test_every_other_command_is_done_somewhere():
    left = [
        command for _, command in COMMANDS if not command.startswith(("doprestore", "srun", "eval", "convert", *BY_HAND))
    ]
    left = [command for command in left if not BENCHMARK.fullmatch(command)]
    assert [command for command in left if not _is_elsewhere(command)] == []
    for beginning, (file, words) in ELSEWHERE.items():
        assert any(command.startswith(beginning) for _, command in COMMANDS), f"no document says {beginning}"
        assert words in (ROOT / file).read_text(), (beginning, file)
