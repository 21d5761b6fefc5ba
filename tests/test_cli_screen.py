"""What a log gets to see of a run, and what a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

import doprestore.cli.screen as screen
from doprestore.cli.screen import Meter, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; clock[0] is the time."""
    now = [1000.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def _lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_a_line_every_minute_or_tenth_with_the_time_left(clock, capsys):
    with Meter("a.png", 1000, "step") as meter:
        for step in range(1, 1001):
            clock[0] += 3  # 50 minutes in all: a minute is 2 % of them
            meter.show(step, loss="0.1")
    lines = _lines(capsys)
    assert len(lines) == 49
    assert lines[0] == "doprestore: a.png: 20 of 1000 steps (2%), 49 min left, loss 0.1"
    with Meter("a.png", 1000, "step") as meter:
        for step in range(1, 1001):
            clock[0] += 0.4  # 7 minutes: a tenth comes first
            meter.show(step)
    assert [line.split("(")[1].split(")")[0] for line in _lines(capsys)] == [f"{ten}%" for ten in range(10, 100, 10)]


def test_a_short_run_leaves_no_line(clock, capsys):
    with Meter("a.png", 10, "step") as meter:
        for step in range(1, 11):
            clock[0] += 2.9
            meter.show(step)
    assert _lines(capsys) == []


def test_what_an_earlier_run_has_done_does_not_count_for_the_speed(clock, capsys):
    with Meter("a.png", 1000, "step", resumed=True) as meter:
        meter.show(900)
        clock[0] += 60
        meter.show(910)
    assert _lines(capsys) == ["doprestore: a.png: 910 of 1000 steps (91%), 9 min left"]


def test_rounds_of_a_search_say_nothing_of_the_time_of_the_steps(clock, capsys):
    with Meter("a.png", 1000, "step") as meter:
        for search_round in (1, 2):
            clock[0] += 600
            meter.steady = False
            meter.show(search_round)
        clock[0] += 60
        meter.steady = True
        meter.show(102)
    assert _lines(capsys) == [
        "doprestore: a.png: 1 of 1000 steps (0%)",
        "doprestore: a.png: 2 of 1000 steps (0%)",
        "doprestore: a.png: 102 of 1000 steps (10%), 8 min 59 s left",
    ]


def test_skipped_pictures_do_not_count_for_the_speed(clock, capsys):
    with Meter("all", 1000, "picture") as meter:
        for number in range(1, 901):
            meter.skip()
            meter.show(number)
        clock[0] += 60
        meter.show(901)
    assert _lines(capsys) == ["doprestore: all: 901 of 1000 pictures (90%), 1 h 39 min left"]


def test_verbose_says_more_and_quiet_nothing(clock, capsys):
    for options, count in (({"verbose": True}, 9), ({"quiet": True}, 0), ({}, 1)):
        with Meter("a.png", 1000, "step", **options) as meter:
            for step in range(1, 11):
                clock[0] += 10
                meter.show(step)
        assert abs(len(_lines(capsys)) - count) <= 1


def test_unknown_totals_and_names_with_terminal_codes(clock, capsys):
    with Meter("a\x1b[2J.png", None, "step") as meter:
        clock[0] += 61
        meter.show(7)
    assert _lines(capsys) == ["doprestore: a\\x1b[2J.png: 7 steps"]


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Meter("a.png", 10, "step") as meter:
        meter.show(5, loss="0.5")
        meter.show(10)
    assert "a.png: 100%" in capsys.readouterr().err
    with Meter("a.png", 10, "step", quiet=True) as meter:
        meter.show(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (18600, "5 h 10 min"), (190800, "2 d 5 h")],
)
def test_times_for_people(seconds, words):
    assert duration(seconds) == words


# --- through the command line -----------------------------------------------------------------------------------------

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


def test_quiet_says_nothing_but_errors(run_cli, scans):
    (scans / "scans" / "bad.png").write_text("not a picture")
    for extra in ((), ("--jobs", 2)):
        code, stdout, stderr = run_cli("image", "scans", "out", "-r", *QUICK, "--quiet", "--force", *extra)
        assert (code, stdout) == (1, "") and stderr.count("\n") == 1 and "bad.png" in stderr
    assert run_cli("image", "scans/0.png", "alone.png", *QUICK, "-q") == (0, "", "")
    assert run_cli("image", "scans/0.png", "alone.png", *QUICK, "-q", "--skip-existing") == (0, "", "")


def test_what_else_lies_in_the_folders_is_counted_and_named_by_verbose(run_cli, scans):
    for name in ("notes.txt", "Thumbs.db", ".hidden"):
        (scans / "scans" / name).write_text("no picture")
    code, stdout, stderr = run_cli("image", "scans", "out", "-r", *QUICK)
    assert (code, stderr) == (0, "") and stdout.endswith("; 2 other files left alone\n")
    code, stdout, stderr = run_cli("image", "scans", "again", "-r", *QUICK, "--verbose")
    assert code == 0 and "scans/notes.txt: no picture, left alone" in stderr
    assert "scans/0.png: PNG, 8x9 colour, uint8, black at 0 and white at 255; to again/0.png, on cpu" in stderr


def test_a_real_log_shows_how_far_it_is(scans, monkeypatch):
    """As under nohup: both streams are files. The minute is made a moment."""
    code = "import doprestore.cli.screen as s; s.MINUTE = 0.2; from doprestore.cli import main; main()"
    args = ["image", "scans/0.png", "out.png", "--preset", "paper", "--steps", "20000", "--width", "4", "--device", "cpu"]
    with open("log", "w") as log:
        process = subprocess.Popen([sys.executable, "-c", code, *args], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while " left, loss " not in (scans / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert (scans / "log").read_text().startswith("doprestore: 0.png: ")


def test_an_interrupted_picture_leaves_no_log_in_the_way(start_cli, scans):
    paper = ("--preset", "paper", "--width", 4, "--device", "cpu")
    process = start_cli("image", "scans", "out", "-r", "--log", "logs", *paper)
    deadline = time.monotonic() + 60
    while not (scans / "logs" / "0.png.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send(signal.SIGINT)
    assert process.outcome().code == 130 and list((scans / "logs").iterdir()) == []
