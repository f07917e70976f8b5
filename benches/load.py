"""Load: wrk, the floor's loop, curl; each returns what it measured."""

import json
import os
import pathlib
import subprocess
import threading
import time

from stand import DIGEST

HERE = pathlib.Path(__file__).parent


def wrk(script, port, seconds, connections=16, path="", threads=None, scheme="http", **environment):
    """Runs one of the scripts beside this file; keyword arguments are its environment."""
    threads = threads or min(2, connections)
    known = {"FIGURES": str(HERE / "figures.lua"), "THREADS": str(threads)}
    known.update({key: str(value) for key, value in environment.items()})
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "30s", "-s", str(HERE / script), f"{scheme}://127.0.0.1:{port}{path}"]
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **known}
    )
    result = json.loads(run.stdout.strip().splitlines()[-1])
    result["rate"] = result["answers"] * 1e6 / result["microseconds"]
    return result


def mounts(port, prefix, seconds, connections=16, **environment):
    return wrk(
        "mounts.lua", port, seconds, connections,
        **{"PREFIX": prefix, "DIGEST": DIGEST, **environment},
    )


def gets(port, path, seconds, connections=16):
    """Each answer must be a 200, which wrk counts as not refused."""
    result = wrk("gets.lua", port, seconds, connections, path)
    assert not result["refused"] and not result["broken"], result
    return result


def floor(binary, root, durability, threads, seconds):
    command = [binary, root, "source", DIGEST, durability, str(threads), str(seconds)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(run.stdout)
    result["rate"] = result["answers"] * 1e6 / result["microseconds"]
    return result


def curl(*arguments):
    """Seconds of one transfer."""
    command = ["curl", "-sS", "-f", "--noproxy", "*", "-o", "/dev/null", "-w", "%{time_total} %{header_json}"]
    run = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    seconds, _, headers = run.stdout.partition(" ")
    return float(seconds), json.loads(headers)


def resident(pid, field="VmRSS"):
    """Bytes of memory of a process and its children."""
    total = 0
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in [pid, *children]:
        for line in pathlib.Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1]) * 1024
    return total


class Highest:
    """The most memory that a process has while something else goes on."""

    def __init__(self, pid):
        self.pid, self.bytes, self.ended = pid, 0, threading.Event()
        self.watching = threading.Thread(target=self.watch)

    def watch(self):
        while not self.ended.is_set():
            self.bytes = max(self.bytes, resident(self.pid))
            time.sleep(0.02)

    def __enter__(self):
        self.watching.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.watching.join()
