#!/usr/bin/env python3
"""Pushes images to a real Pulp, directly and through crossmount by turns; writes PULP.md.

Pulp hashes passwords as it does outside of tests. Every image has four layers of 5 MiB that
another repository holds, and one of its own, and goes into a repository of its own.
"""

import argparse
import base64
import hashlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import report

ROOT = Path(__file__).resolve().parent.parent
LAYER = 5 * 1024 * 1024
SHARED = 4
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# How clients take tokens, in words, and what is to be reached.
HABITS = {
    "each": ("a token for each mount and upload, with all scopes of the push", 2.5),
    "mounts": ("one for the push, and one for each mount, as docker does", None),
    "kept": ("one for the push and one for all mounts, as skopeo does", None),
}


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def quoted(text):
    return urllib.parse.quote(text, safe="")


class Pulp:
    """A real one, which ends with this process."""

    def __init__(self):
        environment = dict(os.environ, CROSSMOUNT_PULP_HASHING="real")
        self.process = subprocess.Popen(
            [ROOT / "tests/pulp.sh", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        said = {}
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
            key, _, value = line.strip().partition("=")
            said[key] = value
        else:
            sys.exit("Pulp did not start")
        self.port, self.public = int(said["api"]), int(said["public"])
        self.password = said["password"]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Crossmount:
    """In front of Pulp, remembering tokens."""

    def __init__(self, binary, pulp):
        config = {
            "listen": {"address": f"127.0.0.1:{pulp.public}"},
            "admin": {"address": "127.0.0.1:0"},
            "upstream": {"url": f"http://127.0.0.1:{pulp.port}", "kind": "pulp"},
            "token_endpoint": {"cache": {"enabled": True}},
            "shutdown": {"drain_delay": "0s"},
            "log": {"level": "warn"},
        }
        self.home = tempfile.TemporaryDirectory()
        file = Path(self.home.name) / "crossmount.yaml"
        file.write_text(json.dumps(config))
        self.process = subprocess.Popen([binary, "serve", "--config", file])
        self.port = pulp.public
        for _ in range(200):
            try:
                ask(self.port, "GET", "/v2/")
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("crossmount did not start")

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.home.cleanup()


def ask(port, method, target, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = dict(headers or {})
    if body is None and method in ("POST", "PUT"):
        headers["Content-Length"] = "0"
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def wanted(asked, status):
    answer, content = asked
    if answer.status != status:
        sys.exit(f"{answer.status} instead of {status}: {content[:500]!r}")
    return answer, content


class Client:
    """Pushes one image, with tokens as one of the clients in HABITS takes them."""

    def __init__(self, port, login, target, source, habit):
        self.port, self.target, self.source, self.habit = port, target, source, habit
        self.login = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        self.kept = {}
        self.header = None
        self.fetched = 0

    def token(self, is_mount=False):
        """The header with a token for a mount, or for anything else in the target."""
        names_source = is_mount or self.habit == "each"
        is_kept = self.habit == "kept" or (self.habit == "mounts" and not is_mount)
        if not is_kept or names_source not in self.kept:
            scopes = [f"repository:{self.target}:pull,push"]
            if names_source:
                scopes.append(f"repository:{self.source}:pull")
            query = f"service={quoted(f'127.0.0.1:{self.port}')}"
            query += "".join(f"&scope={quoted(scope)}" for scope in scopes)
            _, content = wanted(ask(self.port, "GET", f"/token/?{query}", self.login), 200)
            self.kept[names_source] = json.loads(content)["token"]
            self.fetched += 1
        self.header = {"Authorization": f"Bearer {self.kept[names_source]}"}
        return self.header

    def path(self, rest):
        return f"/v2/{self.target}/{rest}"

    def upload(self, data):
        headers = self.token()
        answer, _ = wanted(ask(self.port, "POST", self.path("blobs/uploads/"), headers), 202)
        place = answer.headers["Location"]
        kind = {**headers, "Content-Type": "application/octet-stream"}
        wanted(ask(self.port, "PATCH", place, kind, data), 202)
        wanted(ask(self.port, "PUT", f"{place}?digest={quoted(digest_of(data))}", headers), 201)

    def is_there(self, digest):
        # With whatever token there is: all of them are good for the target.
        headers = self.header or self.token()
        answer, _ = ask(self.port, "HEAD", self.path(f"blobs/{digest}"), headers)
        return answer.status == 302

    def mount(self, digest):
        headers = self.token(is_mount=True)
        query = f"from={quoted(self.source)}&mount={quoted(digest)}"
        wanted(ask(self.port, "POST", self.path(f"blobs/uploads/?{query}"), headers), 201)

    def manifest(self, content):
        headers = {**self.token(), "Content-Type": MANIFEST}
        wanted(ask(self.port, "PUT", self.path("manifests/v1"), headers, content), 201)


class Image:
    def __init__(self, layers):
        self.layers = layers
        diffs = [digest_of(layer) for layer in layers]
        rootfs = {"type": "layers", "diff_ids": diffs}
        config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
        self.config = json.dumps(config).encode()
        described = [self.described(layer, "layer.v1.tar") for layer in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.described(self.config, "config.v1+json"),
            "layers": described,
        }
        self.manifest = json.dumps(manifest).encode()

    @staticmethod
    def described(data, kind):
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": digest_of(data), "size": len(data)}

    def push(self, client):
        for number, layer in enumerate(self.layers):
            digest = digest_of(layer)
            if client.is_there(digest):
                sys.exit(f"{digest} is in {client.target} already")
            if client.source and number < SHARED:
                client.mount(digest)
            else:
                client.upload(layer)
        client.upload(self.config)
        client.manifest(self.manifest)


def measure(binary, rounds):
    pulp = Pulp()
    crossmount = Crossmount(binary, pulp)
    login = f"admin:{pulp.password}"
    run = f"bench{time.time_ns()}"
    shared = [random.randbytes(LAYER) for _ in range(SHARED)]
    source = f"{run}/base"
    Image(shared).push(Client(pulp.port, login, source, None, "kept"))
    found = {}
    sides = [("direct", pulp.port), ("crossmount", crossmount.port)]
    for number in range(rounds):
        for habit in HABITS:
            for side, port in sides if number % 2 else reversed(sides):
                image = Image([*shared, random.randbytes(LAYER)])
                target = f"{run}/{side}-{habit}-{number}"
                client = Client(port, login, target, source, habit)
                began = time.monotonic()
                image.push(client)
                took = time.monotonic() - began
                found.setdefault((habit, side), []).append((took, client.fetched))
    crossmount.end()
    pulp.end()
    return found


def lines(found, rounds):
    yield "# Results in front of Pulp"
    yield ""
    yield (
        "Written by `./benches/pulp.sh`. An image of four layers of 5 MiB that another repository "
        "holds and one of its own is pushed into a new repository, by turns to Pulp directly and "
        "through crossmount with `token_endpoint.cache`. Pulp hashes passwords as it does by "
        "default. Absolute figures mean little: machines are shared."
    )
    yield ""
    yield f"- machine: {report.processor()}, Linux {os.uname().release}"
    yield f"- pulp-container 2.30.0, PostgreSQL without sync; medians of {rounds} rounds"
    yield ""
    yield "| the client fetches | tokens | directly, s | through crossmount, s | as fast as directly | goal |"
    yield "|---|---|---|---|---|---|"
    for habit, (words, goal) in HABITS.items():
        times = [
            statistics.median(took for took, _ in found[habit, side])
            for side in ("direct", "crossmount")
        ]
        ratio = times[0] / times[1]
        reached = "" if goal is None else f"{goal:g}: {'reached' if ratio >= goal else 'MISSED'}"
        tokens = found[habit, "direct"][0][1]
        yield (
            f"| {words} | {tokens} | {times[0]:.2f} | {times[1]:.2f} | {ratio:.2f} | {reached} |"
        )
    yield ""
    yield "Tokens with the same scopes are fetched from Pulp once in `ttl`; the first of each costs what it costs."


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    text = "\n".join(lines(measure(options.binary, options.rounds), options.rounds)) + "\n"
    (ROOT / "benches/PULP.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
