#!/usr/bin/env bash
# check.sh: without a Swift toolchain, what can be checked is that the bindings are generated and declare every
# type, function and parameter label that the package calls them by. Where PYTHON names a Python with tree-sitter and
# tree-sitter-swift, the package's files are parsed as well (the bindings use `#if` before a declaration, which that grammar lacks).
set -euo pipefail
cd "$(dirname "$0")"
../bindings.sh swift target/generated > /dev/null
bindings=target/generated/TintypeCore.swift
missing=0 checked=0
expect() { # expect PATTERN: it is in the bindings
    checked=$((checked + 1))
    grep -Eq "$1" "$bindings" || { echo "the bindings have no: $1"; missing=$((missing + 1)); }
}
for type in Uploads Models Preprocessor; do expect "^open class $type"; done
for type in Settings Policy Conditions Photo Item ItemReason Verdict Enqueued PhotoLook RunReport Recovery PendingRequest \
    HttpRequest HttpResponse HttpHeader InstalledModel ModelUpdate CheckReport; do
    expect "^public struct $type"
done
for type in ItemState HoldReason Hint InputOrder ModelChoice TransportError TintypeError; do
    expect "^public enum $type|^enum $type|^public (indirect )?enum $type"
done
for type in Transport QueueListener ModelRuntime; do expect "^public protocol $type"; done
for call in '`?open`?\(settings: Settings, policy: Policy, transport: Transport\?\)' 'setListener\(listener: QueueListener\?\)' \
    'add\(photo: Photo, bytes: Data\)' 'look\(bytes: Data\)' 'addFile\(photo: Photo, path: String\)' 'items\(\)' 'recovery\(\)' 'retry\(id: String\)' \
    'remove\(id: String\)' 'run\(conditions: Conditions, maxSeconds: UInt32\?\)' 'stop\(\)' 'checkKnown\(\)' \
    'nextRequest\(conditions: Conditions\)' 'adopt\(itemId: String\)' 'finish\(itemId: String, response: HttpResponse\)' \
    'fail\(itemId: String, detail: String\)' '`?open`?\(folder: String, server: String, key: String, transport: Transport\?\)' \
    'update\(choice: ModelChoice, files: \[String\]\)' 'current\(\)' 'rollBack\(\)' 'preprocessor\(\)' \
    'check\(file: String, order: InputOrder, runtime: ModelRuntime\)' 'send\(request: HttpRequest\)' 'changed\(item: Item\)'; do
    expect "func $call"
done
echo "$checked names checked, $missing missing"
if "${PYTHON:-python3}" -c 'import tree_sitter_swift' 2>/dev/null; then
    find Package.swift Sources Tests Sample -name '*.swift' -exec "${PYTHON:-python3}" parse.py {} +
else
    echo "not parsed: tree-sitter-swift is not installed"
fi
[ "$missing" = 0 ]
