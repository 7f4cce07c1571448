#!/usr/bin/env bash
# bindings.sh LANGUAGE FOLDER: builds the library and writes its bindings (kotlin or swift) into FOLDER; the last line
# names the library. CARGO may name another command than `cargo`, PROFILE another profile than `dev`.
set -euo pipefail
language=$1 folder=$(mkdir -p "$2" && cd "$2" && pwd)
cd "$(dirname "$0")"
cargo=${CARGO:-cargo} profile=${PROFILE:-dev}
built=${CARGO_TARGET_DIR:-../target}/${profile/#dev/debug}
$cargo build --quiet --locked --profile "$profile" -p mobile-sdk --features bindgen
# Of the static library: a profile that strips leaves no metadata in the other.
"$built/uniffi-bindgen" generate "$built/libtintype_mobile.a" --config bindings.toml --language "$language" --no-format --out-dir "$folder"
echo "$built/libtintype_mobile.so"
