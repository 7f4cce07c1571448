#!/usr/bin/env python3
"""Checks the deployment files by tools of their own kind: `check.py [--go]`.

Python packages with the tools or schemas in them are fetched once into a folder of the
cache, Helm as a library from Maven Central. promtool and OpenTofu are taken from PATH or from
that folder; `--go` builds those that are missing with `go install`, which takes minutes each,
once. What cannot be checked here is said, and does not fail. Ends with 1 if a file is wrong."""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
DEPLOY = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tintype-deploy-check"
# Versions are pinned: what passed yesterday passes today.
GO_TOOLS = {
    "promtool": "github.com/prometheus/prometheus/cmd/promtool@v0.316.0",
    "tofu": "github.com/opentofu/opentofu/cmd/tofu@v1.12.6",
}
# Kinds whose schemas come with Kubernetes; the others belong to KEDA and Prometheus's operator.
KUBERNETES_VERSION = "1.33"
FOREIGN_KINDS = {"ScaledObject", "TriggerAuthentication", "PodMonitor"}
# Made by telemetry itself or by Prometheus, not by a metrics.rs.
OTHER_METRICS = {"up", "process_resident_memory_bytes", "process_peak_resident_memory_bytes"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--go", action="store_true", help="build missing tools")
    args = parser.parse_args()
    if not in_own_environment():
        return
    if args.go:
        build_go_tools()
    failures = []
    for check in (container_files, compose, chart, terraform, dashboards_and_alerts):
        try:
            said = check()
        except Wrong as wrong:
            failures.append(check.__name__)
            said = f"WRONG\n{wrong}"
        print(f"{check.__name__.replace('_', ' '):<24} {said}", flush=True)
    sys.exit(1 if failures else 0)


class Wrong(Exception):
    """A file is not as it should be."""


def container_files():
    files = sorted((DEPLOY / "container").glob("Dockerfile*"))
    hadolint = Path(sys.prefix) / "bin" / "hadolint"
    run([hadolint, *files])
    for file in files:
        text = file.read_text()
        last = text[text.rindex("\nFROM ") :]
        if not re.search(r"^USER [1-9]", last, re.M):
            raise Wrong(f"{file}: the last stage runs as root")
        if "HEALTHCHECK" not in last:
            raise Wrong(f"{file}: no health check")
    return f"{len(files)} by hadolint; none runs as root"


def compose():
    """By the schema of the Compose specification; then what it cannot know: every service has
    a health check, and whoever waits for another waits for one that has."""
    import yaml
    from compose_spec import PyOptions

    text = (DEPLOY / "compose.yaml").read_text()
    try:
        options = PyOptions()
        options.apply_merge = True  # `<<`, as Docker's own reader does
        options.from_yaml(text).validate()
    except Exception as error:  # whatever the binding raises, the file is what is wrong
        raise Wrong(f"compose.yaml: {error}") from error
    whole = yaml.safe_load(text)
    services = whole["services"]
    for name, service in services.items():
        for other, how in (service.get("depends_on") or {}).items():
            if other not in services:
                raise Wrong(f"compose.yaml: {name} waits for {other}, which is not there")
            healthy = "healthcheck" in services[other] or "dockerfile" in str(services[other].get("build"))
            if how["condition"] == "service_healthy" and not healthy:
                raise Wrong(f"compose.yaml: {name} waits for the health of {other}, which tells none")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (DEPLOY / source).exists():
                    raise Wrong(f"compose.yaml: {name} mounts {source}, which is not there")
            elif source not in whole["volumes"]:
                raise Wrong(f"compose.yaml: volume {source} of {name} is not declared")
    said = f"{len(services)} services by the Compose specification"
    docker = subprocess.run(["docker", "compose", "version"], capture_output=True) if shutil.which("docker") else None
    if docker is None or docker.returncode:
        return f"{said}; `docker compose config`: skipped, there is none"
    run(["docker", "compose", "-f", DEPLOY / "compose.yaml", "--profile", "*", "config", "--quiet"])
    return f"{said} and by docker compose config"


def chart():
    """Each set of values in `ci/`, laid over the chart's own: linted, rendered, and every
    resource held against Kubernetes' schemas."""
    helm, how = helm_command()
    if helm is None:
        return f"skipped: {how}"
    import kubernetes_validate
    import yaml

    folder, rendered = DEPLOY / "helm" / "tintype", 0
    values = sorted((folder / "ci").glob("*-values.yaml"))
    assert values, "no sets of values to check the chart with"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "tintype"
        for file in values:
            lay(folder, copy, yaml.safe_load(file.read_text()))
            run([*helm, "lint", copy])
            for document in filter(None, yaml.safe_load_all(run([*helm, "template", copy]))):
                rendered += 1
                check_pod(file, document)
                if document["kind"] in FOREIGN_KINDS:
                    continue
                try:
                    kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
                except Exception as error:  # of the validator's several kinds
                    raise Wrong(f"{file.name}: {document['kind']} {document['metadata']['name']}: {error}") from error
        # The chart's own schema refuses what cannot work.
        for bad in ({"settings": {"kafka": "nowhere"}}, {"existingSecret": ""}, {"trainr": {}}):
            lay(folder, copy, merged(yaml.safe_load(values[0].read_text()), bad))
            if subprocess.run([*map(str, helm), "template", str(copy)], capture_output=True).returncode == 0:
                raise Wrong(f"the chart takes {bad}")
    return (f"{how}: {rendered} resources of {len(values)} sets of values, strictly by Kubernetes "
            f"{KUBERNETES_VERSION}'s schemas; 3 mistakes refused")


def helm_command():
    """The words before `lint CHART` or `template CHART`, and what they are; or none, and why."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        return None, "Java or Maven is not installed"
    check, jars = DEPLOY / "helm" / "check", CACHE / "helm-java"
    stamp = jars / "pom.xml"
    if not stamp.exists() or stamp.read_text() != (check / "pom.xml").read_text():
        shutil.rmtree(jars, ignore_errors=True)
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        done = subprocess.run(["mvn", "-q", "-B", "-f", check / "pom.xml", copy, f"-DoutputDirectory={jars}"],
                              capture_output=True, text=True)
        if done.returncode:
            return None, "Helm's library cannot be fetched"
        shutil.copy(check / "pom.xml", stamp)
    return ["java", "-cp", f"{jars}/*", check / "Chart.java"], "helm lint --strict, helm template"


def lay(folder, copy, values):
    """The chart with other values of its own: `lint` of the library takes no others."""
    import yaml

    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    own = yaml.safe_load((folder / "values.yaml").read_text())
    (copy / "values.yaml").write_text(yaml.safe_dump(merged(own, values)))


def merged(own, other):
    """`other` over `own`, map by map, as Helm does it."""
    if not (isinstance(own, dict) and isinstance(other, dict)):
        return other
    return own | {key: merged(own.get(key), value) for key, value in other.items()}


def check_pod(file, document):
    """Rules that no schema has."""
    template = document.get("spec", {}).get("template") if document["kind"] in ("Deployment", "StatefulSet", "Job") else None
    if template is None:
        return
    where = f"{file.name}: {document['kind']} {document['metadata']['name']}"
    if not template["spec"]["securityContext"].get("runAsNonRoot"):
        raise Wrong(f"{where} may run as root")
    for container in template["spec"]["containers"]:
        if document["kind"] in ("Deployment", "StatefulSet") and not {"readinessProbe", "livenessProbe"} <= set(container):
            raise Wrong(f"{where} has no probes")
        if "memory" not in container["resources"]["limits"]:
            raise Wrong(f"{where} has no limit of memory")


def terraform():
    """Syntax of every file; that every name used is declared; OpenTofu's format. `validate`
    needs the providers' schemas, which lie where not every machine may fetch from."""
    import hcl2

    folder = DEPLOY / "terraform"
    declared, used, files = set(), set(), sorted(folder.glob("*.tf"))
    for file in files:
        text = file.read_text()
        try:
            hcl2.loads(text)
        except Exception as error:
            raise Wrong(f"{file}: {str(error)[:600]}") from error
        declared |= {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.M)}
        declared |= {f"data.{kind}.{name}" for kind, name in re.findall(r'^data "(\w+)" "(\w+)"', text, re.M)}
        declared |= {f"var.{name}" for name in re.findall(r'^variable "(\w+)"', text, re.M)}
        code = re.sub(r"#.*", "", text)
        used |= set(re.findall(r"(?<![.\w])((?:data\.)?(?:aws|random)_\w+\.\w+)(?=[.\[])", code))
        used |= set(re.findall(r"(?<![.\w])(var\.\w+)", code))
        if re.search(r"(from_port|to_port)\s*=\s*22\b", code):
            raise Wrong(f"{file}: SSH is open")
    if used - declared:
        raise Wrong(f"used, but declared nowhere: {sorted(used - declared)}")
    unused = {name for name in declared - used if name.startswith("var.")}
    if unused:
        raise Wrong(f"declared, but used nowhere: {sorted(unused)}")
    said = f"{len(files)} files, {len(declared)} names"
    tofu = tool("tofu") or tool("terraform")
    if tofu is None:
        return f"{said}; fmt and validate: skipped, no tofu here (check.py --go builds it)"
    run([tofu, f"-chdir={folder}", "fmt", "-check", "-diff"])
    data = CACHE / "tofu"
    env = {"TF_DATA_DIR": str(data), "TF_PLUGIN_CACHE_DIR": ""}
    fetched = subprocess.run([tofu, f"-chdir={folder}", "init", "-backend=false", "-input=false", "-lockfile=readonly"],
                             env=os.environ | env, capture_output=True, text=True)
    if fetched.returncode:
        return f"{said}; fmt; validate: skipped, the providers cannot be fetched"
    run([tofu, f"-chdir={folder}", "validate"], **env)
    return f"{said}; fmt; validate"


