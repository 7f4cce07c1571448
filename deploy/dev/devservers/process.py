"""A server process that outlives the command that started it: its number and start time
are kept in a file, so that a later command kills this process and no other."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """A server that cannot be fetched, started or stopped; the text says what to do."""


class Daemon:
    """One server below `folder`. A subclass says how it is prepared, started and asked."""

    name = "server"
    ready_within_s = 90
    # What ends it in order; PostgreSQL calls another one its fast shutdown.
    end_signal = signal.SIGTERM
    end_within_s = 30

    def __init__(self, folder, tools):
        self.folder, self.tools = Path(folder) / self.name, tools
        self.state_file = self.folder / "state.json"

    # -- what a subclass gives ---------------------------------------------------------

    def fetch(self):
        """Puts the program where `command` finds it."""

    def prepare(self):
        """Makes the data folder and the settings, if they are not there."""

    def command(self):
        """The words that start it, and the variables and user to start it with."""
        raise NotImplementedError

    def answers(self):
        """Whether it would serve a request now."""
        raise NotImplementedError

    def settle(self):
        """What is made once it serves: a bucket, a database. May be called again."""

    # -- life --------------------------------------------------------------------------

    def start(self):
        """Starts it unless it runs, waits until it serves; gives the seconds that took."""
        begun = time.monotonic()
        if self.pid() is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.fetch()
            self.prepare()
            words, options = self.command()
            with open(self.log, "ab") as log:
                process = subprocess.Popen(
                    [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, cwd=self.folder, **options,
                )
            self.remember(pid=process.pid, started=start_time(process.pid))
            begun = time.monotonic()  # fetching and preparing take their own time
        while not self.answers():
            if self.pid() is None:
                raise Failed(f"{self.name} ended instead of serving; the end of {self.log}:\n{self.tail()}")
            if time.monotonic() - begun > self.ready_within_s:
                raise Failed(f"{self.name} does not serve after {self.ready_within_s} s; see {self.log}")
            time.sleep(0.05)
        self.settle()
        return time.monotonic() - begun

    def end(self):
        """Ends it in order, by force if that takes too long; says whether it ran."""
        pid = self.pid()
        if pid is None:
            return False
        self.signal(signal.SIGCONT)
        os.kill(pid, self.end_signal)
        if not self.wait_gone(pid, self.end_within_s):
            self.kill()
        return True

    def kill(self):
        """SIGKILL, children too, as a machine that loses its power."""
        pid = self.pid()
        if pid is None:
            return False
        family = [pid, *descendants(pid)]
        for member in family:
            send(member, signal.SIGKILL)
        for member in family:
            self.wait_gone(member, 30)
        return True

    def pause(self):
        """SIGSTOP: connections stay open, nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number):
        pid = self.pid()
        if pid is not None:
            for member in [pid, *descendants(pid)]:
                send(member, number)

    def wait_gone(self, pid, within_s):
        begun = time.monotonic()
        while alive(pid):
            reap(pid)
            if time.monotonic() - begun > within_s:
                return False
            time.sleep(0.02)
        return True

    def pid(self):
        """The number of the process that we started, if it still is that process."""
        state = self.state()
        pid = state.get("pid")
        return pid if pid and alive(pid) and start_time(pid) == state["started"] else None

    # -- what is remembered ------------------------------------------------------------

    def state(self):
        return json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    def remember(self, **facts):
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self.state() | facts
        unfinished = self.state_file.with_suffix(".part")
        unfinished.write_text(json.dumps(whole))
        unfinished.replace(self.state_file)

    def port(self, name="port"):
        """A free port of 127.0.0.1, chosen once and then kept: clients keep addresses."""
        if name not in self.state():
            self.remember(**{name: free_port()})
        return self.state()[name]

    @property
    def log(self):
        return self.folder / f"{self.name}.log"

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


def free_port():
    """A port that the kernel will not give to anybody's outgoing connection meanwhile:
    taken from below the range of those."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        port = 10_000 + int.from_bytes(os.urandom(2), "big") % max(1, min(low, 32_768) - 10_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no free port on 127.0.0.1")


def accepts(port):
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def start_time(pid):
    """In ticks since the machine started: with the number it names a process for good."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except OSError:
        return None


def descendants(pid):
    """Children and theirs, also those that left the process group."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(rest[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        born = children.get(queue.pop(), [])
        found += born
        queue += born
    return found


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reap(pid):
    """A dead child of ours stays in the list until it is waited for."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, OSError):
        pass
