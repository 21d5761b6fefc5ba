"""Where the time of the fast preset goes, from the start of the command to its end, in seconds by the clock.

    python tests/benchmarks/stages.py --sides 64 256 1024 --damage none random-1 --threads 1

Each line is `doprestore image` in a process of its own, with its functions under a clock; what one calls of the others
counts there and not with it. "start" is Python and the imports, "network" that of the search, "rest" all that has no column.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from light_damage import DAMAGE
from speed import ROOT, picture, save

STAGES = {
    "reading": ["io.images:read_picture"],
    "shapes": ["image.lines:find_lines", "image.tracks:find_tracks"],
    "medians": ["image.unseen:first_guesses"],
    "fills": ["image.fill:fill", "image.fill:choose_whitening"],
    "verdicts": ["image.screening:Screening._judge", "image.screening:Screening._look_for_tones"],
    "network": ["image.crossfit:CrossFit.predict"],
    "fit": ["image.fit:Fit.__init__", "image.fit:Fit.apply", "image.learner:Learner.step"],
    "writing": ["io.images:encode_picture", "io.images:picture_file", "io.files:write_together"],
}
COLUMNS = ("start", *STAGES, "rest", "all")


class Clock:
    """Seconds by stage; those of a stage inside another count for the inner one; the search's network keeps its steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within: list[str] = []
        self._since = 0.0

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._within:
            self.seconds[self._within[-1]] += now - self._since
        self._since = now

    def around(self, stage: str, function: Callable) -> Callable:
        def timed(*args, **named):
            self._turn()
            self._within.append("network" if stage == "fit" and "network" in self._within else stage)
            try:
                return function(*args, **named)
            finally:
                self._turn()
                self._within.pop()

        return timed


def child(began: float, words: list[str]) -> None:
    """The command with its functions under the clock; the seconds as JSON on the last line of stderr."""
    clock = Clock()
    from doprestore import cli

    importlib.import_module("doprestore.cli.image")
    importlib.import_module("doprestore.image.light")
    start = time.time() - began
    for stage, places in STAGES.items():
        for place in places:
            module, _, path = place.partition(":")
            owner = importlib.import_module(f"doprestore.{module}")
            *classes, name = path.split(".")
            for part in classes:
                owner = getattr(owner, part)
            function = getattr(owner, name)
            timed = clock.around(stage, function)
            setattr(owner, name, timed)
            for other in [m for n, m in sys.modules.items() if n.startswith("doprestore") and m is not None]:
                if not classes and vars(other).get(name) is function:
                    setattr(other, name, timed)
    code = cli.run(words)
    print(json.dumps({"start": start, **clock.seconds}), file=sys.stderr)
    sys.exit(code)


def measured(side: int, damage: str, threads: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "in.png", DAMAGE[damage](picture(side), 0)[0])
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
        words = ["image", f"{folder}/in.png", f"{folder}/out.png", "--device", "cpu", "--quiet"]
        start = time.perf_counter()
        command = [sys.executable, __file__, "--child", repr(time.time()), *words]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        seconds = json.loads(run.stderr.splitlines()[-1])
        seconds["all"] = time.perf_counter() - start
    return seconds | {"rest": seconds["all"] - sum(value for name, value in seconds.items() if name != "all")}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(float(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--damage", nargs="+", choices=tuple(DAMAGE), default=["none", "random-1"])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(f"{'side':>5} {'damage':<16}" + "".join(f"{name:>9}" for name in COLUMNS))
    for damage in args.damage:
        for side in args.sides:
            seconds = measured(side, damage, args.threads)
            print(f"{side:>5} {damage:<16}" + "".join(f"{seconds.get(name, 0):>9.2f}" for name in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
