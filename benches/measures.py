"""What is measured: each measure has sides, which take turns, and returns figures for one of them."""

import contextlib
import hashlib
import http.client
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import load
import stand
from stand import BLOB, Case

ABSENT = "sha256:" + hashlib.sha256(b"absent").hexdigest()
ALONE, FLOOR = "the registry alone", "the floor"
OPEN = Case("none", "none", "full")
GIBIBYTE = 1 << 30


def name_of(case):
    return f"crossmount `{case.mode}`, {case.durability}" if case.mode else ALONE


class Measure:
    """`sides` are names; `run` measures one."""

    title = ""
    about = ""
    # Of the registry.
    scheme = "http"

    def __init__(self, bench, options):
        self.bench, self.seconds, self.floor = bench, options.seconds, options.floor

    def one(self, side):
        with contextlib.ExitStack() as stack:
            return self.run(side, stack, self.bench.home())

    def serve(self, case, stack, home, more=None):
        """A new store with the source's blob; returns port, root, and crossmount's admin port."""
        bench, owner = self.bench, self.bench.owners[case.access]
        port, root = stack.enter_context(bench.registry(case.access, home, self.scheme))
        stand.upload(port, "source", BLOB, owner, self.scheme)
        admin = None
        if case.mode:
            if self.scheme == "https":
                more = {**(more or {}), **bench.over_tls(port)}
            port, admin, _ = stack.enter_context(bench.crossmount(case, port, root, home, more))
            stand.upload(port, "proof", b"proof", owner)
        return port, root, admin

    def credentials(self, case):
        if case.access == "token":
            return {"TOKENS": self.bench.tokens}
        owner = self.bench.owners[case.access]
        return {"AUTHORIZATION": owner} if owner else {}


class Mounts(Measure):
    """Into new repositories, through every kind of access."""

    connections = 16

    def __init__(self, bench, options, access):
        super().__init__(bench, options)
        self.access = access
        cases = [Case(access), Case(access, access, "full"), Case(access, access, "file")]
        self.cases = {name_of(case): case for case in cases}
        self.sides = list(self.cases)
        if access == "none":
            self.sides += [f"{FLOOR}, full", f"{FLOOR}, file"]
        self.title = {
            "none": "Mounts into new repositories, no access control",
            "htpasswd": "Mounts into new repositories, passwords with bcrypt of cost 10",
            "token": "Mounts into new repositories, an RS256 token for each",
        }[access]

    def run(self, side, stack, home):
        if side not in self.cases:
            return self.at_the_floor(side.rsplit(" ", 1)[1], stack, home)
        case = self.cases[side]
        port, root, admin = self.serve(case, stack, home)
        sent = self.credentials(case)
        if case.access != "token":
            load.mounts(port, "warm", 1, self.connections, **sent)
        # What was written before is not to be waited for now.
        os.sync()
        before = stand.mounted(admin) if admin else 0
        result = load.mounts(port, "t", self.seconds, self.connections, **sent)
        result["links"] = stand.links(root, "t")
        if admin:
            result["mounted"] = stand.mounted(admin) - before
        self.check(result)
        return result

    def at_the_floor(self, durability, stack, home):
        _, root, _ = self.serve(Case("none"), stack, home)
        load.floor(self.floor, root, durability, self.connections, 1)
        repositories = root / "docker/registry/v2/repositories"
        (repositories / "t").rename(repositories / "warm")
        os.sync()
        return load.floor(self.floor, root, durability, self.connections, self.seconds)

    def check(self, result):
        """Every answer is a 201 with its link; what is on its way when wrk ends has no answer."""
        assert not result["refused"] and not result["broken"], result
        more = 2 * self.connections
        assert 0 <= result["links"] - result["answers"] <= more, result
        if "mounted" in result:
            assert 0 <= result["mounted"] - result["answers"] <= more, result


class OneConnection(Mounts):
    """The same, one after another."""

    connections = 1

    def __init__(self, bench, options):
        super().__init__(bench, options, "none")
        self.title = "Mounts into new repositories, one after another"


