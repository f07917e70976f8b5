#!/usr/bin/env python3
"""Measures what it costs to look for a layer in the repositories of a store, and writes
benches/SEARCHES.md.

Stores of 1, 1000 and 100,000 repositories on the local disk, and on a GlusterFS volume of one brick
on this machine. Any repository may be a source, and every caller may pull every repository.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import stand

HERE = pathlib.Path(__file__).parent
COUNTS = {"local disk": (1, 1000, 100_000), "GlusterFS": (1, 1000, 10_000)}
SAMPLES = 5
IN_A_NAMESPACE = 100


def name_of(number):
    return f"space-{number // IN_A_NAMESPACE}/image-{number}"


def plant_blob(store, data):
    """A blob as the registry writes it; returns the digits of its digest."""
    hexadecimal = hashlib.sha256(data).hexdigest()
    place = store / "blobs/sha256" / hexadecimal[:2] / hexadecimal
    place.mkdir(parents=True)
    (place / "data").write_bytes(data)
    return hexadecimal


def plant_link(store, repository, hexadecimal):
    place = store / "repositories" / repository / "_layers/sha256" / hexadecimal
    place.mkdir(parents=True)
    (place / "link").write_text(f"sha256:{hexadecimal}")


def head(port, hexadecimal):
    url = f"http://127.0.0.1:{port}/v2/target/blobs/sha256:{hexadecimal}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def spent(admin):
    """How many searches there were, and their milliseconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        text = answer.read().decode()
    name = "crossmount_store_operation_duration_seconds"
    found = re.findall(rf'^{name}_(sum|count){{operation="search"}} (\S+)', text, re.M)
    found = {kind: float(value) for kind, value in found}
    return found["count"], 1000 * found["sum"]


def measured(admin, action):
    """The milliseconds of each search that an action causes."""
    before = spent(admin)
    action()
    after = spent(admin)
    assert after[0] > before[0], "there was no search"
    return (after[1] - before[1]) / (after[0] - before[0])


def measure(bench, home, root, count):
    store = root / "docker/registry/v2"
    for number in range(count):
        (store / "repositories" / name_of(number) / "_layers/sha256").mkdir(parents=True)
    blobs = {
        held: [plant_blob(store, f"{held} {number}".encode()) for number in range(SAMPLES)]
        for held in (True, False)
    }
    absent = [hashlib.sha256(f"absent {number}".encode()).hexdigest() for number in range(SAMPLES)]
    more = {
        "discovery": {"enabled": True, "on_head": True, "sources": "any",
                      "search_time": "50s", "search_repositories": 1_000_000},
        "mount": {"time_budget": "60s"},
    }

    def ask(hexadecimals, status):
        for hexadecimal in hexadecimals:
            assert head(port, hexadecimal) == status

    with contextlib.ExitStack() as stack:
        upstream, _ = stack.enter_context(bench.registry("none", home))
        case = stand.Case("none", "none")
        port, admin, _ = stack.enter_context(bench.crossmount(case, upstream, root, home, more))
        stand.upload(port, "proof", b"proof")
        # Lists of directories that changed just now are not kept.
        time.sleep(3)
        found = [
            measured(admin, lambda: ask(blobs[False][:1], 404)),
            measured(admin, lambda: ask(blobs[False][1:], 404)),
        ]
        # Only now, so that the scan does not find it first. Each has another holder, because the
        # repositories used last are looked at first.
        for at, hexadecimal in enumerate(blobs[True]):
            plant_link(store, name_of(max(0, count - 1 - at)), hexadecimal)
        found.append(measured(admin, lambda: ask(blobs[True], 200)))
        return [*found, measured(admin, lambda: ask(absent, 404))]


def volume(name, kind, below, options):
    lines = [f"  option {option} {value}\n" for option, value in options.items()]
    if below:
        lines.append(f"  subvolumes {below}\n")
    return f"volume {name}\n  type {kind}\n{''.join(lines)}end-volume\n"


@contextlib.contextmanager
def gluster(home):
    """A volume of one brick, mounted with the caches that it has by default."""
    brick, place = home / "brick", home / "mounted"
    for directory in (brick, place):
        directory.mkdir()
    port = stand.free_port()
    transport = {"transport-type": "tcp", "transport.address-family": "inet"}
    listen = {
        **transport,
        "transport.socket.bind-address": "127.0.0.1",
        "transport.socket.listen-port": port,
        "auth.addr.brick.allow": "*",
    }
    connect = {
        **transport,
        "remote-host": "127.0.0.1",
        "remote-port": port,
        "remote-subvolume": "brick",
    }
    server, client = home / "server.vol", home / "client.vol"
    served = volume("posix", "storage/posix", None, {"directory": brick})
    served += volume("locks", "features/locks", "posix", {})
    served += volume("brick", "performance/io-threads", "locks", {})
    server.write_text(served + volume("server", "protocol/server", "brick", listen))
    seen, below = volume("remote", "protocol/client", None, connect), "remote"
    for cache in ("write-behind", "quick-read", "open-behind", "md-cache"):
        seen += volume(cache, f"performance/{cache}", below, {})
        below = cache
    client.write_text(seen)
    command = ["glusterfsd", "-N", "-f", str(server), "-l", str(home / "server.log")]
    with stand.process(command, port, home / "server.out"):
        command = ["glusterfs", "-N", "-f", str(client), "-l", str(home / "client.log"), str(place)]
        with open(home / "client.out", "wb") as output:
            mounted = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 30
            while not os.path.ismount(place):
                assert time.monotonic() < deadline, "the volume is not mounted"
                time.sleep(0.1)
            yield place
        finally:
            subprocess.run(["umount", "-l", place], check=True)
            mounted.terminate()
            mounted.wait()


def table(rows):
    lines = [
        "# What a search in the store costs",
        "",
        "Written by `./benches/searches.py`. Milliseconds of one search, as"
        " `crossmount_store_operation_duration_seconds` has them. `discovery.sources: any`, every"
        " caller may pull every repository, and no limit ends a search.",
        "",
        "| store | repositories | first search of a process | data is there, no repository holds"
        " it | one of the last repositories holds it | a new layer |",
        "|---|---|---|---|---|---|",
    ]
    for store, count, found in rows:
        cells = " | ".join(f"{milliseconds:.2f}" for milliseconds in found)
        lines.append(f"| {store} | {count:,} | {cells} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=HERE.parent / "target/release/crossmount")
    parser.add_argument("--without-gluster", action="store_true", help="it needs root")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
        bench = stand.Stand(options.binary, pathlib.Path(directory), count=1)
        for count in COUNTS["local disk"]:
            home = bench.home()
            rows.append(("local disk", count, measure(bench, home, home / "store", count)))
            print(rows[-1])
        for count in () if options.without_gluster else COUNTS["GlusterFS"]:
            home = bench.home()
            with gluster(home) as place:
                (home / "store").symlink_to(place)
                rows.append(("GlusterFS", count, measure(bench, home, place, count)))
                print(rows[-1])
    text = table(rows)
    print(text)
    if not options.without_gluster:
        (HERE / "SEARCHES.md").write_text(text)


if __name__ == "__main__":
    main()
