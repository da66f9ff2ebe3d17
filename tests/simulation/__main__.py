"""Replay seeds: `python -m tests.simulation SEED [--trace]`, or a range: `python -m tests.simulation FIRST LAST`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.run import Run, broken_promise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("last", type=int, nargs="?")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    given = parser.parse_args()
    if given.last is None:
        Run(given.seed, print if given.trace else None).go()
        print(f"Seed {given.seed} keeps all promises.")
        return
    began, broken = time.monotonic(), Counter[str]()
    for seed in range(given.seed, given.last + 1):
        if said := broken_promise(seed):
            broken[":".join(said.split(":")[:2])[:100]] += 1
            print(f"{seed}: {said}", flush=True)
    print(f"{sum(broken.values())} broken in {time.monotonic() - began:.1f} s", dict(broken))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
