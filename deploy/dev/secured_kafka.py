#!/usr/bin/env python3
"""Does Tintype speak TLS and SASL SCRAM? `secured_kafka.py DIR --tintype BINARY`, which must be
built with the feature kafka-tls. Starts a Kafka that listens by SASL_SSL alone, with certificates
made here, and asks `check-config` with the right settings and with each kind of wrong ones."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from devservers import kafka as plain  # noqa: E402

USER, PASSWORD = "tintype", "tintype-dev-secret"


class SecuredKafka(plain.Kafka):
    """As the other, but nobody gets in without TLS and a password."""

    name = "secured-kafka"

    def prepare(self):
        make_certificates(self.folder)
        text = plain.SETTINGS.format(port=self.port(), controller=self.port("controller_port"), data=self.folder / "data")
        text = text.replace("PLAINTEXT://127.0.0.1", "SASL_SSL://127.0.0.1")
        text = text.replace("map=PLAINTEXT:PLAINTEXT,", "map=SASL_SSL:SASL_SSL,")
        text += "\n".join([
            "inter.broker.listener.name=SASL_SSL",
            "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
            f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={jaas()}",
            f"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={jaas()}",
            f"ssl.keystore.location={self.folder / 'broker.p12'}", "ssl.keystore.password=changeit",
            "ssl.keystore.type=PKCS12", f"ssl.truststore.location={self.folder / 'ca.pem'}", "ssl.truststore.type=PEM", "",
        ])
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.properties").write_text(plain.LOGGING)
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        words = [*self.java(), "kafka.tools.StorageTool", "format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg",
                 "--config", self.folder / "server.properties"]
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            words += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"Kafka's storage cannot be formatted:\n{(done.stdout + done.stderr)[-1500:]}")

    def answers(self):
        """A TLS handshake with our own certificate is enough."""
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port()}", "-CAfile",
                               self.folder / "ca.pem", "-verify_return_error"], input="", capture_output=True, text=True)
        return done.returncode == 0


def jaas():
    return ("org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{USER}" password="{PASSWORD}";')


def make_certificates(folder):
    """A root of our own, one for the broker, and one that signed nothing."""
    if (folder / "broker.p12").exists():
        return

    def openssl(*words, **more):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, cwd=folder, **more)
        if done.returncode:
            sys.exit(f"openssl {words[0]}: {done.stderr[-800:]}")

    for name in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "broker.key", "-out", "broker.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "names", "-out", "broker.pem")
    openssl("pkcs12", "-export", "-in", "broker.pem", "-inkey", "broker.key", "-certfile", "ca.pem",
            "-passout", "pass:changeit", "-out", "broker.p12")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tintype", type=Path, required=True)
    args = parser.parse_args()
    tools = Path(os.environ.get("TINTYPE_DEV_TOOLS", args.folder / "tools"))
    kafka = SecuredKafka(args.folder.resolve() / SecuredKafka.name, tools)
    kafka.start()
    right = {"KAFKA": kafka.address, "KAFKA_TLS": "true", "KAFKA_CA": str(kafka.folder / "ca.pem"),
             "KAFKA_SASL": "scram-sha-512", "KAFKA_USER": USER, "KAFKA_PASSWORD": PASSWORD,
             "OBJECTS": (args.folder.resolve() / "objects").as_uri()}
    cases = [
        ("SCRAM-SHA-512", {}, "no topic"),
        ("SCRAM-SHA-256", {"KAFKA_SASL": "scram-sha-256"}, "no topic"),
        ("a wrong password", {"KAFKA_PASSWORD": "guessed"}, "uthentication"),
        ("a root that signed nothing", {"KAFKA_CA": str(kafka.folder / "stranger.pem")}, "certificate"),
        ("no TLS", {"KAFKA_TLS": "false", "KAFKA_CA": ""}, "(no TLS, SASL"),
        ("a mechanism that the broker has not", {"KAFKA_SASL": "plain"}, "echanism"),
    ]
    wrong = 0
    try:
        for what, change, expected in cases:
            begun = time.monotonic()
            told = ask(args.tintype, right | change)
            fits = expected in told and PASSWORD not in told
            wrong += not fits
            print(f"{what:<36} {'as expected' if fits else 'NOT AS EXPECTED'} ({time.monotonic() - begun:.1f} s): {told}", flush=True)
    finally:
        kafka.end()
    sys.exit(1 if wrong else 0)


def ask(binary, settings):
    """What `check-config` says of Kafka."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TINTYPE_")}
    env |= {f"TINTYPE_{name}": value for name, value in settings.items()}
    done = subprocess.run([binary, "check-config", "--json"], env=env, capture_output=True, text=True, timeout=120)
    if not done.stdout.strip():
        return done.stderr.strip()
    return next(c["detail"] for c in json.loads(done.stdout)["connections"] if c["name"] == "kafka")


if __name__ == "__main__":
    main()
