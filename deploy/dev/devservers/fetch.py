"""Programs and jars by the ordinary clients of their registries, each at one version and
once: what is there is not fetched again."""

import os
import shutil
import subprocess
from pathlib import Path

from .process import Failed

HERE = Path(__file__).resolve().parent.parent
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def jars(tools):
    """The folder of Kafka's jars."""
    pom = (HERE / "kafka-pom.xml").read_text()
    folder = tools / "kafka-jars"
    made_from = folder / "pom.xml"
    if made_from.exists() and made_from.read_text() == pom:
        return folder
    need("mvn", "Debian: apt-get install maven")
    unfinished = tools / "kafka-jars.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    run(["mvn", "-q", "-B", "-f", HERE / "kafka-pom.xml", COPY, f"-DoutputDirectory={unfinished}"])
    shutil.rmtree(folder, ignore_errors=True)
    (unfinished / "pom.xml").write_text(pom)
    unfinished.rename(folder)
    return folder


def go(tools, package, version):
    """A Go program, built from its module."""
    name = package.rsplit("/", 1)[1]
    folder = tools / f"{name}-{version}"
    if not (folder / name).exists():
        need("go", "https://go.dev/doc/install")
        run(["go", "install", f"{package}@{version}"], GOBIN=str(folder), GOFLAGS="-mod=mod")
    return folder / name


def need(program, hint):
    if shutil.which(program) is None:
        raise Failed(f"{program} is not installed ({hint})")


def run(words, **env):
    words = [str(word) for word in words]
    print(f"fetching: {' '.join(words)}", flush=True)
    done = subprocess.run(words, env=os.environ | env, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr)[-1500:]
        raise Failed(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
