#!/usr/bin/env bash
# build.sh: on a Mac with Xcode, the core for iPhones, their simulator and Macs as TintypeCore.xcframework, and its
# Swift bindings. Needs `rustup target add aarch64-apple-ios aarch64-apple-ios-sim aarch64-apple-darwin`.
set -euo pipefail
cd "$(dirname "$0")"
target_folder=${CARGO_TARGET_DIR:-../../target}
generated=target/generated
rm -rf TintypeCore.xcframework "$generated"
libraries=()
for target in aarch64-apple-ios aarch64-apple-ios-sim aarch64-apple-darwin; do
    cargo build --locked --profile mobile -p mobile-sdk --lib --no-default-features --target "$target"
    libraries+=(-library "$target_folder/$target/mobile/libtintype_mobile.a" -headers "$generated/headers")
done
cargo build --locked -p mobile-sdk --features bindgen
"$target_folder/debug/uniffi-bindgen" generate "$target_folder/debug/libtintype_mobile.a" \
    --config ../bindings.toml --language swift --out-dir "$generated"
mkdir -p "$generated/headers" Sources/TintypeCore
mv "$generated/TintypeCoreFFI.h" "$generated/headers/"
mv "$generated/TintypeCoreFFI.modulemap" "$generated/headers/module.modulemap"
mv "$generated/TintypeCore.swift" Sources/TintypeCore/
xcodebuild -create-xcframework "${libraries[@]}" -output TintypeCore.xcframework