class OnImage(Mounts):
    """On a filesystem in a file, which compare.sh has mounted."""

    def __init__(self, bench, options, place, connections):
        super().__init__(bench, options, "none")
        self.place, self.connections = place, connections
        cases = [Case("none")] + [Case("none", "none", it) for it in ("full", "file", "none")]
        self.cases = {name_of(case): case for case in cases}
        self.sides = [*self.cases, f"{FLOOR}, ordered"]
        times = "one after another" if connections == 1 else f"{connections} connections"
        self.title = f"Mounts into new repositories on {place.name}, {times}"

    def one(self, side):
        with contextlib.ExitStack() as stack:
            return self.run(side, stack, pathlib.Path(tempfile.mkdtemp(dir=self.place)))


class Remounts(Measure):
    """Of a link that is older than a minute: it reached the disk long ago."""

    title = "Mounts of an existing link"
    sides = [ALONE, name_of(OPEN)]

    def run(self, side, stack, home):
        case = Case("none") if side == ALONE else OPEN
        port, root, _ = self.serve(case, stack, home)
        stand.upload(port, "target", BLOB)
        old = time.time() - 3600
        for file in root.glob("docker/registry/v2/repositories/target/_layers/sha256/*/link"):
            os.utime(file, (old, old))
        load.mounts(port, "t", 1, TARGET="target")
        result = load.mounts(port, "t", self.seconds, TARGET="target")
        assert not result["refused"] and not result["broken"], result
        return result


class Fallbacks(Measure):
    """Of a layer that no repository has: a plain upload is begun, by the registry in either case."""

    title = "Mounts that miss"
    sides = [ALONE, name_of(OPEN)]

    def run(self, side, stack, home):
        case = Case("none") if side == ALONE else OPEN
        port, root, _ = self.serve(case, stack, home)
        scheme = self.scheme if side == ALONE else "http"
        load.mounts(port, "warm", 1, scheme=scheme, DIGEST=ABSENT)
        os.sync()
        result = load.mounts(port, "t", self.seconds, scheme=scheme, DIGEST=ABSENT)
        assert not result["refused"] and not result["broken"], result
        begun = sum(1 for _ in root.glob("docker/registry/v2/repositories/t/*/*/_uploads/*"))
        assert begun >= result["answers"], (begun, result)
        return result


class SecureFallbacks(Fallbacks):
    """The same in front of a registry with https; the client of crossmount uses http."""

    scheme = "https"
    title = "Mounts that miss, the registry with https"


class SmallUploads(Measure):
    """Blobs of 1 kB to a registry with https, on one connection of the client's for all of them.

    No connection to the registry is left from the client before.
    """

    scheme, blobs, pushes = "https", 10, 7
    title = f"Upload of {blobs} blobs of 1 kB, the registry with https"
    sides = [ALONE, name_of(OPEN)]

    def run(self, side, stack, home):
        case = Case("none") if side == ALONE else OPEN
        port, _, _ = self.serve(case, stack, home)
        seconds = []
        for push in range(self.pushes):
            time.sleep(1)
            began = time.monotonic()
            with contextlib.closing(client_of(port, side == ALONE)) as client:
                for blob in range(self.blobs):
                    upload_on(client, f"{push} {blob} ".encode().ljust(1000, b"x"))
            seconds.append(time.monotonic() - began)
        return {"seconds": statistics.median(seconds)}


def client_of(port, is_https):
    if is_https:
        return http.client.HTTPSConnection("127.0.0.1", port, context=stand.unverified())
    return http.client.HTTPConnection("127.0.0.1", port)


