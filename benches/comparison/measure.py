"""What is measured of a target, and the experiments that are about offhook alone."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from .process import Process
from .targets import PUBLIC_URL, SIGNER, STREAM, Direct, Embedded, EverySecond, Sending

CLOSED_CONNECTIONS = 50
# So many that a slow answer delays no request of the others.
OPEN_CONNECTIONS = 200
OPEN_RATES = (300, 1000)
# Between two looks at what is stored, since counting costs something, too.
LOOK_S = 0.5


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def running(kind, built):
    """A target in a directory of its own, which goes away with it."""
    with tempfile.TemporaryDirectory(prefix="offhook-compare-") as directory:
        target = kind(built, directory)
        try:
            target.receive()
            yield target
        finally:
            target.stop()


def load(built, target, *plan, store=None):
    """Sends, and gives back what `offhook bench` reports."""
    command = [built / "offhook", "bench", target.url, "--json", "--public-url", PUBLIC_URL]
    command += [*plan, *(["--store", store] if store else [])]
    ran = subprocess.run(
        [str(word) for word in command], env=SIGNER, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if not ran.stdout:
        raise RuntimeError(f"the load generator failed: {ran.stderr.decode()[-1000:]}")
    report = json.loads(ran.stdout)
    refused = {status: n for status, n in report["statuses"].items() if status != "200"}
    if refused or report["errors"]:
        say(f"    not accepted: {refused} {report['errors']}")
    return report


def forged(target):
    """The status that a forged callback is answered with."""
    headers = {"X-Twilio-Signature": "A" * 27 + "="}
    request = urllib.request.Request(target.url, b"CallSid=CA1&CallStatus=ringing", headers)
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def events_of(report):
    return report["events"] + report["warm_up"]["events"]


def measure(kind, built, seconds, drain_s):
    """One round of a target: as fast as it takes callbacks, then the rows, then at a rate."""
    with running(kind, built) as target:
        if target.verifies and (status := forged(target)) != 403:
            raise RuntimeError(f"a forged callback is answered with {status}")
        result, sent = as_fast_as_it_takes(target, built, drain_s, "--seconds", seconds)
        if target.works:
            result["rows_per_second"] = drain(target, sent, drain_s)
        for rate in OPEN_RATES:
            report = load(built, target, *at_rate(rate, seconds))
            result[f"p50_{rate}"] = report["latency_ms"]["p50"]
            result[f"p99_{rate}"] = report["latency_ms"]["p99"]
            result[f"accepted_{rate}"] = report["accepted"] / report["seconds"] / rate
        return result


def at_rate(rate, seconds):
    return ["--rate", rate, "--seconds", seconds, "--connections", OPEN_CONNECTIONS]


def as_fast_as_it_takes(target, built, patience_s, *plan):
    """Without a worker beside it, so that it is the receiver that is measured: what it costs until it has nothing
    left to do, and how long that takes after the last answer."""
    before = {part: process.cpu_s() for part, process in target.processes.items()}
    report = load(built, target, *plan, "--connections", CLOSED_CONNECTIONS)
    answered = report["answered"] + report["warm_up"]["answered"]
    sent = events_of(report)
    result = {"per_second": report["accepted_per_second"], "p99_closed": report["latency_ms"]["p99"]}
    result["rss"] = target.processes["receiver"].rss_mib()
    result["behind"] = seconds_until_done(target, sent, patience_s)
    for part in ("receiver", "redis"):
        if part in before:
            spent = target.processes[part].cpu_s() - before[part]
            result[f"cpu_{part}"] = spent / answered * 10_000
    return result, sent


def seconds_until_done(target, sent, patience_s):
    started = time.monotonic()
    while not target.is_done(sent):
        if time.monotonic() > started + patience_s:
            raise RuntimeError(f"the receiver is not done with {sent} events after {patience_s} s")
        time.sleep(LOOK_S)
    took = round(time.monotonic() - started, 1)
    if target.stores and target.rows() != sent:
        raise RuntimeError(f"{target.rows()} rows of {sent} events")
    return took


def drain(target, sent, drain_s):
    """Starts the worker, which finds all of it waiting; rows a second from the first to the last."""
    target.work()
    started = time.monotonic()
    rows = 0
    while rows < sent and time.monotonic() < started + drain_s:
        time.sleep(LOOK_S)
        rows = target.rows()
    if rows == 0 or rows > sent:
        raise RuntimeError(f"{rows} rows of {sent} events")
    if rows < sent:
        say(f"    {rows} of {sent} rows in {drain_s} s")
    return target.postgres.rows_per_second()


def sustained(built, seconds, drain_s):
    """One SQLite file for long: callbacks a second, and how far the store is behind at the end."""
    with running(Embedded, built) as target:
        return as_fast_as_it_takes(target, built, drain_s, "--seconds", seconds)[0]


def to_row(built, seconds):
    """From a request to its row in Postgres: straight at 300 a second, and by Redis and a worker at 1,000."""
    result = {}
    for name, kind, rate in (("direct", Direct, 300), ("redis", EverySecond, 1000)):
        with running(kind, built) as target:
            if target.works:
                target.work()
            plan = [*at_rate(rate, seconds), "--warm-up", 2]
            seen = load(built, target, *plan, store=target.postgres.url)["to_row"]
            if seen["missing"]:
                raise RuntimeError(f"{name}: {seen['missing']} events have no row")
            result |= {f"{name}_{p}": seen["latency_ms"][p] for p in ("p50", "p99")}
            result[f"{name}_samples"] = seen["samples"]
    return result


def received_and_drained(target, built, entries, drain_s):
    """So many entries as fast as the receiver takes them, then the worker."""
    plan = ["--requests", entries, "--seconds", 3600, "--warm-up", 0]
    result, sent = as_fast_as_it_takes(target, built, drain_s, *plan)
    return result | {"rows_per_second": drain(target, sent, drain_s)}


def worker(built, entries, drain_s):
    """One worker before a stream that is full, against inserting the same rows by themselves."""
    with running(EverySecond, built) as target:
        drained = received_and_drained(target, built, entries, drain_s)["rows_per_second"]
        process = target.processes["worker"]
        result = {"drained": drained, "cpu": process.cpu_s() / entries * 10_000}
        result["rss"] = process.rss_mib()
        process.stop()
        peer = [built / "examples" / "insert_peer", target.postgres.url]
        ran = subprocess.run(peer, check=True, capture_output=True, text=True)
        result["bare"] = float(ran.stdout)
        return result | {"share": drained / result["bare"]}


def sending(built, entries, drain_s):
    """What the sending half costs the receiving half: a worker in rows a second, a receiver in CPU."""
    result = {}
    for name, kind in (("without", EverySecond), ("with", Sending)):
        with running(kind, built) as target:
            figures = received_and_drained(target, built, entries, drain_s)
            result[f"rows_{name}"] = figures["rows_per_second"]
            result[f"cpu_{name}"] = figures["cpu_receiver"]
    result["rows_ratio"] = result["rows_with"] / result["rows_without"]
    return result | {"cpu_ratio": result["cpu_with"] / result["cpu_without"]}


def startup(built, times=5):
    """From the start of the process to the first 200 of /readyz, in milliseconds."""
    took = []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="offhook-compare-") as directory:
            target = Embedded(built, directory)
            command = [built / "offhook", "serve"]
            environment = SIGNER | target.environment()
            began = time.monotonic()
            process = Process(command, f"{directory}/log", environment, directory)
            try:
                process.until("offhook", lambda: is_ready(target.ready_url), every_s=0.001)
                took.append((time.monotonic() - began) * 1e3)
            finally:
                process.stop()
    return {"ms": sorted(took)[len(took) // 2]}


def is_ready(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except OSError:
        return False


def backlog(built, seconds, entries, drain_s):
    """What a callback costs before an empty stream, and before one with many entries."""
    costs = {}
    for name, waiting in (("empty", 0), ("full", entries)):
        with running(EverySecond, built) as target:
            fill(target.redis, waiting)
            result, _ = as_fast_as_it_takes(target, built, drain_s, "--seconds", seconds)
            costs[name] = result["cpu_receiver"] + result["cpu_redis"]
            costs[f"{name}_per_second"] = result["per_second"]
    return costs | {"entries": entries, "ratio": costs["full"] / costs["empty"]}


def fill(redis, entries):
    """Short entries with the fields of offhook's own, so that their number is what counts."""
    fields = "key kind account sid resource status sequence occurred_at received_at format query body"
    pairs = ", ".join(f"'{field}', 'x'" for field in fields.split())
    script = f"for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', {pairs}) end"
    chunk = 50_000
    for begun in range(0, entries, chunk):
        redis.ask("EVAL", script, 1, STREAM, min(chunk, entries - begun))
    if entries and redis.length(STREAM) < entries:
        raise RuntimeError("the backlog is not there")
