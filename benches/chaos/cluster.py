"""The processes of Tintype under test: either ingest and processor roles on real servers,
or one `tintype up` with everything inside. Each keeps its address for its whole life, is
started again whatever ended it, and says over /readyz when it serves."""

import re
import signal
import subprocess
import threading
import time

from devservers.process import free_port
from measure.server import Server, Unanswered


class Process(Server):
    """One process. `role` is `ingest`, `processor` or `up`."""

    def __init__(self, binary, folder, role, variables, **settings):
        super().__init__(binary, folder, **settings)
        self.role, self.name = role, folder.name
        # No outgoing connection takes this port while the process is dead.
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env |= variables | {"TINTYPE_LISTEN": f"127.0.0.1:{self.port}"}
        self.wanted, self.busy = False, threading.Lock()
        self.deaths = 0  # ends that nobody here had ordered
        self.due = None  # when it is started again after such an end

    def command(self):
        return super().command() if self.role == "up" else [self.binary, self.role]

    def is_ready(self, timeout_s=1.0):
        try:
            return self.request("GET", "/readyz", timeout=timeout_s)[0] == 200
        except Unanswered:
            return False

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def wait_ready(self):
        """As the parent's, without the key: roles print none."""
        begun = time.monotonic()
        while not self.is_ready(5):
            if not self.is_alive():
                said = self.err.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} ended with {self.process.returncode} instead of serving:\n{said}")
            if time.monotonic() - begun > 60:
                raise RuntimeError(f"{self.name} is not ready after 60 s; see {self.err}")
            time.sleep(0.05)
        return time.monotonic() - begun


class Cluster:
    """All of them, and who brings back what died: the part that systemd or Kubernetes has
    elsewhere. An end that no fault ordered is counted, and told in the report."""

    def __init__(self, binary, folder, fleet, args, settings):
        self.binary, self.folder, self.fleet = binary, folder, fleet
        self.settings = settings
        self.processes, self.guests = [], []
        if not fleet:
            self.processes.append(Process(binary, folder / "up-0", "up", {}, **settings))
        else:
            self.processes += [self.role("ingest", n, args) for n in range(args.ingests)]
            self.processes += [self.role("processor", n, args) for n in range(args.processors)]
            # Processors that only come and go while partitions are moved about.
            self.guests += [self.role("guest", n, args) for n in range(args.guests)]
        self.stopping = threading.Event()
        self.keeper = threading.Thread(target=self.keep, name="keeper", daemon=True)

    def role(self, name, n, args):
        variables = self.fleet.variables() | {"TINTYPE_KAFKA_GROUP_PROTOCOL": args.group_protocol}
        if name == "processor" and args.static:
            # As a pod of a stateful set: killed and back, it goes on with its partitions.
            variables["TINTYPE_KAFKA_INSTANCE"] = f"processor-{n}"
        if args.planted:
            variables["TINTYPE_PLANTED"] = args.planted
        role = "processor" if name == "guest" else name
        variables["TINTYPE_DATA"] = str(self.folder / f"{name}-{n}")
        return Process(self.binary, self.folder / f"{name}-{n}", role, variables, **self.settings)

    @property
    def everybody(self):
        return self.processes + self.guests

    def start(self):
        """Topics, bucket and first key; then all processes; then the keeper."""
        if self.fleet:
            key = self.initialise()
        for process in self.processes:
            process.wanted = True
            process.start(wait=False)
        for process in self.processes:
            process.wait_ready()
        if not self.fleet:
            key = re.search(r"tt_[A-Za-z0-9_-]+", self.processes[0].out.read_text()).group()
        for process in self.processes:
            process.key = key
        for guest in self.guests:
            guest.key = key
        self.keeper.start()

    def initialise(self):
        """`tintype init`, which prints the first admin key once."""
        env = self.processes[0].env
        done = subprocess.run([self.binary, "init"], env=env, capture_output=True, text=True, timeout=120)
        (self.folder / "init.out").write_text(done.stdout + done.stderr)
        found = re.search(r"tt_[A-Za-z0-9_-]+", done.stdout + done.stderr)
        if done.returncode or not found:
            raise RuntimeError(f"tintype init ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        return found.group()

    def keep(self):
        """Starts again what is wanted and not alive: at once what was killed, after a second
        what ended by itself, as it may for want of a server."""
        while not self.stopping.wait(0.02):
            for process in self.everybody:
                with process.busy:
                    if not process.wanted or process.is_alive():
                        continue
                    if process.process.returncode == -signal.SIGKILL or process.due is not None:
                        if process.due is None or time.monotonic() >= process.due:
                            process.due = None
                            process.start(wait=False)
                    else:
                        process.deaths += 1
                        process.due = time.monotonic() + 1

    def of(self, *roles):
        return [p for p in self.processes if p.role in roles]

    @property
    def doors(self):
        """Those that take uploads."""
        return self.of("ingest", "up")

    def join(self, process):
        """Starts a process that had left."""
        with process.busy:
            process.wanted = True
            if not process.is_alive():
                process.start(wait=False)

    def leave(self, process, within_s=30):
        """Ctrl-C; seconds until it was gone."""
        with process.busy:
            process.wanted = False
            if not process.is_alive():
                return 0.0
            begun = time.monotonic()
            process.process.send_signal(signal.SIGTERM)
            try:
                process.process.wait(within_s)
            except subprocess.TimeoutExpired:
                process.kill()
            return time.monotonic() - begun

    def kill(self, process):
        """SIGKILL; the keeper starts it again."""
        with process.busy:
            if process.is_alive():
                process.note_memory()
                process.kill()

    def kill_at(self, process, point, skipped, within_s=15):
        """Starts the process anew with a failpoint that kills it, once `skipped` calls are made; whether it came to that."""
        with process.busy:
            if process.is_alive():
                process.note_memory()
                process.kill()
            process.env["TINTYPE_FAILPOINTS"] = f"{point}={f'{skipped}*off->' if skipped else ''}1*return(kill)"
            process.start(wait=False)
            del process.env["TINTYPE_FAILPOINTS"]
            starts = process.starts
        until = time.monotonic() + within_s
        while process.starts == starts and time.monotonic() < until:
            time.sleep(0.05)
        return process.starts > starts

    def end(self):
        self.stopping.set()
        if self.keeper.is_alive():
            self.keeper.join(10)
        for process in self.everybody:
            if process.is_alive():
                process.resume()
                self.leave(process)
