"""Outputs on odd ground: links, other file systems, full and read-only ones, and names that are hard to print."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from doprestore.errors import OutputError
from doprestore.io.files import check_output, replacing
from doprestore.io.images import read_picture

QUICK = ("--preset", "paper", "--steps", "2", "--width", "4", "--device", "cpu")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


def _write(path, text: str) -> None:
    check_output(path)
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_link_stays_a_link_and_the_file_behind_it_is_replaced(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link, target = tmp_path / "link.png", folder / "target.png"
    link.symlink_to(target)
    for text in ("new", "newer"):  # the target is made, then replaced
        _write(link, text)
        assert link.is_symlink() and target.read_text() == text
    target.chmod(0o640)
    _write(link, "newest")
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in folder.iterdir()] == ["target.png"]


def test_a_link_to_another_file_system(tmp_path):
    shared = "/dev/shm"
    if not os.path.isdir(shared) or os.stat(shared).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is only one file system to write on")
    link, target = tmp_path / "link.png", f"{shared}/doprestore-test-{os.getpid()}.png"
    link.symlink_to(target)
    try:
        _write(link, "new")
        assert link.is_symlink() and link.read_text() == "new"
    finally:
        os.unlink(target)


def test_a_link_that_leads_nowhere(tmp_path):
    link = tmp_path / "lost.png"
    link.symlink_to(tmp_path / "absent" / "out.png")
    with pytest.raises(OutputError, match=r"lost.png.*does not exist"):
        _write(link, "new")
    assert link.is_symlink()


NAMES = ["naïve café 図.png", "two\nlines.png", "tab\t\x1b[31mred.png", "名" * 80 + ".png", " .png", "--force.png",
         os.fsdecode(b"latin-1 \xe9.png")]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_that_the_file_system_takes(run_cli, photo, monkeypatch, name):
    monkeypatch.chdir(photo.parent)
    os.mkdir("in")
    photo.rename(os.path.join("in", name))
    beside = {flag: f"{flag[2:]}/" for flag in ("--log", "--outliers", "--json", "--report", "--checkpoint")}
    extra = [word for pair in beside.items() for word in pair]
    code, stdout, stderr = run_cli("image", "in", "out", "-r", *QUICK, *extra)
    assert (code, stderr) == (0, "") and stdout.count("\n") == 2 and "\x1b" not in stdout
    assert os.listdir("out") == [name] and read_picture(os.path.join("out", name)).samples.shape == (3, 20, 30)
    assert all(len(os.listdir(folder)) == (flag != "--checkpoint") for flag, folder in beside.items())
    code, stdout, stderr = run_cli("image", "in/absent " + name, "out.png", *QUICK)
    assert (code, stdout) == (1, "") and stderr.count("\n") == 1 and "\x1b" not in stderr


@pytest.mark.parametrize("flag", [None, "--json", "--checkpoint", "--log"])
def test_a_name_longer_than_the_file_system_takes(run_cli, photo, flag):
    endless = photo.with_name("a" * 300 + (".csv" if flag == "--log" else ".png"))
    args = (endless,) if flag is None else (photo.with_name("out.png"), flag, endless)
    code, stdout, stderr = run_cli("image", photo, *args, *QUICK)
    assert (code, stdout) == (1, "") and stderr.count("\n") == 1 and "too long" in stderr
    assert run_cli("image", endless, photo.with_name("out.png"), *QUICK).code == 1


# In a mount namespace of its own: $1 is the folder, $2 the bytes taken, $3 rw or ro, $4 what is seen after the command.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" || exit 77
printf old > "$1/out.png"
head -c "$2" /dev/zero > "$1/filler"
test "$3" = rw || mount -o remount,ro "$1" || exit 77
folder=$1; seen=$4; shift 4
"$@"; code=$?
{ ls -A "$folder"; cat "$folder/out.png"; } > "$seen"
exit $code
"""


@pytest.mark.parametrize(
    ("filler", "mode", "flag"),
    [
        ("57344", "rw", None),
        ("57344", "rw", "--checkpoint"),
        ("57344", "rw", "--report"),
        ("0", "ro", None),
        ("0", "ro", "--log"),
    ],
)
def test_a_disk_that_is_full_or_read_only(tmp_path, filler, mode, flag):
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux")
    source, disk, seen = tmp_path / "in.png", tmp_path / "disk", tmp_path / "seen"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 70, 3), np.uint8)).save(source)
    disk.mkdir()
    file = {"--checkpoint": "run.ckpt", "--report": "run.html", "--log": "run.csv", None: None}[flag]
    output = disk / "out.png" if flag is None else tmp_path / "out.png"
    extra = [] if flag is None else [flag, str(disk / file)]
    command = [sys.executable, "-m", "doprestore", "image", str(source), str(output), *QUICK, "--force", "--quiet", *extra]
    if flag == "--checkpoint":
        command += ["--checkpoint-every", "0s"]
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh", disk, filler, mode, seen, *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode == 77 or "unshare" in run.stderr:
        pytest.skip("no small file system can be mounted here")
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.startswith("doprestore: error: ") and run.stderr.count("\n") == 1
    assert (flag or "out.png") in run.stderr or file in run.stderr
    assert "No space left" in run.stderr or "Read-only" in run.stderr or "may be full" in run.stderr
    assert seen.read_text() == "filler\nout.png\nold"  # nothing half-written, nothing left behind
