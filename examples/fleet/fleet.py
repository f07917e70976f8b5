#!/usr/bin/env python3
"""Pushes sixty images through a link of 100 Mbit/s, to a registry directly and through crossmount:
one process or two replicas in turn, with and without Redis, with and without HEADs that wait.

Needs root for the link (network namespaces and tc), docker-registry, redis-server and htpasswd, and
for --pulp what tests/pulp.sh installs. Writes a table and a chart beside itself with --write.

  ./examples/fleet/fleet.py            a registry with passwords
  ./examples/fleet/fleet.py --pulp     and Pulp, with widened scopes
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import chart
import images

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RATE = "100mbit"


@contextlib.contextmanager
def link():
    """A namespace behind a slow link; gives its name and the address of this end."""
    name = f"fleet{os.getpid()}"
    here, there = f"{name}a"[-15:], f"{name}b"[-15:]
    subnet = f"10.203.{os.getpid() % 200}"

    def run(*command):
        subprocess.run(command, check=True)

    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", here, "type", "veth", "peer", "name", there)
        run("ip", "link", "set", there, "netns", name)
        run("ip", "address", "add", f"{subnet}.1/30", "dev", here)
        run("ip", "link", "set", here, "up")
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"{subnet}.2/30", "dev", there)
        run(*inside, "ip", "link", "set", there, "up")
        shape = ("tbf", "rate", RATE, "burst", "256kb", "latency", "50ms")
        run(*inside, "tc", "qdisc", "add", "dev", there, "root", *shape)
        yield name, f"{subnet}.1"
    finally:
        subprocess.run(["ip", "link", "delete", here], check=False, stderr=subprocess.DEVNULL)
        run("ip", "netns", "delete", name)


def free_port(address):
    with socket.socket() as taken:
        taken.bind((address, 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def program(command, address, port, log):
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    with open(log, "wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection((address, port)):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} does not start:\n{pathlib.Path(log).read_text()}")
            time.sleep(0.05)
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()


@contextlib.contextmanager
def redis(home, address):
    port = free_port(address)
    command = ["redis-server", "--port", str(port), "--bind", address, "--protected-mode", "no"]
    with program([*command, "--save", "", "--dir", home], address, port, home / "redis.log"):
        yield f"redis://{address}:{port}"


@contextlib.contextmanager
def crossmount(binary, home, address, upstream, settings):
    """One process; gives its port."""
    port = settings.pop("port", None) or free_port(address)
    config = {
        "listen": {"address": f"{address}:{port}"},
        "admin": {"address": "127.0.0.1:0"},
        "shutdown": {"drain_delay": "0s"},
        "log": {"level": "warn"},
        **settings,
    }
    config["upstream"] = {**settings.get("upstream", {}), "url": upstream}
    file = home / f"crossmount-{port}.json"
    file.write_text(json.dumps(config))
    command = [binary, "serve", "--config", file]
    with program(command, address, port, home / f"crossmount-{port}.log"):
        yield port


@contextlib.contextmanager
def replicas(through, binary, home, address, upstream, settings, wait):
    """The processes of a way to the registry; gives their ports."""
    with contextlib.ExitStack() as stack:
        if through.with_redis:
            url = stack.enter_context(redis(home, address))
            settings["discovery"]["redis"] = {"url": url, "fingerprint_key": "fleet" * 8}
        if through.waits:
            settings["discovery"]["wait_for_uploads"] = wait
        first = settings.pop("port", None)
        yield [
            stack.enter_context(crossmount(binary, home, address, upstream, {**settings, **own}))
            for own in [{"port": first}, *[{}] * (through.replicas - 1)]
        ]


@contextlib.contextmanager
def registry(home, address):
    """distribution with passwords and an empty store."""
    port = free_port(address)
    passwords = home / "htpasswd"
    entry = ["htpasswd", "-nbB", "-C", "5", "alice", "secret"]
    passwords.write_bytes(subprocess.run(entry, check=True, capture_output=True).stdout)
    (home / "root").mkdir()
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(home / "root")}},
        "http": {"addr": f"{address}:{port}"},
        "auth": {"htpasswd": {"realm": "fleet", "path": str(passwords)}},
    }
    file = home / "registry.yml"
    file.write_text(json.dumps(config))
    with program(["docker-registry", "serve", file], address, port, home / "registry.log"):
        yield port, passwords


def push(namespace, order):
    command = ["ip", "netns", "exec", namespace, sys.executable, HERE / "runner.py"]
    order = json.dumps(order)
    done = subprocess.run(command, input=order, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the runners failed: {done.stderr}")
    return json.loads(done.stdout)


def to_distribution(binary, namespace, address, order, through):
    with contextlib.ExitStack() as stack:
        home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        port, passwords = stack.enter_context(registry(home, address))
        ports = [port]
        if through.replicas:
            settings = {
                "store": {"filesystem": {"rootdirectory": str(home / "root")}},
                "access": {"mode": "htpasswd", "htpasswd": {"path": str(passwords)}},
                "discovery": {"enabled": True, "on_head": True, "sources": "any"},
            }
            upstream = f"http://{address}:{port}"
            wait = images_of(order).wait
            ways = replicas(through, binary, home, address, upstream, settings, wait)
            ports = stack.enter_context(ways)
        about = {"host": address, "ports": ports, "login": "alice:secret", "order": order}
        return push(namespace, {**about, "tokens": False, "space": "", "seed": 1})


@contextlib.contextmanager
def pulp(address):
    environment = dict(
        os.environ, CROSSMOUNT_PULP_HASHING="real", CROSSMOUNT_PULP_ADDRESS=address
    )
    command = [ROOT / "tests/pulp.sh", "serve"]
    pipe = subprocess.PIPE
    running = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    said = {}
    for line in running.stdout:
        key, found, value = line.strip().partition("=")
        if not found:
            break
        said[key] = value
    try:
        if "password" not in said:
            sys.exit("Pulp does not start")
        yield said
    finally:
        running.stdin.close()
        running.wait()


def to_pulp(binary, namespace, address, order, through, said):
    # The database is kept, so each run has bytes and names of its own.
    seed = f"{time.time_ns()}"
    space = f"fleet{seed}-"
    with contextlib.ExitStack() as stack:
        home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = int(said["api"])
        ports = [port]
        if through.replicas:
            shared = [f"{space}{level}/*" for level in ("base", "platform", "framework")]
            settings = {
                "port": int(said["public"]),
                "upstream": {"kind": "pulp"},
                "token_endpoint": {"cache": {"enabled": True}},
                "discovery": {
                    "enabled": True,
                    "on_head": True,
                    "sources": "any",
                    "shared_sources": shared,
                    "widen_scopes": True,
                },
            }
            upstream = f"http://{address}:{port}"
            # A HEAD waits for a whole push, and not only for an upload.
            ways = replicas(through, binary, home, address, upstream, settings, "25s")
            ports = stack.enter_context(ways)
        login = f"admin:{said['password']}"
        about = {"host": address, "ports": ports, "login": login, "order": order}
        return push(namespace, {**about, "tokens": True, "space": space, "seed": seed})


@dataclasses.dataclass(frozen=True)
class Through:
    """A way to the registry: directly, or through so many replicas of crossmount."""

    replicas: int
    with_redis: bool = False
    waits: bool = False

    def __str__(self):
        names = {0: "directly", 1: "one crossmount", 2: "two replicas"}
        waiting = f" that {'lets' if self.replicas == 1 else 'let'} HEADs wait" if self.waits else ""
        return names[self.replicas] + (" with Redis" if self.with_redis else "") + waiting


DIRECTLY, ONE, WAITING = Through(0), Through(1), Through(1, waits=True)
TWO, TWO_WITH_REDIS = Through(2), Through(2, with_redis=True)
TWO_WAITING = Through(2, with_redis=True, waits=True)


def images_of(order):
    return {**images.ORDERS, **images.CROWDS}[order]


def measure(registry, orders, ways, run):
    """These orders, each by all ways; the others are compared with the first way."""
    results = []
    for order in orders:
        fleet = images_of(order).fleet(1)
        sizes = {"unique": images.unique_bytes(fleet), "all": images.all_bytes(fleet)}
        for through in ways:
            found = run(order, through)
            about = {"registry": registry, "order": order, "through": str(through)}
            result = {**about, **sizes, **found}
            print(result, file=sys.stderr)
            results.append(result)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target/release/crossmount")
    parser.add_argument("--pulp", action="store_true", help="also in front of Pulp")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md and RESULTS.svg")
    options = parser.parse_args()
    # So that link and programs are taken down then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    if os.geteuid() != 0:
        sys.exit("fleet.py: making a slow link needs root")
    with link() as (namespace, address):
        about = (options.binary, namespace, address)

        def distribution(orders, ways):
            run = functools.partial(to_distribution, *about)
            return measure("distribution", orders, ways, run)

        results = distribution(images.ORDERS, (DIRECTLY, ONE, WAITING, TWO, TWO_WITH_REDIS, TWO_WAITING))
        results += distribution(images.CROWDS, (DIRECTLY, ONE, WAITING, TWO_WAITING))
        if options.pulp:
            with pulp(address) as said:
                results += measure(
                    "Pulp",
                    images.ORDERS,
                    (DIRECTLY, ONE, WAITING, TWO_WITH_REDIS),
                    lambda order, through: to_pulp(*about, order, through, said),
                )
    table = chart.table(results)
    print(table)
    missed = chart.missed(results)
    if options.write:
        (HERE / "RESULTS.md").write_text(table)
        (HERE / "RESULTS.svg").write_text(chart.picture(results))
    # Seconds are the machine's; bytes are not.
    if missed:
        sys.exit(f"more bytes than wanted were sent: {', '.join(missed)}")


if __name__ == "__main__":
    main()
