"""RESULTS.md: medians, ratios, what is to be reached, and on what machine."""

import dataclasses
import json
import pathlib
import platform
import statistics
import subprocess

HERE = pathlib.Path(__file__).parent
ALONE = "the registry alone"
FULL, FILE = "full", "file"


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure of one side to that of another; `most` where less is better."""

    what: str
    measure: str
    figure: str
    side: str
    to: str | None
    reach: float
    most: bool = False


def own(mode, durability):
    return f"crossmount `{mode}`, {durability}"


GOALS = [
    Goal("mounts a second, durability file", "mounts", "rate", own("none", FILE), ALONE, 6),
    Goal("… their 99th percentile", "mounts", "p99", own("none", FILE), ALONE, 1, most=True),
    Goal("mounts a second, durability full", "mounts", "rate", own("none", FULL), ALONE, 4),
    Goal("one after another, full: median time", "one", "p50", own("none", FULL), ALONE, 0.5, most=True),
    Goal("full, to the same system calls alone", "mounts", "rate", own("none", FULL), "the floor, full", 0.8),
    Goal("file, to the same system calls alone", "mounts", "rate", own("none", FILE), "the floor, file", 0.8),
    Goal("existing links, mounts a second", "remounts", "rate", own("none", FULL), ALONE, 12),
    Goal("RS256 tokens, file", "tokens", "rate", own("token", FILE), ALONE, 5),
    Goal("RS256 tokens, full", "tokens", "rate", own("token", FULL), ALONE, 5),
    Goal("passwords, file", "passwords", "rate", own("htpasswd", FILE), ALONE, 100),
    Goal("passwords, full", "passwords", "rate", own("htpasswd", FULL), ALONE, 100),
    Goal("`GET /v2/` a second", "base", "rate", "crossmount", "directly", 0.9),
    Goal("… to nginx", "base", "rate", "crossmount", "nginx", 0.95),
    Goal("a blob of 1 KiB a second", "blob", "rate", "crossmount", "directly", 0.9),
    Goal("… to nginx", "blob", "rate", "crossmount", "nginx", 0.95),
    Goal("a manifest a second", "manifest", "rate", "crossmount", "directly", 0.9),
    Goal("… to nginx", "manifest", "rate", "crossmount", "nginx", 0.95),
    Goal("time added to a GET, to what nginx adds", "latency", "added", "crossmount", "nginx", 1.3, most=True),
    Goal("a GET beside mounts: median time to alone", "beside", "p50", "beside mounts", "alone", 2, most=True),
    Goal("1 GiB up", "up", "rate", "crossmount", "directly", 0.95),
    Goal("… to nginx", "up", "rate", "crossmount", "nginx", 1),
    Goal("1 GiB down", "down", "rate", "crossmount", "directly", 0.45),
    Goal("… to nginx", "down", "rate", "crossmount", "nginx", 1),
    Goal("memory, idle, MB", "footprint", "idle", "crossmount", None, 12e6, most=True),
    Goal("memory of an open connection, KiB", "footprint", "each", "crossmount", None, 32 * 1024, most=True),
    Goal("growth over 1 GiB up, MB", "up", "growth", "crossmount", None, 16e6, most=True),
    Goal("growth over 1 GiB down, MB", "down", "growth", "crossmount", None, 16e6, most=True),
    Goal("start to first answer, ms", "footprint", "start", "crossmount", None, 0.1, most=True),
    Goal("ext4 with a journal: mounts a second, full", "ext4", "rate", own("none", FULL), ALONE, 3),
    Goal("… to the same system calls alone", "ext4", "rate", own("none", FULL), "the floor, ordered", 0.75),
    Goal("… one after another: median time", "ext4_one", "p50", own("none", FULL), ALONE, 0.6, most=True),
    Goal("XFS: mounts a second, full", "xfs", "rate", own("none", FULL), ALONE, 4.5),
    Goal("… to the same system calls alone", "xfs", "rate", own("none", FULL), "the floor, ordered", 0.75),
    Goal("… one after another: median time", "xfs_one", "p50", own("none", FULL), ALONE, 0.6, most=True),
    Goal("mounts that miss, a second", "fallbacks", "rate", own("none", FULL), ALONE, 0.95),
    Goal("… the registry with https", "secure_fallbacks", "rate", own("none", FULL), ALONE, 0.95),
    Goal("10 blobs of 1 kB to a registry with https: time", "small_uploads", "seconds", own("none", FULL), ALONE, 1.1, most=True),
]
# How a figure is shown: its title, what it is divided by, and its digits.
FIGURES = {
    "rate": ("a second", 1, 0),
    "p50": ("p50 ms", 1000, 2),
    "p99": ("p99 ms", 1000, 2),
    "seconds": ("seconds", 1, 2),
    "growth": ("growth MB", 1e6, 1),
    "idle": ("idle MB", 1e6, 1),
    "each": ("KiB a connection", 1024, 1),
    "start": ("start ms", 1e-3, 0),
}


def median(results, key):
    found = [result[key] for result in results if key in result]
    return statistics.median(found) if found else None


def figure(results, goal, side):
    sides = results[goal.measure]
    if goal.figure != "added":
        return median(sides[side], goal.figure)
    # Round by round, so that what slows a whole round down counts for both.
    added = [one["p50"] - alone["p50"] for one, alone in zip(sides[side], sides["directly"])]
    return statistics.median(added)


def goal_row(results, goal):
    value = figure(results, goal, goal.side)
    if goal.to is None:
        _, unit, digits = FIGURES[goal.figure]
        value, reach = value / unit, goal.reach / unit
        shown = f"{value:.{max(digits, 0)}f}"
    else:
        value, reach = value / figure(results, goal, goal.to), goal.reach
        shown = f"{value:.2f}"
    is_reached = value <= reach if goal.most else value >= reach
    want = f"at most {reach:g}" if goal.most else f"{reach:g}"
    to = goal.to or ""
    return f"| {goal.what} | {goal.side} | {to} | {shown} | {want} | {'reached' if is_reached else 'MISSED'} |"


def table(sides):
    keys = [key for key in FIGURES if any(key in one for found in sides.values() for one in found)]
    lines = [
        "| | " + " | ".join(FIGURES[key][0] for key in keys) + " |",
        "|---" * (len(keys) + 1) + "|",
    ]
    for side, found in sides.items():
        cells = []
        for key in keys:
            value = median(found, key)
            _, unit, digits = FIGURES[key]
            cells.append("" if value is None else f"{value / unit:.{digits}f}")
        lines.append(f"| {side} | " + " | ".join(cells) + " |")
    return lines


def chart(what, curve):
    """A chart that Markdown's readers draw."""
    highest = max(rate for _, rate in curve)
    return [
        "```mermaid",
        "xychart-beta",
        f'  title "Mounts a second, by {what}"',
        "  x-axis [" + ", ".join(f"{count}" for count, _ in curve) + "]",
        f'  y-axis "a second" 0 --> {highest * 1.1:.0f}',
        "  line [" + ", ".join(f"{rate:.0f}" for _, rate in curve) + "]",
        "```",
        "",
        "| " + what + " | " + " | ".join(f"{count}" for count, _ in curve) + " |",
        "|---" * (len(curve) + 1) + "|",
        "| mounts a second | " + " | ".join(f"{rate:.0f}" for _, rate in curve) + " |",
        "",
    ]


