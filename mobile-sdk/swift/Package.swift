// swift-tools-version:5.9
import PackageDescription

// ./build.sh makes TintypeCore.xcframework and Sources/TintypeCore/TintypeCore.swift first.
let package = Package(
    name: "Tintype",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Tintype", targets: ["Tintype"])],
    targets: [
        .binaryTarget(name: "TintypeCoreFFI", path: "TintypeCore.xcframework"),
        .target(name: "TintypeCore", dependencies: ["TintypeCoreFFI"]),
        .target(name: "Tintype", dependencies: ["TintypeCore"]),
        .testTarget(name: "TintypeTests", dependencies: ["Tintype"]),
    ]
)
