"""Throw damaged files at the readers: every one must be read or refused by a DoprestoreError.

    python tests/benchmarks/fuzz.py                        all kinds, 20 000 files, a table
    python tests/benchmarks/fuzz.py --kind tiff --count 5000 --start 2000
    python tests/benchmarks/fuzz.py --kind tiff --seed 2041     one file again, with its traceback

A file is a good one of its kind (many modes, depths and compressions), mutated as its seed says. Readers run in
child processes that may use 2 GB more than they start with; a file that takes 10 s, more memory, the process's life
or any other exception is a failure, printed with its seed. A picture that is accepted is also written and read
again, which must give the same samples. Nothing may be written elsewhere or on stderr, and no pickle may run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from fuzz_mutations import files, mutate
from fuzz_seeds import CHECKPOINT, TRAP

from doprestore.errors import DoprestoreError

SECONDS = 10
MEMORY = 2 * 2**30


# --- the readers ------------------------------------------------------------------------------------------------------


def read_picture_and_back(path: Path) -> None:
    """Read a picture; what is accepted must survive being written and read again."""
    from doprestore.io.images import check_format, read_picture, write_picture

    picture = read_picture(path, gaps=True)
    if picture.samples.size > 1e6:
        return
    known = slice(None) if picture.unknown is None else ~picture.unknown
    for extension in (".png", ".tif", ".fits"):
        out = path.with_name(f"out{extension}")
        try:
            check_format(out, picture)
        except DoprestoreError:
            continue
        write_picture(out, picture.pixels, picture)
        again = read_picture(out)
        np.testing.assert_array_equal(again.samples[known], picture.samples[known], strict=True)
        if picture.alpha is not None:
            np.testing.assert_array_equal(again.alpha, picture.alpha, strict=True)
        out.unlink()


def read_matrix_file(path: Path) -> None:
    """Read a matrix, and every value of it: .npy is memory-mapped. A table of text must be the same when written again."""
    from doprestore.io.arrays import read_matrix
    from doprestore.io.delimited import TextTable

    matrix = read_matrix(path)
    matrix.values.tobytes()
    if isinstance(matrix.table, TextTable):
        again = io.BytesIO()
        matrix.table.write(again, matrix.values, np.zeros(matrix.values.shape, bool))
        if again.getvalue() != path.read_bytes():
            raise AssertionError("the table is another when written again")


def read_video_file(path: Path) -> None:
    """Read all frames of a clip."""
    from doprestore.io.video import read_video

    read_video(path, slice(0, None, 1)).frames.sum()


def read_checkpoint_file(path: Path) -> None:
    """Load a checkpoint of the run that fuzz_seeds.py saved."""
    from doprestore.io.checkpoint import load_checkpoint

    load_checkpoint(path, **CHECKPOINT)


READERS: dict[str, Callable[[Path], object]] = dict.fromkeys(
    ["png", "jpeg", "cmyk", "tiff", "webp", "bmp", "ppm", "npy", "fits", "avif", "heic"], read_picture_and_back
)
if find_spec("doprestore.io.arrays"):
    READERS |= dict.fromkeys(["matrix.npy", "matrix.npz", "matrix.csv"], read_matrix_file)
if find_spec("pyarrow"):
    READERS["parquet"] = read_matrix_file
if find_spec("av"):
    READERS |= dict.fromkeys(["mp4", "avi", "webm"], read_video_file)
if find_spec("doprestore.io.checkpoint"):
    READERS["ckpt"] = read_checkpoint_file


def try_one(kind: str, seed: int, folder: Path) -> str:
    """Return "accepted" or "refused"; anything else is raised."""
    path = folder / f"in.{kind}"
    path.write_bytes(mutate(kind, seed))
    try:
        READERS[kind](path)
        outcome = "accepted"
    except DoprestoreError as error:
        if "\n" in str(error) or str(path) not in str(error):
            raise AssertionError(f"not one line that names the file: {error}") from error
        outcome = "refused"
    left = sorted(os.listdir(folder))
    if left != [path.name]:
        raise AssertionError(f"wrote {left}")
    if TRAP.exists():
        raise AssertionError(f"ran a pickle: {TRAP}")
    return outcome


def child(kind: str, start: int, stop: int) -> None:
    """Try the files start ... stop - 1; one line of JSON before and after each."""
    import torch  # noqa: F401  # the command line has it loaded: its address space is part of the baseline

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = folder / f"in.{kind}"
        good.write_bytes(files(kind)[0])
        READERS[kind](good)  # imports and thread pools belong to the baseline too
        warnings.simplefilter("error")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for seed in range(start, stop):
            print(json.dumps({"seed": seed}), flush=True)
            began = time.perf_counter()
            try:
                result = {"outcome": try_one(kind, seed, folder)}
            except Exception as error:
                result = {"outcome": "failed", "why": f"{type(error).__name__}: {error}"[:200]}
            result["seconds"] = time.perf_counter() - began
            for left in folder.iterdir():
                left.unlink()
            print(json.dumps(result), flush=True)


# --- the parent -------------------------------------------------------------------------------------------------------


def campaign(kind: str, start: int, stop: int) -> tuple[Counter, float, list[str]]:
    """Run the files of one kind; return the counts, the slowest time in seconds, and the failures."""
    counts, slowest, failures, seed = Counter(), 0.0, [], start
    while seed < stop:  # one round a child; a child that dies or hangs costs one file
        command = [sys.executable, __file__, "--kind", kind, "--start", str(seed), "--child", str(stop)]
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, bufsize=0) as process,
        ):
            started = False
            while select.select([process.stdout], [], [], SECONDS if started else 300)[0]:
                line = process.stdout.readline()
                if not line:
                    why = "the process died"
                    break
                started, message = True, json.loads(line)
                if "outcome" in message:
                    counts[message["outcome"]] += 1
                    slowest = max(slowest, message["seconds"])
                    if message["outcome"] == "failed":
                        failures.append(f"{kind} seed {seed}: {message['why']}")
                    seed += 1
            else:
                why = f"no answer in {SECONDS} s"
            process.kill()
            errors.seek(0)
            noise = errors.read().decode(errors="replace").strip()
            if seed == stop and noise:
                failures.append(f"{kind}: on stderr: {noise[-500:]}")
                counts["failed"] += 1
            elif seed < stop:
                failures.append(f"{kind} seed {seed}: {why} {noise[-500:]}")
                counts["failed"] += 1
                seed += 1
                if not started:
                    raise SystemExit(failures[-1])
    return counts, slowest, failures


def main() -> int:
    """Parse the command line and run; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=READERS, action="append", help="only this kind; may be repeated")
    parser.add_argument("--count", type=int, default=20_000, help="files in all (20000)")
    parser.add_argument("--start", type=int, default=0, help="first seed (0)")
    parser.add_argument("--seed", type=int, help="try this one file here and show its traceback")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    kinds = args.kind or list(READERS)
    if args.child is not None:
        child(kinds[0], args.start, args.child)
        return 0
    if args.seed is not None:
        return _reproduce(kinds[0], args.seed)
    each = -(-args.count // len(kinds))
    print(f"{'kind':11}{'files':>8}{'accepted':>10}{'refused':>10}{'failed':>8}{'slowest s':>11}")
    total = Counter()
    for kind in kinds:
        counts, slowest, failures = campaign(kind, args.start, args.start + each)
        numbers = f"{each:8}{counts['accepted']:10}{counts['refused']:10}{counts['failed']:8}"
        print(f"{kind:11}{numbers}{slowest:11.2f}", *failures, sep="\n", flush=True)
        total += counts
    numbers = f"{sum(total.values()):8}{total['accepted']:10}{total['refused']:10}{total['failed']:8}"
    print(f"{'all':11}{numbers}")
    return 1 if total["failed"] else 0


def _reproduce(kind: str, seed: int) -> int:
    kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}.{kind}"
    kept.write_bytes(mutate(kind, seed))
    print(f"the file: {kept}")
    with tempfile.TemporaryDirectory() as name:
        try:
            print(try_one(kind, seed, Path(name)))
        except Exception:
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
