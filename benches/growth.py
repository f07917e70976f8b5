"""How the cost of a mount grows: with the store, the repository, the connections and the callers."""

import contextlib
import os
import sys

import load
import stand
from stand import BLOB, Case

OPEN = Case("none", "none", "file")
# Of each of the runs whose median is a point of a curve.
SECONDS = 1
# More layers than are mounted in that time.
LAYERS = 8000


def measure(bench, options):
    """Curves by their titles: pairs of how many there are and mounts a second."""
    curves = {
        "repositories in the store": [
            (count, repositories(bench, options, count)) for count in (1, 10_000, 100_000)
        ],
        "layers in the target": [(count, layers(bench, options, count)) for count in (1, 1000, 10_000)],
        "connections": [
            (count, connections(bench, options, count)) for count in (10, 30, 100, 300, 1000)
        ],
        "callers, each with a token, of existing links": [
            (count, callers(bench, options, count)) for count in (1, 10, 100, 1000)
        ],
    }
    return curves


def median_of(options, once):
    rates = sorted(once() for _ in range(options.rounds))
    rate = rates[len(rates) // 2]
    print(f"{once.__name__}: {rate:.0f}/s", file=sys.stderr)
    return rate


@contextlib.contextmanager
def served(bench, case=OPEN):
    home, owner = bench.home(), bench.owners[case.access]
    with contextlib.ExitStack() as stack:
        port, root = stack.enter_context(bench.registry(case.access, home))
        stand.upload(port, "source", BLOB, owner)
        own, _, _ = stack.enter_context(bench.crossmount(case, port, root, home))
        stand.upload(own, "proof", b"proof", owner)
        yield own, port, root


def plant(root, repository, digest):
    """A link that no mount made: only their number matters."""
    directory = root / "docker/registry/v2/repositories" / repository / "_layers/sha256" / digest[7:]
    os.makedirs(directory)
    (directory / "link").write_text(digest)


def repositories(bench, options, count):
    with served(bench) as (port, _, root):
        for at in range(count):
            plant(root, f"there/{at % 100}/{at}", stand.DIGEST)
        os.sync()
        load.mounts(port, "warm", 1)

        def once():
            once.__name__ = f"{count} repositories"
            once.turn += 1
            return load.mounts(port, f"t{once.turn}", SECONDS)["rate"]

        once.turn = 0
        return median_of(options, once)


def layers(bench, options, count):
    """New links in one repository: each is a layer of its own, so the source has as many."""
    digests = [f"sha256:{at:064x}" for at in range(count)]
    with served(bench) as (port, _, root):
        for digest in digests:
            plant(root, "crowded", digest)
        os.sync()
        wanted = [f"sha256:{at:064x}" for at in range(1 << 20, (1 << 20) + LAYERS * options.rounds)]
        for digest in wanted:
            plant(root, "source", digest)
            data = root / f"docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}"
            os.makedirs(data)
            (data / "data").write_bytes(BLOB)
        os.sync()

        def once():
            once.__name__ = f"{count} layers"
            first = (1 << 20) + LAYERS * once.turn
            once.turn += 1
            result = load.wrk("layers.lua", port, SECONDS, FIRST=first, COUNT=LAYERS)
            assert not result["refused"] and result["answers"] < LAYERS - 32, result
            return result["rate"]

        once.turn = 0
        return median_of(options, once)


def connections(bench, options, count):
    with served(bench) as (port, _, _):
        load.mounts(port, "warm", 1)

        def once():
            once.__name__ = f"{count} connections"
            once.turn += 1
            return load.mounts(port, f"t{once.turn}", SECONDS, count)["rate"]

        once.turn = 0
        return median_of(options, once)


def callers(bench, options, count):
    case = Case("token", "token", "file")
    tokens = bench.tokens.read_text().splitlines()[:count]
    file = bench.directory / f"tokens-{count}"
    file.write_text("\n".join(tokens) + "\n")
    with served(bench, case) as (port, _, root):
        for line in tokens:
            plant(root, line.split()[0], stand.DIGEST)
        old = 1_000_000_000
        for link in root.glob("docker/registry/v2/repositories/t/*/_layers/sha256/*/link"):
            os.utime(link, (old, old))
        sent = {"TOKENS": file, "AGAIN": 1}
        load.mounts(port, "t", 1, **sent)

        def once():
            once.__name__ = f"{count} callers"
            return load.mounts(port, "t", SECONDS, **sent)["rate"]

        return median_of(options, once)
