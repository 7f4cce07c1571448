"""What goes wrong, in an order that the seed decides. Each fault is written down with its
begin and its end, so that a failure can be read beside what caused it."""

import json
import random
import threading
import time

# Longer than the session (6 s) of Tintype's consumers: the group goes on without it.
BEYOND_SESSION_S = (11.0, 14.0)
STOPPED_S = (1.0, 40.0)
# Where a promise hangs on what is done next: calls that were made and of which nobody has heard yet.
AIMS = {
    "ingest": ("store.put.original.after", "kafka.produce.captures.after"),
    "processor": ("store.put.photos_log.after", "kafka.produce.outcomes.before", "kafka.commit.prepared.before"),
}
AIMS["up"] = AIMS["ingest"] + AIMS["processor"]


class Faults:
    """Runs the faults that it is asked for, one kind at a time, on one cluster."""

    def __init__(self, cluster, path, seed):
        self.cluster, self.chance = cluster, random.Random(seed)
        self.file, self.lock = open(path, "a", encoding="utf-8"), threading.Lock()
        self.count, self.close_s, self.last_at = {}, [], time.monotonic()
        self.written = []

    def write(self, kind, who, begun, **facts):
        with self.lock:
            self.count[kind] = self.count.get(kind, 0) + 1
            self.last_at = time.monotonic()
            fault = {"kind": kind, "who": who, "begun": begun, "ended": time.time(), **facts}
            self.written.append(fault)
            self.file.write(json.dumps(fault) + "\n")
            self.file.flush()

    def kills(self, number, shortest_s=0.05, longest_s=2.0):
        """SIGKILL of a random process, 50 to 2,000 ms apart."""
        for _ in range(number):
            time.sleep(self.chance.uniform(shortest_s, longest_s))
            process = self.chance.choice(self.cluster.processes)
            begun = time.time()
            self.cluster.kill(process)
            self.write("kill", process.name, begun)

    def aimed_kills(self, number):
        """SIGKILL of a random process at one of its instants that chance hardly ever finds, by failpoints."""
        for _ in range(number):
            process = self.chance.choice(self.cluster.processes)
            point = self.chance.choice(AIMS[process.role])
            begun = time.time()
            reached = self.cluster.kill_at(process, point, self.chance.randrange(3))
            self.write("aimed kill" if reached else "kill that was aimed in vain", process.name, begun, point=point)

    def rebalances(self, number):
        """Processors leave, join, or are stopped for longer than their session. Guests are
        in no static membership: each coming and going of theirs moves partitions at once."""
        done = 0
        while done < number:
            staff = self.cluster.of("processor")
            process = self.chance.choice(staff + self.cluster.guests * 2)
            here = process.wanted and process.is_alive()
            kind = self.chance.choice(["leave", "leave", "leave", "stop"]) if here else "join"
            begun = time.time()
            if kind == "leave":
                took = self.cluster.leave(process)
                self.close_s.append(took)
                self.write("leave", process.name, begun, close_s=took)
                if process in staff:
                    time.sleep(self.chance.uniform(0.5, 3))
                    begun = time.time()
                    self.cluster.join(process)
                    self.write("join", process.name, begun)
                    done += 1
            elif kind == "join":
                self.cluster.join(process)
                self.write("join", process.name, begun)
            else:
                with process.busy:
                    process.pause()
                    time.sleep(self.chance.uniform(*BEYOND_SESSION_S))
                    process.resume()
                self.write("stop beyond the session", process.name, begun)
            done += 1
            time.sleep(self.chance.uniform(0.5, 3))
        for guest in self.cluster.guests:
            self.cluster.leave(guest)

    def server_kills(self, number):
        """SIGKILL of Kafka, S3 and PostgreSQL in turn, each started again at once."""
        for n in range(number):
            for name, server in self.shuffled_servers():
                begun = time.time()
                server.kill()
                time.sleep(self.chance.uniform(0, 2))
                back = server.start()
                self.write(f"kill {name}", name, begun, start_s=back, round=n)
                time.sleep(self.chance.uniform(1, 4))

    def server_stops(self, number, longest_s=STOPPED_S[1]):
        """SIGSTOP of Kafka, S3 and PostgreSQL in turn, for 1 to 40 s."""
        for n in range(number):
            for name, server in self.shuffled_servers():
                begun, seconds = time.time(), self.chance.uniform(STOPPED_S[0], longest_s)
                server.pause()
                try:
                    time.sleep(seconds)
                finally:
                    server.resume()
                self.write(f"stop {name}", name, begun, seconds=seconds, round=n)
                time.sleep(self.chance.uniform(1, 4))

    def shuffled_servers(self):
        servers = list(self.cluster.fleet.servers.items())
        self.chance.shuffle(servers)
        return servers
