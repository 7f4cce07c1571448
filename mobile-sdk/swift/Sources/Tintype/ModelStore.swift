import Foundation
import TintypeCore

/// The app's models: fetched, verified, swapped at once, taken back.
public final class ModelStore: Sendable {
    private let models: Models
    private let work = DispatchQueue(label: "dev.tintype.models", qos: .utility)

    /// - Parameters:
    ///   - folder: a folder of the app's own, another one than the queue's.
    ///   - server: the server's address.
    ///   - key: an API key with the scope `upload` or `read`.
    ///   - transport: how requests are sent; by the system's `URLSession` if left out.
    public init(folder: URL, server: String, key: String, transport: Transport? = nil) throws {
        models = try Models.open(folder: folder.path, server: server, key: key, transport: transport ?? SessionTransport())
    }

    /// Fetches the newest model of a dataset if it is not here yet. Nothing changes unless every file has its hash.
    public func updateToNewest(dataset: String, files: [String] = ["model.mlmodel"]) async throws -> ModelUpdate {
        try await run { try self.models.update(choice: .newestOf(dataset: dataset), files: files) }
    }

    /// Fetches this model if it is not here yet.
    public func update(model id: String, files: [String] = ["model.mlmodel"]) async throws -> ModelUpdate {
        try await run { try self.models.update(choice: .model(id: id), files: files) }
    }

    /// The model in use, its files verified anew; nothing if none was fetched yet.
    public func current() async throws -> InstalledModel? {
        try await run { try self.models.current() }
    }

    /// Goes back to the model before; the one in use is not installed again.
    public func rollBack() async throws -> InstalledModel {
        try await run { try self.models.rollBack() }
    }

    /// The preprocessing of the model in use: the function that it was trained with.
    public func preprocessor() async throws -> Preprocessor {
        try await run { try self.models.preprocessor() }
    }

    /// Lets the app's runtime answer the golden pictures. Use a model only if this passes.
    public func check(file: String, order: InputOrder, runtime: ModelRuntime) async throws -> CheckReport {
        try await run { try self.models.check(file: file, order: order, runtime: runtime) }
    }

    private func run<T: Sendable>(_ call: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            work.async { continuation.resume(with: Result(catching: call)) }
        }
    }
}
