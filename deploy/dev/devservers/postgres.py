"""PostgreSQL from the system's packages: a cluster of its own, one user, one database.
It refuses to run as root; there it runs as `postgres`, else `nobody`."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from .process import Daemon, Failed, accepts, alive

USER = PASSWORD = DATABASE = "tintype"


class Postgres(Daemon):
    """The database server; `url` is what a client is given."""

    name = "postgres"
    end_signal = signal.SIGINT  # its "fast" shutdown

    @property
    def url(self):
        return f"postgres://{USER}:{PASSWORD}@127.0.0.1:{self.port()}/{DATABASE}"

    def fetch(self):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        on_path = shutil.which("postgres")
        if not found and on_path is None:
            raise Failed("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self.bin = found[-1] if found else Path(on_path).resolve().parent

    def prepare(self):
        data = self.folder / "data"
        if (data / "PG_VERSION").exists():
            self.forget_the_dead(data / "postmaster.pid")
            return
        shutil.rmtree(data, ignore_errors=True)  # an initdb that was cut short
        data.mkdir(parents=True)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if owner():
            for path in (self.folder, data, password):
                os.chown(path, owner().pw_uid, owner().pw_gid)
        if subprocess.run(["test", "-w", data], **self.as_owner()).returncode:
            raise Failed(
                f"user {owner().pw_name} cannot reach {data}; PostgreSQL does not run as root: "
                "choose a folder that everybody may enter, such as one below /tmp or /var/tmp"
            )
        words = [self.bin / "initdb", "-D", data, "-U", USER, "--pwfile", password,
                 "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=data, **self.as_owner())
        if done.returncode:
            raise Failed(f"initdb ended with {done.returncode}:\n{(done.stdout + done.stderr)[-1500:]}")

    def forget_the_dead(self, lock):
        """A killed server's lock is honoured as long as its process is in the list, which
        is for ever where nobody buries the dead."""
        if lock.exists() and not alive(int(lock.read_text().split()[0])):
            lock.unlink()

    def command(self):
        data = self.folder / "data"
        return [self.bin / "postgres", "-D", data, "-p", self.port(), "-h", "127.0.0.1",
                "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_buffers=64MB"], self.as_owner()

    def answers(self):
        ask = [self.bin_or_fetch() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port()), "-t", "2"]
        return accepts(self.port()) and subprocess.run(ask).returncode == 0

    def settle(self):
        words = [self.bin_or_fetch() / "createdb", "-h", "127.0.0.1", "-p", str(self.port()), "-U", USER, DATABASE]
        done = subprocess.run(words, env=os.environ | {"PGPASSWORD": PASSWORD}, capture_output=True, text=True)
        if done.returncode and "already exists" not in done.stderr:
            raise Failed(f"the database {DATABASE} cannot be made: {done.stderr}")

    def query(self, sql):
        """Rows of a query, each a list of texts."""
        words = [self.bin_or_fetch() / "psql", "-X", "-A", "-t", "-F", "\x1f", "-c", sql, self.url]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"the query ended with {done.returncode}: {done.stderr}")
        return [line.split("\x1f") for line in done.stdout.splitlines()]

    def bin_or_fetch(self):
        if not hasattr(self, "bin"):
            self.fetch()
        return self.bin

    def as_owner(self):
        who = owner()
        return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}


def owner():
    """Who runs it where we are root; nobody in particular else."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Failed("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