def upload_on(client, data):
    """As docker uploads a blob, but with its length: POST, PATCH, PUT."""

    def ask(method, target, body, status):
        kind = {"Content-Type": "application/octet-stream"}
        client.request(method, target, body, kind)
        answer = client.getresponse()
        answer.read()
        assert answer.status == status, answer.status
        return answer.headers["Location"]

    session = ask("POST", "/v2/small/blobs/uploads/", b"", 202)
    session = ask("PATCH", session, data, 202)
    digest = hashlib.sha256(data).hexdigest()
    ask("PUT", f"{session}&digest=sha256:{digest}", b"", 201)


PROXIES = ["nginx", "haproxy", "crossmount"]


class Front:
    """A registry with an image, and every proxy before it at once."""

    def __init__(self, bench, stack, small=b"x" * 1024):
        home = bench.home()
        registry, self.root = stack.enter_context(bench.registry("none", home))
        self.digest = stand.upload(registry, "image", small)
        stand.manifest(registry, "image", "latest")
        nginx, nginx_process = stack.enter_context(bench.nginx(registry, home))
        haproxy, haproxy_process = stack.enter_context(bench.haproxy(registry, home))
        own, self.admin, process = stack.enter_context(
            bench.crossmount(OPEN, registry, self.root, home)
        )
        stand.upload(own, "proof", b"proof")
        self.ports = {"directly": registry, "nginx": nginx, "haproxy": haproxy, "crossmount": own}
        self.processes = {
            "nginx": nginx_process.pid, "haproxy": haproxy_process.pid, "crossmount": process.pid
        }
        self.paths = {
            "GET /v2/": "/v2/",
            "a blob of 1 KiB": f"/v2/image/blobs/{self.digest}",
            "a manifest": "/v2/image/manifests/latest",
        }


class Passing(Measure):
    """What is no mount."""

    def __init__(self, bench, options, what, connections=16):
        super().__init__(bench, options)
        self.what, self.connections = what, connections
        self.sides = ["directly", *PROXIES]
        times = "one after another" if connections == 1 else f"{connections} connections"
        self.title = f"{what}, {times}"
        self.front = None

    def one(self, side):
        if self.front is None:
            self.kept = contextlib.ExitStack()
            self.front = Front(self.bench, self.kept)
            for port in self.front.ports.values():
                load.gets(port, self.front.paths[self.what], 1, self.connections)
        return load.gets(self.front.ports[side], self.front.paths[self.what], self.seconds, self.connections)

    def end(self):
        self.kept.close()
        self.front = None


class Beside(Measure):
    """A GET that passes through, alone and while other clients mount."""

    title = "GET of a blob, one after another, while 32 connections mount"
    sides = ["alone", "beside mounts"]

    def run(self, side, stack, home):
        port, root, _ = self.serve(OPEN, stack, home)
        path = f"/v2/source/blobs/{stand.DIGEST}"
        load.gets(port, path, 1, 1)
        if side == "alone":
            return load.gets(port, path, self.seconds, 1)
        found = {}
        mounts = threading.Thread(
            target=lambda: found.update(load.mounts(port, "t", self.seconds + 2, 32))
        )
        mounts.start()
        time.sleep(1)
        result = load.gets(port, path, self.seconds, 1)
        mounts.join()
        assert not found["refused"] and not found["broken"], found
        return result