def dashboards_and_alerts():
    """Every query parses, and asks only for metrics that some metrics.rs declares."""
    import promql_parser
    import yaml

    root = DEPLOY.parent
    declared = set(OTHER_METRICS)
    for file in root.glob("**/src/**/metrics.rs"):
        if "target" not in file.parts:
            declared |= set(re.findall(r'"((?:tintype|trainer)_[a-z0-9_]+)"', file.read_text()))
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    queries = [(rule["alert"], rule["expr"]) for rule in alerts]
    for rule in alerts:
        if rule["labels"].get("severity") not in ("page", "ticket") or not rule["annotations"].get("action"):
            raise Wrong(f"alert {rule['alert']} does not say whom it wakes and what to do")
    board = json.loads((DEPLOY / "grafana" / "tintype.json").read_text())
    for panel in board["panels"]:
        queries += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    for where, query in queries:
        plain = query.replace("$__rate_interval", "5m").replace("$job", "x")
        try:
            promql_parser.parse(plain)
        except Exception as error:
            raise Wrong(f"{where}: {error}: {query}") from error
        for name in re.findall(r"\b((?:tintype|trainer|process)_[a-z0-9_]+)", plain):
            if name not in declared and re.sub(r"_(bucket|sum|count)$", "", name) not in declared:
                raise Wrong(f"{where}: there is no metric {name}")
    said = f"{len(queries)} queries, {len(declared)} metrics"
    promtool = tool("promtool")
    if promtool is None:
        return f"{said}; promtool: skipped, there is none (check.py --go builds it)"
    folder = DEPLOY / "prometheus"
    run([promtool, "check", "config", folder / "prometheus.yml"])
    run([promtool, "test", "rules", folder / "alerts_test.yml"])
    return f"{said}; promtool check config, test rules"


