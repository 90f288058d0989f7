"""Medians of the rounds, as tables."""

import json
import os
import pathlib
import platform
import subprocess
import tempfile
from statistics import median

from .services import program
from .targets import INSTALLED, ROOT, TARGETS


def medians(rounds):
    """Of each figure the median over the rounds; None if it was never measured."""
    names = {name for result in rounds for name in result}
    return {name: median(r[name] for r in rounds if name in r) for name in names}


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def ratio(value, base):
    return "–" if value is None or not base else f"{value / base:.2f}"


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def comparison(results):
    """One line for each target."""
    lines = [
        row("", "callbacks/s", "× axum", "CPU s / 10,000", "× axum", "Redis's CPU", "p50 / p99 at 300/s",
            "p50 / p99 at 1,000/s", "RSS MiB", "rows/s"),
        row("---", *["---:"] * 9),
    ]  # fmt: skip
    axum = results.get("axum", {})
    for name, result in results.items():
        if not result:
            continue
        latencies = [latency(result, rate) for rate in (300, 1000)]
        lines.append(row(
            TARGETS[name].__doc__.rstrip("."),
            number(result["per_second"]), ratio(result["per_second"], axum.get("per_second")),
            number(result["cpu_receiver"], 3),
            ratio(result["cpu_receiver"], axum.get("cpu_receiver")),
            number(result.get("cpu_redis"), 3), *latencies,
            number(result["rss"]), number(result.get("rows_per_second")),
        ))  # fmt: skip
    return lines


def latency(result, rate):
    text = f"{result[f'p50_{rate}']:.2f} / {result[f'p99_{rate}']:.2f} ms"
    share = result[f"accepted_{rate}"]
    return text if share > 0.98 else f"{text} ({share:.0%} of them)"


def goals(results, alone):
    """What was set as goals: a ratio of two things that were measured in the same run."""

    def of(name, figure):
        return results.get(name, {}).get(figure)

    def over(one, other):
        return None if one is None or not other else one / other

    def whole(name):
        parts = of(name, "cpu_receiver"), of(name, "cpu_redis")
        return None if None in parts else sum(parts)

    def only(name, figure):
        return alone.get(name, {}).get(figure)

    axum = of("axum", "cpu_receiver")
    added = None
    if None not in (axum, of("axum-hmac", "cpu_receiver"), of("axum-offhook", "cpu_receiver")):
        by_hand = of("axum-hmac", "cpu_receiver") - axum
        added = over(of("axum-offhook", "cpu_receiver") - axum, by_hand)
    best = of("redis-everysec", "per_second")
    rss = [of(name, "rss") for name in ("embedded", "direct", "spool", "redis-always", "redis-everysec")]
    rss = [value for value in rss if value is not None]
    p99 = over(of("redis-always", "p99_1000"), of("axum-hmac", "p99_1000"))
    lines = [
        ("embedded, sustained: callbacks/s", "≥ 15,000", only("sustained", "per_second")),
        ("embedded, sustained: the store behind at the end, s", "≤ 5", only("sustained", "behind")),
        ("embedded: p99 at 1,000/s, ms", "≤ 3", of("embedded", "p99_1000")),
        ("embedded: CPU against axum", "≤ 7", over(of("embedded", "cpu_receiver"), axum)),
        ("`spool`: callbacks/s", "≥ 30,000", of("spool", "per_second")),
        ("`spool`: CPU against axum", "≤ 3.5", over(of("spool", "cpu_receiver"), axum)),
        ("direct: p99 from request to row at 300/s, ms", "≤ 10", only("to-row", "direct_p99")),
        ("with Redis, `everysec`: CPU against axum", "≤ 2.0", over(of("redis-everysec", "cpu_receiver"), axum)),
        ("with Redis, `always`: CPU against axum", "≤ 2.0", over(of("redis-always", "cpu_receiver"), axum)),
        ("with Redis, `everysec`: CPU with Redis's own, against axum", "", over(whole("redis-everysec"), axum)),
        ("with Redis, `always`: p99 at 1,000/s against axum with HMAC", "≤ 3", p99),
        ("with Redis, `everysec`: p99 from request to row at 1,000/s, ms", "≤ 10", only("to-row", "redis_p99")),
        ("with Redis: cost of a callback with a backlog, against none", "≤ 1.1", only("backlog", "ratio")),
        ("one worker, against bare inserts of the same rows", "≥ 0.5", only("worker", "share")),
        ("one worker with a sender configured, against without", "≥ 0.9", only("sending", "rows_ratio")),
        ("CPU of a receiver with a sender configured, against without", "", only("sending", "cpu_ratio")),
        ("CPU that form and HMAC add, against by hand", "≤ 0.5", added),
        ("callbacks/s against Express and BullMQ", "≥ 12", over(best, of("express", "per_second"))),
        ("callbacks/s against Flask and Celery", "≥ 40", over(best, of("flask", "per_second"))),
        ("largest RSS of a process that receives, MiB", "≤ 40", max(rss, default=None)),
        ("embedded: start to ready, ms", "≤ 50", only("startup", "ms")),
    ]  # fmt: skip
    table = [row("what", "goal", "measured", "met"), row("---", "---", "---:", "---")]
    for what, goal, value in lines:
        digits = 0 if value and value >= 1000 else 2
        table.append(row(what, goal, number(value, digits), met(goal, value)))
    return table


def met(goal, value):
    if value is None or not goal:
        return ""
    bound = float(goal[2:].replace(",", ""))
    return "yes" if (value <= bound if goal[0] == "≤" else value >= bound) else "**no**"


def output(*command):
    """What a command prints; nothing if it is not there."""
    try:
        command = [str(word) for word in command]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def first_line(*command):
    return (output(*command).splitlines() or ["?"])[0]


def header(arguments, built, load_before):
    """On what it was measured."""
    commit = first_line("git", "rev-parse", "--short=12", "HEAD")
    if output("git", "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    model = "?"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    return [
        f"- commit {commit}, {first_line(built / 'offhook', '--version')}, {first_line('rustc', '--version')}",
        f"- {os.cpu_count()} cores, which server, load generator, Redis and Postgres share: {model}; "
        f"Linux {platform.release()}; load average {load_before:.2f} at the start; files on "
        f"{first_line('findmnt', '-no', 'FSTYPE', '-T', tempfile.gettempdir())}",
        f"- {first_line('redis-server', '--version').split(' sha')[0]}; "
        f"{first_line(program('postgres'), '--version')}; node {first_line('node', '--version')}; "
        f"Python {platform.python_version()}",
        *([f"- {', '.join(installed)}"] if (installed := list(packages())) else []),
        f"- {arguments.profile} build; medians of {arguments.rounds} interleaved rounds, {arguments.seconds} s for "
        f"each load, {arguments.sustained} s for the sustained one; {arguments.entries:,} entries before a worker, "
        f"{arguments.backlog:,} of the backlog",
    ]  # fmt: skip


def packages():
    """The versions that the peers were installed with, of what is there."""
    for name in ("express", "bullmq", "twilio", "pg"):
        manifest = INSTALLED / "express/node_modules" / name / "package.json"
        if manifest.exists():
            yield f"npm {name} {json.loads(manifest.read_text())['version']}"
    for name in ("flask", "gunicorn", "celery", "twilio", "psycopg"):
        for found in (INSTALLED / "flask/venv/lib").glob(f"python*/site-packages/{name}-*.dist-info"):
            yield f"PyPI {found.name.removesuffix('.dist-info').replace('-', ' ')}"
