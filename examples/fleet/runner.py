"""Pushes a fleet as runners that know nothing do: each asks for every layer in its target alone.

Runs behind the slow link. Takes its order as JSON on standard input, and says as JSON what it took.
"""

import base64
import concurrent.futures
import http.client
import itertools
import json
import sys
import threading
import time
import urllib.parse

import images


class Pusher:
    """Pushes each image to the next of the replicas, as a load balancer would."""

    def __init__(self, order):
        self.host, self.ports = order["host"], itertools.cycle(order["ports"])
        self.login = "Basic " + base64.b64encode(order["login"].encode()).decode()
        self.tokens, self.space = order["tokens"], order["space"]
        self.sent = 0
        self.lock = threading.Lock()

    def warm_up(self, ports):
        """Sends a few bytes through each process: a crossmount verifies the store by them."""
        for port in ports:
            target = f"{self.space}warm-up/{port}"
            connection = http.client.HTTPConnection(self.host, port, timeout=600)
            login = self._token(connection, target) if self.tokens else self.login
            data = str(port).encode()
            self._upload(connection, login, target, data, images.digest_of(data))
        self.sent = 0

    def push(self, image):
        target = f"{self.space}{image.name}"
        with self.lock:
            port = next(self.ports)
        connection = http.client.HTTPConnection(self.host, port, timeout=600)
        login = self._token(connection, target) if self.tokens else self.login
        for data in image.blobs():
            digest = images.digest_of(data)
            path = f"/v2/{target}/blobs/{digest}"
            answer = self._ask(connection, login, "HEAD", path, None, (200, 302, 404))
            if answer.status == 404:
                self._upload(connection, login, target, data, digest)
        path = f"/v2/{target}/manifests/v1"
        self._ask(connection, login, "PUT", path, image.manifest, (201,), images.MANIFEST)

    def _token(self, connection, target):
        scope = urllib.parse.quote(f"repository:{target}:pull,push", safe="")
        # Pulp takes a token only for the address at which the client asked for it.
        service = urllib.parse.quote(f"{self.host}:{connection.port}", safe="")
        path = f"/token/?service={service}&scope={scope}"
        answer = self._ask(connection, self.login, "GET", path, None, (200,))
        return "Bearer " + json.loads(answer.content)["token"]

    def _upload(self, connection, login, target, data, digest):
        path = f"/v2/{target}/blobs/uploads/"
        # Pulp turns some away that make repositories at the same time; clients begin again.
        for attempt in range(20):
            answer = self._ask(connection, login, "POST", path, b"", (202, 429, 500))
            if answer.status == 202:
                break
            time.sleep(0.1 * attempt)
        kind = "application/octet-stream"
        answer = self._ask(connection, login, "PATCH", _path(answer), data, (202,), kind)
        place = _path(answer)
        place += "&" if "?" in place else "?"
        place += "digest=" + urllib.parse.quote(digest, safe="")
        self._ask(connection, login, "PUT", place, b"", (201,))

    def _ask(self, connection, login, method, path, body, expected, kind=None):
        headers = {"Authorization": login}
        if kind:
            headers["Content-Type"] = kind
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.content = answer.read()
        if answer.status not in expected:
            sys.exit(f"{method} {path}: {answer.status} {answer.content[:300]!r}")
        with self.lock:
            self.sent += len(body or b"")
        return answer


def _path(answer):
    location = urllib.parse.urlsplit(answer.headers["Location"])
    return location.path + (f"?{location.query}" if location.query else "")


def main():
    order = json.load(sys.stdin)
    how = {**images.ORDERS, **images.CROWDS}[order["order"]]
    fleet = how.fleet(order["seed"])
    pusher = Pusher(order)
    pusher.warm_up(order["ports"])
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(how.width) as pool:
        for stage in how.stages(fleet):
            list(pool.map(pusher.push, stage))
    print(json.dumps({"seconds": time.monotonic() - began, "sent": pusher.sent}))


if __name__ == "__main__":
    main()