def micro(directory):
    """criterion's own estimates."""
    rows = []
    for file in sorted(directory.glob("**/new/estimates.json")) if directory else []:
        name = json.loads((file.parent / "benchmark.json").read_text())["full_id"]
        found = json.loads(file.read_text())["median"]["point_estimate"]
        rows.append(f"| {name} | {found / 1000:.2f} |")
    return rows


def first(command):
    output = subprocess.run(command, capture_output=True, text=True)
    return (output.stdout + output.stderr).strip().splitlines()[0]


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def filesystem(directory):
    return first(["stat", "-f", "-c", "%T", directory])


def write(binary, directory, options, measures, results, curves):
    goals = [goal_row(results, goal) for goal in GOALS if goal.measure in results]
    text = [
        "# Results",
        "",
        "Written by `./benches/compare.sh`. Absolute figures mean little: machines are shared. "
        "Ratios are of medians within this run, in which the sides took turns.",
        "",
        f"- machine: {processor()}, Linux {platform.release()}, {filesystem(directory)}",
        f"- {first([binary, '--version'])}; {first(['docker-registry', '--version'])}; "
        f"{first(['nginx', '-v'])}; {first(['haproxy', '-v'])}; {first(['wrk', '-v'])}",
        f"- {options.rounds} rounds of {options.seconds:g} seconds each; 16 connections unless said",
        "- client, proxy and registry share the processors",
        "",
        "| measure | side | to | ratio or figure | goal | |",
        "|---|---|---|---|---|---|",
        *goals,
        "",
    ]
    limits = HERE / "LIMITS.md"
    if limits.exists():
        text += [limits.read_text().strip(), ""]
    for key, measure in measures.items():
        text += [f"## {measure.title}", "", *table(results[key]), ""]
    if curves:
        text += ["## How the cost grows", ""]
        for what, curve in curves.items():
            text += chart(what, curve)
    rows = micro(options.micro)
    if rows:
        text += ["## The parts alone", "", "| part | median µs |", "|---|---|", *rows, ""]
    return "\n".join(text).rstrip() + "\n"
