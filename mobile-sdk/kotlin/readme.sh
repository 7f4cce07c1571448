#!/usr/bin/env bash
# readme.sh: makes a test source of the README's first Kotlin block, line for line, so that it is compiled and
# run as written.
set -euo pipefail
cd "$(dirname "$0")"
folder=target/generated-test-sources/readme
mkdir -p "$folder"
{
    echo "package dev.tintype"
    echo "import kotlinx.coroutines.CoroutineScope"
    echo "suspend fun readmeExample(folder: String, server: String, key: String, photo: ByteArray, scope: CoroutineScope, show: (List<dev.tintype.core.Item>) -> Unit) {"
    sed -n '/^```kotlin$/,/^```$/p' README.md | sed '1d' | sed '/^```$/,$d' \
        | sed -e 's|"https://photos.example.org"|server|' -e 's|"tt_..."|key|' -e 's|context.filesDir.path|folder|'
    echo "}"
} > "$folder/Readme.kt"
grep -q Tintype "$folder/Readme.kt"
