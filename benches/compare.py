"""Runs the comparison of compare.sh and writes benches/RESULTS.md."""

import argparse
import base64
import collections
import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import report
import tokens

HERE = pathlib.Path(__file__).parent
BLOB = b"the blob that is mounted"
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
USER, PASSWORD = "alice", "right"
CONNECTIONS, THREADS = 16, 2
TOKENS = 10000


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to serve mounts: `mode` is None for the registry alone."""

    access: str
    mode: str | None = None
    durability: str = "full"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def process(command, port, log):
    environment = {key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE"}
    with open(log, "wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not start:\n{pathlib.Path(log).read_text()}")
            time.sleep(0.01)
        yield running
    finally:
        running.kill()
        running.wait()


class Bench:
    """The folder, the credentials and the programs of one run."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.signer = tokens.Signer(folder)
        self.passwords = folder / "htpasswd"
        subprocess.run(
            ["htpasswd", "-cbB", "-C", "10", self.passwords, USER, PASSWORD],
            check=True, capture_output=True,
        )
        print(f"signing {TOKENS} tokens", file=sys.stderr)
        both, pull = ["pull", "push"], ["pull"]
        self.tokens = folder / "tokens"
        with multiprocessing.Pool() as pool, open(self.tokens, "w") as lines:
            names = [f"t/{at}" for at in range(TOKENS)]
            rights = [{name: both, "source": pull} for name in names]
            for name, token in zip(names, pool.imap(self.signer.token, rights, chunksize=100)):
                lines.write(f"{name} {token}\n")
        owner = {name: both for name in ("source", "proof", "warm")}
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.owners = {
            "none": None,
            "htpasswd": f"Basic {pair}",
            "token": f"Bearer {self.signer.token(owner)}",
        }

    def auth(self, access):
        token = {"issuer": tokens.ISSUER, "service": tokens.SERVICE}
        token["rootcertbundle"] = str(self.signer.certificate)
        return {
            "none": {},
            "htpasswd": {"htpasswd": {"path": str(self.passwords)}},
            "token": {"token": token},
        }[access]

    @contextlib.contextmanager
    def registry(self, access, home):
        port, root = free_port(), home / "store"
        auth = self.auth(access)
        for settings in auth.values():
            settings["realm"] = "http://bench.test/token"
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root)}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"},
        }
        if auth:
            config["auth"] = auth
        file = home / "registry.json"
        file.write_text(json.dumps(config))
        with process(["docker-registry", "serve", str(file)], port, home / "registry.log"):
            yield port, root

    @contextlib.contextmanager
    def crossmount(self, case, upstream, root, home, more=None):
        port, admin = free_port(), free_port()
        config = {
            "listen": {"address": f"127.0.0.1:{port}"},
            "admin": {"address": f"127.0.0.1:{admin}"},
            "upstream": {"url": f"http://127.0.0.1:{upstream}"},
            "store": {
                "filesystem": {"rootdirectory": str(root)},
                "durability": case.durability,
            },
            "access": {"mode": case.mode, **(self.auth(case.access) if case.mode == case.access else {})},
            "log": {"level": "warn"},
            **(more or {}),
        }
        file = home / "crossmount.json"
        file.write_text(json.dumps(config))
        with process([self.binary, "serve", "--config", str(file)], port, home / "crossmount.log"):
            yield port, admin

    def upload(self, port, repository, data, authorization):
        headers = {"Authorization": authorization} if authorization else {}
        base = f"http://127.0.0.1:{port}"
        begin = urllib.request.Request(
            f"{base}/v2/{repository}/blobs/uploads/", data=b"", method="POST", headers=headers
        )
        with urllib.request.urlopen(begin) as answer:
            location = answer.headers["Location"]
        location = location if location.startswith("http") else base + location
        digest = hashlib.sha256(data).hexdigest()
        glue = "&" if "?" in location else "?"
        end = urllib.request.Request(
            f"{location}{glue}digest=sha256:{digest}", data=data, method="PUT",
            headers={**headers, "Content-Type": "application/octet-stream"},
        )
        with urllib.request.urlopen(end) as answer:
            assert answer.status == 201, answer.status

    def measure(self, case, seconds):
        """Mounts into new repositories for some seconds; stores are new each time."""
        # Stores stay until the end: where inodes have just been freed, new folders cost more.
        home = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        owner = self.owners[case.access]
        with contextlib.ExitStack() as stack:
            port, root = stack.enter_context(self.registry(case.access, home))
            self.upload(port, "source", BLOB, owner)
            if case.mode:
                port, admin = stack.enter_context(self.crossmount(case, port, root, home))
                self.upload(port, "proof", b"proof", owner)
            if case.access != "token":
                self.load(port, "warm", 0.5, case)
            # What was written before is not to be waited for now.
            os.sync()
            before = mounted(admin) if case.mode else 0
            result = self.load(port, "t", seconds, case)
            result["links"] = links(root, "t")
            if case.mode:
                result["mounted"] = mounted(admin) - before
        return result

    def load(self, port, prefix, seconds, case):
        environment = {**os.environ, "PREFIX": prefix, "DIGEST": DIGEST, "THREADS": str(THREADS)}
        if case.access == "token":
            environment["TOKENS"] = str(self.tokens)
        elif self.owners[case.access]:
            environment["AUTHORIZATION"] = self.owners[case.access]
        command = ["wrk", f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", "30s", "-s", str(HERE / "mounts.lua"), f"http://127.0.0.1:{port}"]
        output = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout
        result = json.loads(output.strip().splitlines()[-1])
        result["rate"] = result["answers"] * 1e6 / result["microseconds"]
        return result


def mounted(admin):
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        int(line.split()[-1])
        for line in lines
        if line.startswith('crossmount_mounts_total{outcome="mounted"')
    )


def links(root, prefix):
    top = root / "docker/registry/v2/repositories" / prefix
    return sum("link" in files for _, _, files in os.walk(top))


def faults(result):
    """What keeps a measurement from being counted."""
    found = [f"{result[kind]} {kind}" for kind in ("refused", "broken") if result[kind]]
    # What is on its way when wrk ends is linked, and not counted as an answer.
    if not 0 <= result["links"] - result["answers"] <= 2 * CONNECTIONS:
        found.append(f"{result['answers']} answers and {result['links']} links")
    if "mounted" in result and not 0 <= result["mounted"] - result["answers"] <= 2 * CONNECTIONS:
        found.append(f"{result['answers']} answers and {result['mounted']} mounted")
    return found


def cases():
    for access in ("none", "htpasswd", "token"):
        yield Case(access)
        yield Case(access, access, "full")
        yield Case(access, access, "file")
        if access != "none":
            yield Case(access, "upstream", "full")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    base = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(dir=base) as folder:
        bench = Bench(os.path.abspath(options.binary), pathlib.Path(folder))
        results = collections.defaultdict(list)
        for turn in range(options.rounds):
            for case in cases():
                result = bench.measure(case, options.seconds)
                results[case].append(result)
                said = "; ".join(faults(result))
                print(f"{turn + 1} {case}: {result['rate']:.0f}/s {said}", file=sys.stderr)
        text = report.write(bench.binary, folder, options, results, faults)
    options.results.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
