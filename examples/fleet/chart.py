"""The results as a table and as a picture."""

MB = 1_000_000
# What is to be reached in front of distribution: bytes to unique bytes, by order.
GOALS = {"one after another": 1.05, "level by level, eight at a time": 1.15}
# In any order, if HEADs wait for uploads: in front of distribution, and of Pulp.
WAITING_GOALS = {"distribution": 1.02, "Pulp": 1.3}
# The same through two replicas.
SHARED_GOAL = 1.05
FASTER, WAITING_FASTER = 5, 6


def pairs(results):
    """Each run through crossmount, with the run of the same order past it."""
    for result in results:
        if result["through"] == "directly":
            direct = result
        else:
            assert (direct["registry"], direct["order"]) == (result["registry"], result["order"])
            yield direct, result


def waits(through):
    return "wait" in through["through"]


def goal_of(through):
    if waits(through):
        if through["through"].startswith("two"):
            return SHARED_GOAL
        return WAITING_GOALS[through["registry"]]
    return GOALS.get(through["order"]) if through["registry"] == "distribution" else None


def missed(results):
    """Runs in which more bytes were sent than is wanted."""
    return [
        f"{through['order']}, {through['through']}"
        for _, through in pairs(results)
        if through["sent"] > through["unique"] * (goal_of(through) or float("inf"))
    ]


def reached(is_reached):
    return "reached" if is_reached else "MISSED"


def table(results):
    unique, everything = results[0]["unique"], results[0]["all"]
    lines = [
        "# The fleet",
        "",
        "Written by `./examples/fleet/fleet.py --pulp --write`. Sixty images in four levels are "
        "pushed through a link of 100 Mbit/s by runners that know nothing, with bcrypt passwords to "
        "docker-registry and with tokens to Pulp, directly and through crossmount with discovery. "
        "Of two replicas each gets every other image. Every process has seen one upload of a few "
        "bytes before, by which it verified the store.",
        "",
        f"All images have {everything / MB:.0f} MB, their unique content {unique / MB:.1f} MB: "
        f"{100 - 100 * unique / everything:.0f} % is shared. A base of 100 MB is in all images "
        "where a row says so. HEADs wait for 10 s at most, with that base and before Pulp for 25 s.",
        "",
        "| registry | order | through | directly | | through crossmount | | sent to unique "
        "| times as fast |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for direct, through in pairs(results):
        ratio = through["sent"] / through["unique"]
        faster = direct["seconds"] / through["seconds"]
        goal = goal_of(through)
        is_fast = through["registry"] == "distribution"
        # One that waits for itself alone is as fast as without waiting.
        crowded = waits(through) and through["order"] != "one after another"
        wanted = WAITING_FASTER if crowded else FASTER
        said = f" (at most {goal:g}: {reached(ratio <= goal)})" if goal else ""
        fast = f" (at least {wanted}: {reached(faster >= wanted)})" if goal and is_fast else ""
        lines.append(
            f"| {through['registry']} | {through['order']} | {through['through']} | "
            f"{direct['sent'] / MB:.1f} MB | {direct['seconds']:.1f} s | "
            f"{through['sent'] / MB:.1f} MB | {through['seconds']:.1f} s | "
            f"{ratio:.3f}{said} | {faster:.1f}{fast} |"
        )
    return "\n".join([*lines, "", "![bytes sent and seconds](RESULTS.svg)", ""])


def picture(results):
    """Bars for bytes, one pair for each run, scaled to what was sent directly. A line in each pair
    is the unique content."""
    rows = list(pairs(results))
    width, left, step = 820, 340, 46
    height = 60 + step * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="20">bytes sent (grey: directly, blue: through crossmount; '
        "red: unique content)</text>",
    ]
    for number, (direct, through) in enumerate(rows):
        top = 36 + step * number
        scale = (width - left - 150) / max(direct["sent"], through["sent"])
        names = (f"{through['registry']}, {through['order']}", through["through"])
        for line, text in enumerate(names):
            parts.append(
                f'<text x="{left - 8}" y="{top + 10 + 14 * line}" text-anchor="end">{text}</text>'
            )
        for place, (result, colour) in enumerate(((direct, "#999"), (through, "#2b6cb0"))):
            long, y = result["sent"] * scale, top + 15 * place
            parts.append(f'<rect x="{left}" y="{y}" width="{long:.1f}" height="12" fill="{colour}"/>')
            words = f"{result['sent'] / MB:.0f} MB, {result['seconds']:.0f} s"
            parts.append(f'<text x="{left + long + 6:.1f}" y="{y + 10}">{words}</text>')
        limit = left + through["unique"] * scale
        parts.append(
            f'<line x1="{limit:.1f}" y1="{top - 3}" x2="{limit:.1f}" y2="{top + 30}" stroke="#c53030"/>'
        )
    return "\n".join([*parts, "</svg>", ""])
