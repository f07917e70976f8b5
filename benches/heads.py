"""Measures what discovery costs a HEAD for which it finds no layer, and writes benches/HEADS.md.

Each kind is asked by turns: a HEAD of an absent layer through crossmount without discovery, with
it where no repository holds the layer, and with it where one does that the caller may not pull. And
both with HEADs that may wait for uploads: these do not, because nothing is being uploaded.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import stand

HERE = pathlib.Path(__file__).parent
GOAL = 1.15
ABSENT = "sha256:" + hashlib.sha256(b"absent").hexdigest()
DISCOVERY = {"enabled": True, "on_head": True, "sources": "any"}
WAITING = {**DISCOVERY, "wait_for_uploads": "10s"}
# The settings of each process, and what it is asked for.
KINDS = {
    "through crossmount, without discovery": (None, ABSENT),
    "with discovery, no repository holds the layer": ("discovery", ABSENT),
    "with discovery, only other callers may pull it": ("discovery", stand.DIGEST),
    "with waiting, no repository holds the layer": ("waiting", ABSENT),
    "with waiting, only other callers may pull it": ("waiting", stand.DIGEST),
}
SETTINGS = {None: {}, "discovery": {"discovery": DISCOVERY}, "waiting": {"discovery": WAITING}}


def ready(admin):
    """Waits until the store is verified and its scan is completed; then discovery knows all."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
            text = answer.read().decode()
        if "crossmount_store_scan_last_success_timestamp_seconds 0" not in text:
            return
        time.sleep(0.1)
    raise SystemExit("the scan does not end")


def load(port, digest, token, seconds):
    # wrk waits for the body that a HEAD's answer only describes.
    command = ["ab", "-q", "-i", "-k", "-c", "16", "-t", str(seconds), "-n", "10000000"]
    command += ["-H", f"Authorization: Bearer {token}"]
    url = f"http://127.0.0.1:{port}/v2/target/app/blobs/{digest}"
    run = subprocess.run([*command, url], check=True, capture_output=True, text=True)
    found = dict(re.findall(r"^ *([A-Za-z0-9% -]+?):? +([0-9.]+)", run.stdout, re.M))
    assert found["Failed requests"] == "0", run.stdout
    return float(found["Requests per second"]), float(found["Time per request"])


def check(port, digest, token):
    """Every kind is a 404 that links nothing."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/target/app/blobs/{digest}",
        method="HEAD", headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            raise SystemExit(f"a HEAD is answered with {answer.status}")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error.code


def run(bench, rounds, seconds):
    rates, times = ({kind: [] for kind in KINDS} for _ in range(2))
    home = pathlib.Path(tempfile.mkdtemp(dir=bench.directory))
    both = ["pull", "push"]
    token = bench.signer.token({"target/app": both})
    case = stand.Case("token", "token")
    with contextlib.ExitStack() as stack:
        upstream, root = stack.enter_context(bench.registry("token", home))
        stand.upload(upstream, "source", stand.BLOB, bench.owners["token"])
        ports = {}
        for name, more in SETTINGS.items():
            place = home / str(name)
            place.mkdir()
            port, admin, _ = stack.enter_context(
                bench.crossmount(case, upstream, root, place, more)
            )
            stand.upload(port, "proof", b"proof", bench.owners["token"])
            if more:
                ready(admin)
            ports[name] = port
        for _ in range(rounds):
            for kind, (name, digest) in KINDS.items():
                check(ports[name], digest, token)
                rate, mean = load(ports[name], digest, token, seconds)
                rates[kind].append(rate)
                times[kind].append(mean)
    return {kind: (statistics.median(rates[kind]), statistics.median(times[kind])) for kind in KINDS}


def table(found, rounds, seconds):
    plain, _ = next(iter(found.values()))
    lines = [
        "# HEADs for which discovery finds no layer",
        "",
        f"Written by `./benches/heads.py`. {rounds} rounds by turns of {seconds} seconds, 16"
        " connections, tokens of RS256 that crossmount verifies itself; medians. A HEAD may take at"
        f" most {GOAL} times what it takes without discovery.",
        "",
        "| a HEAD of a layer that is not there | a second | mean ms | time to that without | |",
        "|---|---|---|---|---|",
    ]
    for kind, (rate, mean) in found.items():
        ratio = plain / rate
        verdict = "reached" if ratio <= GOAL else "MISSED"
        verdict = "" if rate == plain else verdict
        lines.append(f"| {kind} | {rate:.0f} | {mean:.2f} | {ratio:.2f} | {verdict} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=HERE.parent / "target/release/crossmount")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
        bench = stand.Stand(options.binary, pathlib.Path(directory))
        text = table(run(bench, options.rounds, options.seconds), options.rounds, options.seconds)
    print(text)
    (HERE / "HEADS.md").write_text(text)


if __name__ == "__main__":
    main()
