"""RESULTS.md: medians, ratios, and on what machine."""

import os
import pathlib
import platform
import statistics
import subprocess

# Ratios that are to be reached, by access and durability.
GOALS = {
    ("none", "full"): 4,
    ("none", "file"): 6,
    ("htpasswd", "full"): 100,
    ("htpasswd", "file"): 100,
    ("token", "full"): 2.5,
    ("token", "file"): 4,
}
NAMES = {
    "none": "no access control",
    "htpasswd": "htpasswd, bcrypt of cost 10",
    "token": "RS256 tokens, one for each target",
}


def median(results, key):
    return statistics.median(result[key] for result in results)


def first(command):
    output = subprocess.run(command, capture_output=True, text=True)
    return (output.stdout + output.stderr).strip().splitlines()[0]


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def filesystem(folder):
    return first(["stat", "-f", "-c", "%T", folder])


def rows(results):
    native = {case.access: found for case, found in results.items() if case.mode is None}
    for case, found in results.items():
        alone = native[case.access]
        ratio = median(found, "rate") / median(alone, "rate")
        goal = GOALS.get((case.access, case.durability)) if case.mode == case.access else None
        yield case, found, ratio, goal


def line(case, found, ratio, goal):
    who = "the registry alone" if case.mode is None else f"crossmount, `{case.mode}`"
    durability = "" if case.mode is None else case.durability
    reached = "" if goal is None else f"{goal:g}: {'reached' if ratio >= goal else 'MISSED'}"
    return (
        f"| {NAMES[case.access]} | {who} | {durability} | {median(found, 'rate'):.0f} | "
        f"{median(found, 'p50') / 1000:.1f} | {median(found, 'p99') / 1000:.1f} | "
        f"{ratio:.1f} | {reached} |"
    )


def write(binary, folder, options, results, faults):
    disturbed = [
        f"- {NAMES[case.access]}, {case.mode or 'alone'}, {case.durability}: {'; '.join(faults(one))}"
        for case, found in results.items()
        for one in found
        if faults(one)
    ]
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `./benches/compare.sh`. Absolute figures mean little: machines are shared. "
            "Ratios are of medians within this run, in which the two sides took turns.",
            "",
            f"- machine: {processor()}, Linux {platform.release()}, {filesystem(folder)}",
            f"- {first([binary, '--version'])}; {first(['docker-registry', '--version'])}; "
            f"{first(['wrk', '-v'])}",
            f"- {options.rounds} rounds of {options.seconds:g} seconds, 16 connections; each request "
            "mounts into a repository of its own, each measurement has a store of its own",
            "",
            "| access | who | durability | mounts a second | p50 ms | p99 ms | to the registry alone | goal |",
            "|---|---|---|---|---|---|---|---|",
            *(line(*row) for row in rows(results)),
            "",
            "Every answer was a 201 with its link in the store, and crossmount's were its own"
            + (", but for:" if disturbed else "."),
            "",
            *disturbed,
        ]
    ).rstrip() + "\n"
