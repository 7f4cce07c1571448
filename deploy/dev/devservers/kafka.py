"""Apache Kafka, one node that is broker and controller (KRaft), in 512 MiB."""

import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode

from . import fetch
from .process import Daemon, Failed

LOGGING = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
"""

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
# A lone developer does not wait for others to join.
group.initial.rebalance.delay.ms=0
# A member that a test stopped is gone soon; the default is 45 s.
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=10000
group.consumer.min.heartbeat.interval.ms=1000
group.consumer.heartbeat.interval.ms=3000
log.cleaner.dedupe.buffer.size=33554432
"""


class Kafka(Daemon):
    """The broker; its address is what clients bootstrap from."""

    name = "kafka"
    version = "4.1.0"

    @property
    def address(self):
        return f"127.0.0.1:{self.port()}"

    def fetch(self):
        fetch.need("java", "Java 17 or later; Debian: apt-get install openjdk-17-jre-headless")
        self.jars = fetch.jars(self.tools)

    def prepare(self):
        settings = self.folder / "server.properties"
        settings.write_text(SETTINGS.format(
            port=self.port(), controller=self.port("controller_port"), data=self.folder / "data"
        ))
        (self.folder / "log4j2.properties").write_text(LOGGING)
        if (self.folder / "data" / "meta.properties").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        words = [*self.java(), "kafka.tools.StorageTool", "format", "--cluster-id", cluster,
                 "--config", settings, "--ignore-formatted"]
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"Kafka's storage cannot be formatted:\n{(done.stdout + done.stderr)[-1500:]}")

    def command(self):
        return [*self.java(), "kafka.Kafka", self.folder / "server.properties"], {}

    def java(self):
        # The first compiler only, one collector thread: it starts in seconds on two cores.
        return ["java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
                "-cp", f"{self.jars}/*"]

    def answers(self):
        """Asks which requests it knows; it answers nobody before it has joined itself."""
        try:
            with socket.create_connection(("127.0.0.1", self.port()), 2) as connection:
                client = b"servers"
                request = struct.pack(">hhih", 18, 0, 7, len(client)) + client
                connection.sendall(struct.pack(">i", len(request)) + request)
                head = connection.recv(10, socket.MSG_WAITALL)
                return len(head) == 10 and struct.unpack(">iih", head)[1:] == (7, 0)
        except OSError:
            return False
