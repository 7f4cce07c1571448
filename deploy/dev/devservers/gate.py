"""Is an S3 server fit to be trusted with exactly-once? The same questions that Tintype
asks at its start, by other code: racing create-only PUTs have one winner, whose bytes are
what is read; a wrong digest is refused and the old object is intact; what was written is
read and listed at once."""

import hashlib
import os
import time
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

# More rounds of each of the quick questions than a fault that shows sometimes can hide in.
QUICK_ROUNDS = 50


def main(fleet, writers, rounds):
    """Starts the S3 server if it does not run, asks, prints; 0 if it may be trusted."""
    fleet.up(["s3"])
    return 0 if probe(fleet["s3"].client(), writers, rounds) else 1


def probe(client, writers, rounds):
    """Prints each answer; true if all of them are right."""
    begun = time.monotonic()
    prefix = f"gate/{os.urandom(6).hex()}"
    fit = all([
        races(client, prefix, writers, rounds),
        wrong_digests(client, prefix),
        reads_and_lists(client, prefix),
    ])
    print(f"{'fit' if fit else 'NOT FIT'} for exactly-once ({time.monotonic() - begun:.1f} s)")
    return fit


def races(client, prefix, writers, rounds):
    """Writers wait for each other, then all create the same key."""
    barrier = Barrier(writers)
    results = [None] * writers

    def writer(n):
        said = []
        for number in range(rounds):
            barrier.wait()
            said.append(attempt(client, f"{prefix}/race-{number}", f"{number} by {n}".encode() * 50))
        results[n] = said

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(writer, range(writers)))
    winners, foreign, losers = Counter(), 0, Counter()
    for number in range(rounds):
        won = [n for n in range(writers) if results[n][number] == 200]
        winners[len(won)] += 1
        losers.update(results[n][number] for n in range(writers) if results[n][number] != 200)
        body = client.get(f"{prefix}/race-{number}")[1]
        foreign += all(body != f"{number} by {n}".encode() * 50 for n in won)
    fine = winners == {1: rounds} and foreign == 0
    print(f"create-only PUT: {writers} writers, {rounds} rounds; winners per round: {dict(winners)}; "
          f"rounds whose object is not the winner's: {foreign}; others were told: {dict(losers)}")
    return fine


def attempt(client, key, body):
    try:
        return client.put(key, body, if_none_match="*")
    except OSError as error:
        return str(error).split(":")[1].strip()


def wrong_digests(client, prefix):
    """Each way to send a digest, with one that is not the body's."""
    old, new = b"old" * 1000, b"new" * 1000
    wrong = hashlib.sha256(b"something else")
    ways = {
        "x-amz-checksum-sha256": b64encode(wrong.digest()).decode(),
        "content-md5": b64encode(hashlib.md5(b"something else").digest()).decode(),
        "x-amz-content-sha256": wrong.hexdigest(),
    }
    taken, damaged, told = 0, 0, Counter()
    for name, value in ways.items():
        for number in range(QUICK_ROUNDS):
            key = f"{prefix}/digest-{name}-{number}"
            client.put(key, old)
            status = client.request("PUT", f"/{client.bucket}/{key}", new, {name: value})[0]
            told[status] += 1
            taken += 200 <= status < 300
            damaged += client.get(key) != (200, old)
            damaged += client.get(f"{key}-absent")[0] != 404
    print(f"wrong digest: {sum(told.values())} sent in {len(ways)} ways; told {dict(told)}; "
          f"accepted: {taken}; old object gone: {damaged}")
    return taken == 0 and damaged == 0


def reads_and_lists(client, prefix):
    """Read, ask and list right after each write."""
    stale = 0
    for number in range(QUICK_ROUNDS):
        key, body = f"{prefix}/seen/{number}", os.urandom(2000)
        wrote = client.put(key, body)
        listed = client.list(f"{prefix}/seen/")
        stale += wrote != 200 or client.get(key) != (200, body) or client.head(key) != 200
        stale += listed.get(key) != len(body) or len(listed) != number + 1
    print(f"read and list after write: {QUICK_ROUNDS} rounds; stale: {stale}")
    return stale == 0