class Transfers(Measure):
    """One body of 1 GiB, up or down."""

    sides = ["directly", *PROXIES]

    def __init__(self, bench, options, way):
        super().__init__(bench, options)
        self.way, self.title, self.front = way, f"1 GiB {way}", None

    def one(self, side):
        if self.front is None:
            self.kept = contextlib.ExitStack()
            self.front = Front(self.bench, self.kept)
            self.file = self.front.root.parent / "large"
            with open(self.file, "wb") as file:
                for at in range(64):
                    file.write(at.to_bytes(8, "big") * (GIBIBYTE // 64 // 8))
            self.digest = "sha256:" + hashlib.file_digest(open(self.file, "rb"), "sha256").hexdigest()
            self.up("directly")
        os.sync()
        before, pid = None, self.front.processes.get(side)
        if pid:
            before = load.resident(pid)
        with load.Highest(pid or os.getpid()) as highest:
            seconds = self.up(side) if self.way == "up" else self.down(side)
        result = {"rate": GIBIBYTE / seconds / (1 << 20), "seconds": seconds}
        if before is not None:
            result["growth"] = highest.bytes - before
        return result

    def up(self, side):
        base = f"http://127.0.0.1:{self.front.ports[side]}"
        _, headers = load.curl("-X", "POST", "-d", "", f"{base}/v2/large/blobs/uploads/")
        location = headers["location"][0]
        # Unknown until then: the blob that is there already would be kept, and the file not moved.
        shutil.rmtree(self.front.root / "docker/registry/v2/repositories/large/_layers", True)
        for data in self.front.root.glob(f"docker/registry/v2/blobs/sha256/*/{self.digest[7:]}"):
            shutil.rmtree(data)
        seconds, _ = load.curl(
            "-T", self.file, "-H", "Content-Type: application/octet-stream", "-H", "Expect:",
            f"{location}&digest={self.digest}",
        )
        return seconds

    def down(self, side):
        base = f"http://127.0.0.1:{self.front.ports[side]}"
        return load.curl(f"{base}/v2/large/blobs/{self.digest}")[0]

    def end(self):
        self.kept.close()
        self.front = None


class Footprint(Measure):
    """Memory of one that has just started, of open connections, and how soon it answers."""

    title = "Memory and start"
    sides = PROXIES
    connections = 1000

    def run(self, side, stack, home):
        port, root = stack.enter_context(self.bench.registry("none", home))
        began = None
        if side == "crossmount":
            file, own, _ = self.bench.configure(OPEN, port, root, home)
            root.mkdir(exist_ok=True)
            began = time.monotonic()
            process = subprocess.Popen([self.bench.binary, "serve", "--config", str(file)])
            stack.callback(lambda: (process.kill(), process.wait()))
            answered(own)
            began = time.monotonic() - began
        else:
            own, process = stack.enter_context(getattr(self.bench, side)(port, home))
            answered(own)
        time.sleep(0.5)
        idle = load.resident(process.pid)
        # As many as there will be, once: what is kept afterwards does not belong to a connection.
        clients = [open_connection(own) for _ in range(self.connections)]
        time.sleep(0.2)
        each = (load.resident(process.pid) - idle) / self.connections
        for client in clients:
            client.close()
        result = {"idle": idle, "each": each}
        if began is not None:
            result["start"] = began
        return result


def open_connection(port):
    client = socket.create_connection(("127.0.0.1", port))
    ask(client)
    return client


def ask(client):
    client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: bench\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\n{}"):
        more = client.recv(4096)
        assert more, answer
        answer += more
    assert answer.startswith(b"HTTP/1.1 200"), answer


def answered(port):
    """Waits until the registry's own answer comes through a port."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            open_connection(port).close()
            return
        assert time.monotonic() < deadline, "no answer"
        time.sleep(0.0005)


def all_of(bench, options):
    images = {}
    for place in options.images or []:
        for connections, key in ((16, place.name), (1, f"{place.name}_one")):
            images[key] = OnImage(bench, options, place, connections)
    return {
        **images,
        "mounts": Mounts(bench, options, "none"),
        "passwords": Mounts(bench, options, "htpasswd"),
        "tokens": Mounts(bench, options, "token"),
        "one": OneConnection(bench, options),
        "remounts": Remounts(bench, options),
        "fallbacks": Fallbacks(bench, options),
        "secure_fallbacks": SecureFallbacks(bench, options),
        "small_uploads": SmallUploads(bench, options),
        "base": Passing(bench, options, "GET /v2/"),
        "blob": Passing(bench, options, "a blob of 1 KiB"),
        "manifest": Passing(bench, options, "a manifest"),
        "latency": Passing(bench, options, "a blob of 1 KiB", 1),
        "beside": Beside(bench, options),
        "up": Transfers(bench, options, "up"),
        "down": Transfers(bench, options, "down"),
        "footprint": Footprint(bench, options),
    }
