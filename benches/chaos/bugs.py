"""Does the harness see a bug in the code? Each of these is compiled in by the feature
`planted` (schemas/src/planted.rs; beside it `failpoints`, for kills that are aimed) and switched on for one run of the usual kind; the run
must end with a broken promise."""

import subprocess
import sys
import time
from pathlib import Path

from measure import report as reports

BUGS = {
    "ack-before-delivery": "202 is answered before the broker has the event",
    "pointer-before-bytes": "the event is published before the original is stored",
    "keys-ignored": "a retry with the same Idempotency-Key is a new upload",
    "reset-to-latest": "an assignment starts at the end of its partition",
    "offset-by-maximum": "progress is the highest offset done, not the lowest open one",
    "offset-before-commit": "the group's offset passes records whose shard is still open",
    "lost-last-batch": "at the end the open shard is passed and not committed",
    "replays-not-dropped": "a record that the table has is judged again",
    "blind-retry": "a failed commit is made again without reading what is there",
    "late-fence": "a worker whose partition went to another commits all the same",
    "committed-not-told-again": "outcomes of rows that a dead process committed are not told",
    "passed-before-recorded": "outcomes are passed before the catalog has them",
}
# About a smoke run, with uploads as long as there are faults: what is wrong with a batch that is open
# or was just committed shows only if there is one. `--seed` makes the next ones differ, should one not be seen.
BUDGET = ["--uploads", "100000", "--cut", "--pace", "40", "--clients", "16", "--shard-rows", "4", "--decode-threads", "4",
          "--kills", "60", "--longest-s", "1.5", "--aimed", "12", "--rebalances", "10", "--server-kills", "1",
          "--server-stops", "0",
          "--settle-s", "30"]


def run(args):
    """Whether all were caught."""
    report = reports.Report("chaos-bugs", args.scratch)
    names = list(BUGS) if args.planted == "all" else args.planted.split(",")
    if unknown := [name for name in names if name not in BUGS]:
        sys.exit(f"chaos: no bug is called {', '.join(unknown)}; there are {', '.join(BUGS)}")
    for bug in names:
        what = BUGS[bug]
        begun = time.monotonic()
        words = [sys.executable, str(Path(__file__).parent), "--planted", bug, "--tintype", str(args.tintype),
                 "--scratch", str(args.scratch), "--tools", str(args.tools), "--seed", str(args.seed), *BUDGET]
        done = subprocess.run(words, capture_output=True, text=True)
        missed = [line.strip() for line in done.stdout.splitlines() if line.endswith("MISSED")]
        seen = done.returncode == 1 and bool(missed)
        report.figure(f"{bug}: {what}", "caught" if seen else f"NOT CAUGHT ({done.returncode})", "caught")
        report.note(f"     after {time.monotonic() - begun:.0f} s, by: {'; '.join(' '.join(m.split()) for m in missed[:3])}")
        if not seen:
            report.note("     " + (done.stdout + done.stderr)[-1500:].replace("\n", "\n     "))
    report.figure("bugs planted", len(names))
    return report.end()
