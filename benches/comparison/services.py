"""Private servers of Redis and Postgres, on free ports, in directories that go away."""

import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess

from .process import Process, free_port, listens


class Redis:
    """A server that appends to a file, and syncs it `always` or `everysec`."""

    def __init__(self, directory, fsync):
        self.port = free_port()
        directory = pathlib.Path(directory, "redis")
        directory.mkdir()
        # Rewriting its file now and then would hit one round and not the other.
        command = [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", directory,
            "--appendonly", "yes", "--appendfsync", fsync, "--save", "",
            "--maxmemory-policy", "noeviction", "--auto-aof-rewrite-percentage", "0",
        ]  # fmt: skip
        self.process = Process(command, directory / "log")
        self.process.until("Redis", lambda: listens(self.port))
        self.url = f"redis://127.0.0.1:{self.port}"

    def ask(self, *words):
        """One command, the answer of which is one line."""
        words = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(words)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(request)
            answer = connection.makefile("rb").readline().decode().strip()
        if answer.startswith("-"):
            raise RuntimeError(f"Redis: {answer}")
        return answer

    def length(self, stream):
        return int(self.ask("XLEN", stream)[1:])


class Postgres:
    """A server as it comes, but for a log that is long enough for the load."""

    def __init__(self, directory):
        self.port = free_port()
        directory = pathlib.Path(directory, "postgres")
        directory.mkdir()
        data = directory / "data"
        user = "postgres" if os.geteuid() == 0 else None
        guard = []
        if user:
            # It refuses to run as root, and must reach its files.
            for parent in [directory, *directory.parents][:2]:
                os.chmod(parent, 0o755)
            shutil.chown(directory, user)
            guard = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        made = [program("initdb"), "-D", data, "-U", "offhook", "-A", "trust", "-E", "UTF8"]
        made += ["--locale", "C", "--no-instructions"]
        subprocess.run([*guard, *made], check=True, stdout=subprocess.DEVNULL)
        command = [
            program("postgres"), "-D", data, "-p", self.port, "-k", "", "-h", "127.0.0.1",
            "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB",
            "-c", "track_commit_timestamp=on",
        ]  # fmt: skip
        self.process = Process(command, directory / "log", user=user, stop=signal.SIGQUIT)
        self.url = f"postgres://offhook@127.0.0.1:{self.port}/postgres"
        self.process.until("Postgres", self.answers)

    def answers(self):
        return listens(self.port) and self.psql("SELECT 1").returncode == 0

    def psql(self, sql):
        command = [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url]
        return subprocess.run(command, capture_output=True, text=True)

    def query(self, sql):
        """The one value that a statement gives."""
        ran = self.psql(sql)
        if ran.returncode:
            raise RuntimeError(f"Postgres: {ran.stderr}")
        return ran.stdout.strip()

    def rows(self):
        """How many events are stored; none before their table is made."""
        ran = self.psql("SELECT count(*) FROM events")
        return int(ran.stdout) if ran.returncode == 0 else 0

    def rows_per_second(self):
        """Rows committed after the first commit of any, by the times that Postgres gave them."""
        return float(self.query("""
            SELECT sum(rows) FILTER (WHERE place > 1) / extract(epoch FROM max(at) - min(at))
            FROM (SELECT count(*) AS rows, at, row_number() OVER (ORDER BY at) AS place
                  FROM (SELECT pg_xact_commit_timestamp(xmin) AS at FROM events) AS each
                  GROUP BY at) AS commits
        """))


def program(name):
    """Where Debian puts the programs of Postgres, or in PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")) or [shutil.which(name)]
    if not found[-1]:
        raise RuntimeError(f"{name} is missing: tests/setup installs it")
    return found[-1]
