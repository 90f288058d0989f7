"""What is compared: how each is installed, started, and asked for its rows."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

from .process import Process, free_port, listens
from .services import Postgres, Redis

ROOT = pathlib.Path(__file__).parents[2]
INSTALLED = ROOT / "target" / "compare"
PEERS = ROOT / "benches" / "peers"
ACCOUNT = "AC00000000000000000000000000000001"
TOKEN = "00000000000000000000000000000a01"
PUBLIC_URL = "https://hooks.example.com"
SIGNER = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "PUBLIC_URL": PUBLIC_URL}
STREAM = "offhook:events"
# Twilio's API is where nothing listens, since nothing is sent.
SENDER = """
[[sender]]
name = "compare"
from = "+15005550006"

[twilio]
api_url = "http://127.0.0.1:9"
"""
# The tables of the peers: what offhook has, as one would begin.
TABLES = """
    CREATE TABLE events (
        key text PRIMARY KEY, sid text NOT NULL, status text NOT NULL, params jsonb NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX ON events (sid);
    CREATE TABLE statuses (sid text PRIMARY KEY, status text NOT NULL, rank smallint NOT NULL);
"""


class Target:
    """Something that takes callbacks. `processes` are all that it consists of, by their part."""

    verifies = True
    works = False
    stores = False

    def __init__(self, built, directory):
        self.built, self.directory, self.processes = built, pathlib.Path(directory), {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/status"

    def start(self, part, command, env=None, cwd=None):
        log = self.directory / f"{part}.log"
        self.processes[part] = Process(command, log, SIGNER | (env or {}), cwd or self.directory)
        return self.processes[part]

    def serve(self, command, env=None, cwd=None):
        """Starts the receiver, and waits until it listens."""
        receiver = self.start("receiver", command, env, cwd)
        receiver.until(type(self).__name__, lambda: listens(self.port))

    def is_done(self, sent):
        """Whether the receiver has nothing left to do with as many events as were sent."""
        return True

    def stop(self):
        for process in reversed(self.processes.values()):
            process.stop()


class Bare(Target):
    """axum that reads the body and answers 200."""

    verifies = False
    mode = "read"

    def receive(self):
        self.serve([self.built / "examples" / "axum_peer", self.port, self.mode])


class ByHand(Bare):
    """The same, with the form parsed and the HMAC computed."""

    verifies = True
    mode = "verify"


class Verifier(Bare):
    """The same with offhook's code."""

    verifies = True
    mode = "offhook"


class Offhook(Target):
    """Any deployment, with its local log in the directory."""

    def environment(self):
        admin = free_port()
        self.ready_url = f"http://127.0.0.1:{admin}/readyz"
        return {
            "OFFHOOK_PUBLIC_URL": PUBLIC_URL,
            "OFFHOOK_INBOUND__LISTEN": f"127.0.0.1:{self.port}",
            "OFFHOOK_ADMIN__LISTEN": f"127.0.0.1:{admin}",
            "OFFHOOK_LOG__FILTER": "warn",
        }


class Local(Offhook):
    """One process, which stores what its log holds."""

    stores = True

    def is_done(self, sent):
        return self.rows() >= sent


class Embedded(Local):
    """offhook embedded: a local log, one SQLite file."""

    def receive(self):
        self.serve([self.built / "offhook", "serve"], self.environment())

    def rows(self):
        with sqlite3.connect(f"file:{self.directory}/offhook.db?mode=ro", uri=True) as store:
            return store.execute("SELECT count(*) FROM events").fetchone()[0]


class Direct(Local):
    """offhook direct: a local log, Postgres."""

    def receive(self):
        self.postgres = Postgres(self.directory)
        self.processes["postgres"] = self.postgres.process
        store = {"DATABASE_URL": self.postgres.url}
        self.serve([self.built / "offhook", "serve"], self.environment() | store)

    def rows(self):
        return self.postgres.rows()


class Scaled(Offhook):
    """A receiver before Redis, and a worker behind it."""

    works = True

    def receive(self):
        self.redis = Redis(self.directory, self.fsync)
        self.postgres = Postgres(self.directory)
        self.processes |= {"redis": self.redis.process, "postgres": self.postgres.process}
        command = [self.built / "offhook", "serve", "--role", "receiver"]
        self.serve(command, self.environment())

    def work(self):
        command = [self.built / "offhook", "serve", "--role", "worker"]
        self.start("worker", command, self.environment())

    def environment(self):
        services = {"REDIS_URL": self.redis.url, "DATABASE_URL": self.postgres.url}
        return super().environment() | services

    def rows(self):
        return self.postgres.rows()


class Always(Scaled):
    """offhook with Redis, appendfsync always."""

    fsync = "always"


class EverySecond(Scaled):
    """offhook with Redis, appendfsync everysec."""

    fsync = "everysec"


class Spool(EverySecond):
    """offhook with its local log before Redis (durability = spool)."""

    def environment(self):
        return super().environment() | {"OFFHOOK_STREAM__DURABILITY": "spool"}

    def is_done(self, sent):
        return self.redis.length(STREAM) >= sent


class Sending(EverySecond):
    """The same as EverySecond with a sender, and the process that would send, which nothing is asked to."""

    def receive(self):
        super().receive()
        offhook, environment = self.built / "offhook", self.environment()
        # Without its tables it would wait for them while the worker is measured.
        subprocess.run([offhook, "migrate"], env=SIGNER | environment, check=True, stdout=subprocess.DEVNULL)
        self.start("sender", [offhook, "serve", "--role", "sender"], environment)

    def environment(self):
        settings = self.directory / "offhook.toml"
        settings.write_text(SENDER)
        return super().environment() | {"OFFHOOK_CONFIG": str(settings)}


class Peer(Target):
    """Something with a queue in Redis and a worker for Postgres."""

    works = True

    def services(self):
        self.redis = Redis(self.directory, "everysec")
        self.postgres = Postgres(self.directory)
        self.postgres.query(TABLES)
        self.processes |= {"redis": self.redis.process, "postgres": self.postgres.process}
        return {
            "PORT": str(self.port),
            "REDIS_PORT": str(self.redis.port),
            "DATABASE_URL": self.postgres.url,
        }

    def rows(self):
        return self.postgres.rows()


class Express(Peer):
    """Express, BullMQ, Twilio's library; one process each."""

    home = INSTALLED / "express"

    @classmethod
    def install(cls):
        shutil.copytree(PEERS / "express", cls.home, dirs_exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=cls.home, check=True)

    def receive(self):
        self.env = self.services() | {"NODE_ENV": "production"}
        self.serve(["node", "server.js"], self.env, self.home)

    def work(self):
        self.start("worker", ["node", "worker.js"], self.env, self.home)


class Flask(Peer):
    """Flask under gunicorn, Celery, Twilio's library; as many processes as these advise."""

    home = INSTALLED / "flask"

    @classmethod
    def install(cls):
        shutil.copytree(PEERS / "flask", cls.home, dirs_exist_ok=True)
        if not (cls.home / "venv").exists():
            subprocess.run([sys.executable, "-m", "venv", cls.home / "venv"], check=True)
        pip = [cls.home / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", "requirements.txt"], cwd=cls.home, check=True)

    def receive(self):
        self.env = self.services()
        command = [self.home / "venv/bin/gunicorn", "app:app", "--bind", f"127.0.0.1:{self.port}"]
        workers = 2 * os.cpu_count() + 1
        self.serve([*command, "--workers", workers, "--threads", "4"], self.env, self.home)

    def work(self):
        command = [self.home / "venv/bin/celery", "-A", "tasks", "worker"]
        self.start("worker", [*command, "--loglevel", "WARNING"], self.env, self.home)


TARGETS = {
    "axum": Bare,
    "axum-hmac": ByHand,
    "axum-offhook": Verifier,
    "embedded": Embedded,
    "direct": Direct,
    "spool": Spool,
    "redis-always": Always,
    "redis-everysec": EverySecond,
    "express": Express,
    "flask": Flask,
}
