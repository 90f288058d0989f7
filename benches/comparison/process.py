"""Processes that end when this one does: what they cost and what they hold."""

import os
import signal
import socket
import subprocess
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# What takes longer to start or to stop never will.
PATIENCE_S = 60


class Process:
    """A program and its descendants."""

    def __init__(self, command, log, env=None, cwd=None, user=None, stop=signal.SIGTERM):
        # Whatever ends this script ends it, too.
        guard = ["setpriv", "--pdeathsig", "KILL"]
        if user:
            guard += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        ours = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.log, self.stop_signal = log, stop
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                guard + ["--"] + [str(word) for word in command],
                env=ours | (env or {}),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def family(self):
        """Its process id and those of its descendants."""
        children = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if stat := read_stat(pid):
                children.setdefault(int(stat[1]), []).append(int(pid))
        family = [self.child.pid]
        for pid in family:
            family.extend(children.get(pid, []))
        return family

    def cpu_s(self):
        """User and system time so far, of descendants that have ended, too."""
        stats = filter(None, map(read_stat, self.family()))
        return sum(sum(map(int, stat[11:15])) for stat in stats) / TICKS_PER_S

    def rss_mib(self):
        """Resident memory; what descendants share counts for each of them."""
        pages = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/statm") as statm:
                    pages += int(statm.read().split()[1])
            except OSError:
                pass
        return pages * PAGE_BYTES / 2**20

    def stop(self):
        """Ends it and everything that it has started."""
        family = self.family()
        if self.child.poll() is None:
            self.child.send_signal(self.stop_signal)
            try:
                self.child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        for pid in family[1:]:
            # By then the number may be another process's; a descendant is in our session.
            if (stat := read_stat(pid)) and int(stat[3]) == self.child.pid:
                os.kill(pid, signal.SIGKILL)

    def until(self, what, ready, every_s=0.01):
        """Waits until `ready`, and says what was logged if that does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if self.child.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as log:
                    raise RuntimeError(f"{what}: it does not come up\n{log.read()[-2000:]}")
            time.sleep(every_s)


def read_stat(pid):
    """The fields of /proc/PID/stat from the state on; None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return None


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
