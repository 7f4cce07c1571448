#!/usr/bin/env bash
# build.sh [MAVEN ARGUMENTS]: the native library, the Kotlin bindings, the README's example as a test, then
# Maven (`test` if nothing is given). The tests run `tintype up`: the binary that TINTYPE_BIN names, or the
# one in the build folder. PROFILE=release builds and looks there.
set -euo pipefail
cd "$(dirname "$0")"
generated=target/generated-sources/uniffi
library=$(../bindings.sh kotlin "$generated" | tail -n 1)
mkdir -p target/native
# The path is seen from the folder above.
(cd .. && cp "$library" kotlin/target/native/)
./readme.sh
profile=${PROFILE:-dev}
export TINTYPE_BIN=${TINTYPE_BIN:-${CARGO_TARGET_DIR:-../../target}/${profile/#dev/debug}/tintype}
exec mvn -q -B "${@:-test}"
