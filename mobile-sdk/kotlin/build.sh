#!/usr/bin/env bash
# build.sh [MAVEN ARGUMENTS]: the native library, the Kotlin bindings, the README's example as a test, then
# Maven (`test` if nothing is given). The tests run `tintype up`: the binary that TINTYPE_BIN names, or the
# one in the build folder.
set -euo pipefail
cd "$(dirname "$0")"
generated=target/generated-sources/uniffi
library=$(../bindings.sh kotlin "$generated" | tail -n 1)
mkdir -p target/native
cp "$library" target/native/
./readme.sh
target_folder=${CARGO_TARGET_DIR:-../../target}
export TINTYPE_BIN=${TINTYPE_BIN:-$target_folder/debug/tintype}
exec mvn -q -B "${@:-test}"
