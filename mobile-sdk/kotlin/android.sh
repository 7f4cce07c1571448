#!/usr/bin/env bash
# android.sh: the core for each Android ABI, aligned to 16 KB pages, into src/main/jniLibs, and the bindings.
# Needs an NDK (ANDROID_NDK_HOME) and `rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android`.
set -euo pipefail
cd "$(dirname "$0")"
: "${ANDROID_NDK_HOME:?names the folder of an NDK}"
tools=$(echo "$ANDROID_NDK_HOME"/toolchains/llvm/prebuilt/*/bin)
target_folder=${CARGO_TARGET_DIR:-../../target}
while read -r abi target linker; do
    variable=CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER
    env "$variable=$tools/$linker" cargo build --locked --profile mobile -p mobile-sdk --lib --no-default-features --target "$target"
    mkdir -p "src/main/jniLibs/$abi"
    cp "$target_folder/$target/mobile/libtintype_mobile.so" "src/main/jniLibs/$abi/"
done <<'ABIS'
arm64-v8a aarch64-linux-android aarch64-linux-android24-clang
armeabi-v7a armv7-linux-androideabi armv7a-linux-androideabi24-clang
x86_64 x86_64-linux-android x86_64-linux-android24-clang
ABIS
../bindings.sh kotlin target/generated-sources/uniffi