def tool(name):
    found = CACHE / "bin" / name
    return found if found.exists() else shutil.which(name)


def build_go_tools():
    if shutil.which("go") is None:
        print("go is not installed: no tools are built")
        return
    for name, package in GO_TOOLS.items():
        if tool(name) is None:
            env = os.environ | {"GOBIN": str(CACHE / "bin"), "GOFLAGS": "-mod=mod"}
            done = subprocess.run(["go", "install", package], env=env, capture_output=True, text=True)
            print(f"go install {package}: {'done' if done.returncode == 0 else done.stderr[-300:]}", flush=True)


def run(words, **env):
    done = subprocess.run([str(w) for w in words], env=os.environ | env, capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"{' '.join(map(str, words))}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def in_own_environment():
    """Goes on in a virtual environment with the packages; false, with a word, if they cannot be had."""
    if Path(sys.prefix) == CACHE / "venv":
        return True
    python, wanted = CACHE / "venv" / "bin" / "python", DEPLOY / "check-requirements.txt"
    stamp = CACHE / "venv" / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        shutil.rmtree(CACHE / "venv", ignore_errors=True)
        done = subprocess.run([sys.executable, "-m", "venv", CACHE / "venv"], capture_output=True, text=True)
        if done.returncode == 0:
            done = subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], capture_output=True, text=True)
        if done.returncode:
            print(f"deployment files: SKIPPED, the checkers cannot be fetched: {(done.stdout + done.stderr)[-300:].strip()}")
            return False
        stamp.write_text(wanted.read_text())
    os.execv(python, [python, __file__, *sys.argv[1:]])


if __name__ == "__main__":
    main()
