"""What a measurement tells: each figure beside its bar, and whether all bars are met."""

import json
import os
import re
import time
from collections import Counter
from pathlib import Path


class Report:
    """Prints as it goes; `end` writes the same as JSON and says whether all is well."""

    def __init__(self, name, scratch):
        self.name, self.folder = name, Path(scratch) / "results"
        self.begun = time.time()
        self.figures, self.missed = [], []
        print(f"== {name}", flush=True)

    def figure(self, what, value, bar=None, met=None):
        """A figure; with a bar it counts. `met` defaults to `value == bar`."""
        if bar is not None and met is None:
            met = value == bar
        shown = f"{value:.3g}" if isinstance(value, float) else f"{value}"
        mark = "" if bar is None else f"   bar {bar}: {'met' if met else 'MISSED'}"
        print(f"  {what:<58} {shown:>12}{mark}", flush=True)
        self.figures.append({"what": what, "value": value, "bar": bar, "met": met})
        if met is False:
            self.missed.append(what)
        return met

    def at_most(self, what, value, limit):
        return self.figure(what, value, f"<= {limit}", value <= limit)

    def at_least(self, what, value, limit):
        return self.figure(what, value, f">= {limit}", value >= limit)

    def note(self, text):
        print(f"  {text}", flush=True)

    def listing(self, title, lines, limit=60):
        """Lines for a person to judge; all of them are in the JSON file."""
        lines = list(lines)
        if not lines:
            return
        print(f"  {title}: {len(lines)}")
        for line in lines[:limit]:
            print(f"    {line}")
        if len(lines) > limit:
            print(f"    ... and {len(lines) - limit} more")
        self.figures.append({"what": title, "lines": lines})

    def end(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "name": self.name, "date": time.strftime("%Y-%m-%d", time.gmtime(self.begun)),
            "seconds": round(time.time() - self.begun, 1), "hardware": hardware(),
            "missed": self.missed, "figures": self.figures,
        }
        (self.folder / f"{self.name}.json").write_text(json.dumps(whole, indent=1, default=str))
        said = f"MISSED: {'; '.join(self.missed)}" if self.missed else "all bars met"
        print(f"== {self.name}: {said} ({whole['seconds']} s)", flush=True)
        return not self.missed


def verdicts(captures):
    """`status/reason` counts of captures, as text."""
    counted = Counter(
        "/".join(filter(None, (c["status"], c.get("reason")))) for c in captures
    )
    return ", ".join(f"{n} {name}" for name, n in sorted(counted.items()))


def step_costs(before, after):
    """Per histogram of seconds: how often, and the mean in ms, between two scrapes."""
    rows = []
    for name, total in sorted(after.items()):
        match = re.fullmatch(r"(tintype_\w+_seconds)_sum(.*)", name)
        if not match:
            continue
        key = f"{match[1]}_count{match[2]}"
        n = after.get(key, 0) - before.get(key, 0)
        if n > 0:
            label = ",".join(re.findall(r'="([^"]*)"', match[2]))
            mean = (total - before.get(name, 0)) / n * 1e3
            rows.append((match[1].removeprefix("tintype_").removesuffix("_seconds"), label, int(n), mean))
    return rows


def percentile(values, share):
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def hardware():
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu.group(1) if cpu else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30),
    }
