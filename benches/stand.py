"""The programs that are measured: the registry, crossmount and the plain proxies, each on a free port."""

import base64
import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

import tokens

BLOB = b"the blob that is mounted"
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
USER, PASSWORD = "alice", "right"
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
        # The first process of nginx and haproxy ends their other processes.
        running.terminate()
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


class Stand:
    """The directory, the credentials and the programs of one run."""

    def __init__(self, binary, directory, count=TOKENS):
        self.binary, self.directory = binary, directory
        self.signer = tokens.Signer(directory)
        self.passwords = directory / "htpasswd"
        subprocess.run(
            ["htpasswd", "-cbB", "-C", "10", self.passwords, USER, PASSWORD],
            check=True, capture_output=True,
        )
        self.certificate, self.key = directory / "localhost.pem", directory / "localhost.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            + ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            + ["-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True,
        )
        self.tokens = directory / "tokens"
        self.sign(count)
        owner = {name: ["pull", "push"] for name in ("source", "proof", "warm")}
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.owners = {
            "none": None,
            "htpasswd": f"Basic {pair}",
            "token": f"Bearer {self.signer.token(owner)}",
        }

    def sign(self, count):
        """A token for each of many targets, one a line."""
        print(f"signing {count} tokens", file=sys.stderr)
        names = [f"t/{at}" for at in range(count)]
        rights = [{name: ["pull", "push"], "source": ["pull"]} for name in names]
        with multiprocessing.Pool() as pool, open(self.tokens, "w") as lines:
            for name, token in zip(names, pool.imap(self.signer.token, rights, chunksize=100)):
                lines.write(f"{name} {token}\n")

    def home(self):
        """A directory of its own: where inodes have just been freed, new directories cost more."""
        return pathlib.Path(tempfile.mkdtemp(dir=self.directory))

    def auth(self, access):
        token = {"issuer": tokens.ISSUER, "service": tokens.SERVICE}
        token["rootcertbundle"] = str(self.signer.certificate)
        return {
            "none": {},
            "htpasswd": {"htpasswd": {"path": str(self.passwords)}},
            "token": {"token": token},
        }[access]

    @contextlib.contextmanager
    def registry(self, access, home, scheme="http"):
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
        if scheme == "https":
            files = {"certificate": str(self.certificate), "key": str(self.key)}
            config["http"]["tls"] = files
        if auth:
            config["auth"] = auth
        file = home / "registry.json"
        file.write_text(json.dumps(config))
        with process(["docker-registry", "serve", str(file)], port, home / "registry.log"):
            yield port, root

    def over_tls(self, upstream):
        """For crossmount in front of a registry with https."""
        url = f"https://localhost:{upstream}"
        return {"upstream": {"url": url, "ca_certificate": str(self.certificate)}}

    @contextlib.contextmanager
    def crossmount(self, case, upstream, root, home, more=None):
        """Yields its port, its admin port and its process."""
        file, port, admin = self.configure(case, upstream, root, home, more)
        with process([self.binary, "serve", "--config", str(file)], port, home / "crossmount.log") as it:
            yield port, admin, it

    def configure(self, case, upstream, root, home, more=None):
        port, admin = free_port(), free_port()
        own = self.auth(case.access) if case.mode == case.access else {}
        config = {
            "listen": {"address": f"127.0.0.1:{port}"},
            "admin": {"address": f"127.0.0.1:{admin}"},
            "upstream": {"url": f"http://127.0.0.1:{upstream}"},
            "store": {
                "filesystem": {"rootdirectory": str(root)},
                "durability": case.durability,
            },
            "access": {"mode": case.mode, **own},
            "log": {"level": "warn"},
            **(more or {}),
        }
        file = home / "crossmount.json"
        file.write_text(json.dumps(config))
        return file, port, admin

    @contextlib.contextmanager
    def nginx(self, upstream, home):
        """As the registry's documentation has it, and with kept connections and streamed bodies."""
        port, file = free_port(), home / "nginx.conf"
        file.write_text(f"""
daemon off;
pid {home}/nginx.pid;
error_log stderr;
worker_processes auto;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  upstream registry {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  {"".join(f"{kind}_temp_path {home}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 1000000;
    client_max_body_size 0;
    location / {{
      proxy_pass http://registry;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_read_timeout 900;
    }}
  }}
}}
""")
        with process(["nginx", "-p", str(home), "-c", str(file)], port, home / "nginx.log") as it:
            yield port, it

    @contextlib.contextmanager
    def haproxy(self, upstream, home):
        port, file = free_port(), home / "haproxy.cfg"
        file.write_text(f"""
global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 900s
  timeout server 900s
  http-reuse safe
  option forwardfor
frontend clients
  bind 127.0.0.1:{port}
  default_backend registry
backend registry
  server one 127.0.0.1:{upstream}
""")
        with process(["haproxy", "-db", "-f", str(file)], port, home / "haproxy.log") as it:
            yield port, it


def tools():
    return {name: shutil.which(name) for name in ("docker-registry", "nginx", "haproxy", "wrk")}


def unverified():
    """For registries on this machine, whose certificate has just been made."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def upload(port, repository, data, authorization=None, scheme="http"):
    """A blob by a POST and a PUT; returns its digest."""
    headers = {"Authorization": authorization} if authorization else {}
    base = f"{scheme}://127.0.0.1:{port}"
    context = unverified() if scheme == "https" else None
    begin = urllib.request.Request(
        f"{base}/v2/{repository}/blobs/uploads/", data=b"", method="POST", headers=headers
    )
    with urllib.request.urlopen(begin, context=context) as answer:
        location = answer.headers["Location"]
    location = location if location.startswith("http") else base + location
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    glue = "&" if "?" in location else "?"
    end = urllib.request.Request(
        f"{location}{glue}digest={digest}", data=data, method="PUT",
        headers={**headers, "Content-Type": "application/octet-stream"},
    )
    with urllib.request.urlopen(end, context=context) as answer:
        assert answer.status == 201, answer.status
    return digest


def manifest(port, repository, tag):
    """A manifest with one layer, in a repository that has none yet."""
    config, layer = b"{}", b"layer of " + repository.encode()
    described = [
        {"mediaType": kind, "size": len(data), "digest": upload(port, repository, data)}
        for kind, data in (
            ("application/vnd.docker.container.image.v1+json", config),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", layer),
        )
    ]
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    body = {"schemaVersion": 2, "mediaType": kind, "config": described[0], "layers": described[1:]}
    put = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/{repository}/manifests/{tag}",
        data=json.dumps(body).encode(), method="PUT", headers={"Content-Type": kind},
    )
    with urllib.request.urlopen(put) as answer:
        assert answer.status == 201, answer.status


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
