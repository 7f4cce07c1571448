#!/usr/bin/env bash
# bindings.sh LANGUAGE FOLDER: builds the library and writes its bindings (kotlin or swift) into FOLDER.
# CARGO may name another command than `cargo`.
set -euo pipefail
language=$1 folder=$(mkdir -p "$2" && cd "$2" && pwd)
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-../target}
$cargo build --quiet --locked -p mobile-sdk --features bindgen
"$target/debug/uniffi-bindgen" generate --library "$target/debug/libtintype_mobile.so" \
    --language "$language" --no-format --out-dir "$folder"
echo "$target/debug/libtintype_mobile.so"
