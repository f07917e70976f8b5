"""Runs the comparison of compare.sh and writes benches/RESULTS.md."""

import argparse
import collections
import os
import pathlib
import signal
import sys
import tempfile

import growth
import measures
import report
import stand

HERE = pathlib.Path(__file__).parent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--floor", required=True)
    parser.add_argument(
        "--images", nargs="*", type=pathlib.Path, help="directories on filesystems, named by these"
    )
    parser.add_argument("--micro", type=pathlib.Path, help="where criterion has put its estimates")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", nargs="*", help="measures by their names; nothing is written then")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    base = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(dir=base) as directory:
        needs_tokens = not options.only or {"tokens", "growth"} & {*options.only}
        count = stand.TOKENS if needs_tokens else 0
        bench = stand.Stand(os.path.abspath(options.binary), pathlib.Path(directory), count)
        everything = measures.all_of(bench, options)
        chosen = {key: it for key, it in everything.items() if not options.only or key in options.only}
        results = run(chosen, options.rounds)
        curves = {}
        if not options.only or "growth" in options.only:
            curves = growth.measure(bench, options)
        text = report.write(bench.binary, directory, options, chosen, results, curves)
        # Before the stores are removed, which takes minutes.
        if not options.only:
            options.results.write_text(text)
        print(text, flush=True)


def run(chosen, rounds):
    """Figures by measure and side; sides take turns, and so do measures."""
    results = {key: collections.defaultdict(list) for key in chosen}
    for turn in range(rounds):
        for key, measure in chosen.items():
            for side in measure.sides:
                result = measure.one(side)
                results[key][side].append(result)
                said = " ".join(f"{name}={value:.4g}" for name, value in result.items())
                print(f"{turn + 1} {key}, {side}: {said}", file=sys.stderr)
            if hasattr(measure, "end"):
                measure.end()
    return results


if __name__ == "__main__":
    main()
