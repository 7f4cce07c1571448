import Foundation
@_exported import TintypeCore

/// Sends labelled photos to a Tintype server, each of them once, through kills, reboots and dead networks.
///
/// There is one object for each folder; share it. All calls may be made from any thread or actor, and none of
/// them blocks its caller.
///
/// ```swift
/// let tintype = try Tintype(folder: folder, server: "https://photos.example.org", key: "tt_...", dataset: "cups")
/// tintype.start()
/// try await tintype.send(photo, label: "cup")
/// for await photos in tintype.photos { show(photos) }
/// ```
public final class Tintype: @unchecked Sendable {
    /// The queue itself, for services that send in the background on their own.
    public let queue: Uploads
    private let conditions: @Sendable () -> Conditions
    private let listener = Listener()
    private let work = DispatchQueue(label: "dev.tintype.work", qos: .utility, attributes: .concurrent)
    private let lock = NSLock()
    private var sending: Task<Void, Never>?

    /// Opens the queue in a folder, or makes an empty one there.
    ///
    /// - Parameters:
    ///   - folder: a folder of the app's own that the system never empties: in Application Support, not in Caches.
    ///   - server: the server's address, such as `https://photos.example.org`.
    ///   - key: an API key with the scope `upload`: all that belongs inside an app.
    ///   - dataset: the dataset, by name or id.
    ///   - policy: when photos are sent, and what is sent of them.
    ///   - device: what the table calls this device; no name of a person.
    ///   - transport: how requests are sent; by the system's `URLSession` if left out.
    ///   - conditions: tells how the device stands; by `NWPathMonitor` and `UIDevice` if left out.
    /// - Throws: `TintypeError.Settings` if something makes no sense, `TintypeError.AlreadyOpen` if the folder is open.
    public init(
        folder: URL,
        server: String,
        key: String,
        dataset: String,
        policy: Policy = Policy(),
        device: String? = nil,
        transport: Transport? = nil,
        conditions: (@Sendable () -> Conditions)? = nil
    ) throws {
        let settings = Settings(folder: folder.path, server: server, key: key, dataset: dataset, device: device)
        queue = try Uploads.open(settings: settings, policy: policy, transport: transport ?? SessionTransport())
        let monitor = DeviceConditions.shared
        self.conditions = conditions ?? { monitor.now() }
        queue.setListener(listener: listener)
        if conditions == nil {
            monitor.onChange { [weak self] in self?.wake() }
        }
    }

    /// All photos, the oldest first, now and after every change.
    public var photos: AsyncStream<[Item]> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let id = listener.add { [queue, work] in
                // The listener is called under no lock of the queue, but must be quick.
                work.async { continuation.yield(queue.items()) }
            }
            continuation.yield(queue.items())
            continuation.onTermination = { [listener] _ in listener.remove(id) }
        }
    }

    /// What opening the queue found that was not as it should be.
    public var recovery: Recovery { queue.recovery() }

    /// Looks at a photo and keeps nothing: is it good enough, is it here already? In time to take it again;
    /// ``send(_:label:capturedAt:metadata:)`` finds the same hints.
    public func look(_ photo: Data) async throws -> PhotoLook {
        try await run { try self.queue.look(bytes: photo) }
    }

    /// Takes a photo in and returns once it is safe on this device: from then on it arrives once, or has a reason.
    ///
    /// - Parameters:
    ///   - photo: the bytes of a JPEG, HEIC, PNG or WebP file.
    ///   - label: what it shows.
    ///   - capturedAt: when it was taken; if left out, the server reads it from the file.
    ///   - metadata: anything else that belongs into the table beside it.
    /// - Throws: `TintypeError.Photo` if no server would take it, `TintypeError.DiskFull` if there is no room,
    ///   `TintypeError.QueueFull` at the policy's bounds; nothing is kept then.
    @discardableResult
    public func send(
        _ photo: Data,
        label: String,
        capturedAt: Date? = nil,
        metadata: [String: String] = [:]
    ) async throws -> Enqueued {
        let time = capturedAt.map { ISO8601DateFormatter().string(from: $0) }
        let details = Photo(label: label, capturedAt: time, metadata: metadata)
        let taken = try await run { try self.queue.add(photo: details, bytes: photo) }
        wake()
        return taken
    }

    /// The same with the photo in a file, which is read and left where it is.
    @discardableResult
    public func sendFile(
        _ file: URL,
        label: String,
        capturedAt: Date? = nil,
        metadata: [String: String] = [:]
    ) async throws -> Enqueued {
        let time = capturedAt.map { ISO8601DateFormatter().string(from: $0) }
        let details = Photo(label: label, capturedAt: time, metadata: metadata)
        let taken = try await run { try self.queue.addFile(photo: details, path: file.path) }
        wake()
        return taken
    }

    /// Sends until ``stop()``: at once what may be sent, later what was held up. For the time in the foreground.
    public func start() {
        lock.withLock {
            guard sending == nil else { return }
            sending = Task.detached(priority: .utility) { [weak self] in
                while !Task.isCancelled {
                    guard let self else { return }
                    let report = try? await self.sendNow()
                    // Without a due time it depends on new photos or other conditions, which wake it.
                    let wait = report?.nextRunMs ?? Self.recheckMs
                    await self.sleep(milliseconds: wait)
                }
            }
        }
    }

    /// Sends what may be sent now, for at most `seconds`: the body of a `BGProcessingTask`.
    @discardableResult
    public func sendNow(seconds: UInt32? = nil) async throws -> RunReport {
        try await withTaskCancellationHandler {
            try await run { try self.queue.run(conditions: self.conditions(), maxSeconds: seconds) }
        } onCancel: {
            queue.stop()
        }
    }

    /// Says that something has changed: there is a photo, the network is back, or the device is charging.
    public func wake() {
        sleeper.wake()
    }

    /// Ends ``start()``: what is on its way is waited for.
    public func stop() {
        lock.withLock {
            sending?.cancel()
            sending = nil
        }
        queue.stop()
    }

    /// Tries a photo again now that was refused, or that waits for its next try.
    @discardableResult
    public func retry(_ id: String) async throws -> Item {
        let item = try await run { try self.queue.retry(id: id) }
        wake()
        return item
    }

    /// Takes a photo off the list; one that waits is deleted and never sent.
    public func remove(_ id: String) async throws {
        try await run { try self.queue.remove(id: id) }
        listener.tellAll()
    }

    private static let recheckMs: UInt64 = 60_000
    private let sleeper = Sleeper()

    private func sleep(milliseconds: UInt64) async {
        await sleeper.sleep(milliseconds: milliseconds)
    }

    /// Blocking calls of the core run on threads of their own, never on Swift's cooperative pool.
    private func run<T: Sendable>(_ call: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            work.async { continuation.resume(with: Result(catching: call)) }
        }
    }
}

/// Hands every change on to whoever listens.
private final class Listener: QueueListener, @unchecked Sendable {
    private let lock = NSLock()
    private var handlers: [UUID: @Sendable () -> Void] = [:]

    func add(_ handler: @escaping @Sendable () -> Void) -> UUID {
        let id = UUID()
        lock.withLock { handlers[id] = handler }
        return id
    }

    func remove(_ id: UUID) {
        lock.withLock { handlers[id] = nil }
    }

    func changed(item: Item) {
        tellAll()
    }

    func tellAll() {
        let all = lock.withLock { Array(handlers.values) }
        all.forEach { $0() }
    }
}

/// Sleeps until a time is over or somebody wakes it. One wake is as good as many, and one that comes while
/// nobody sleeps ends the next sleep at once.
private final class Sleeper: @unchecked Sendable {
    private let lock = NSLock()
    private var isWoken = false
    private var sleeping: CheckedContinuation<Void, Never>?

    func sleep(milliseconds: UInt64) async {
        let timer = Task { [weak self] in
            try? await Task.sleep(nanoseconds: milliseconds * 1_000_000)
            self?.wake()
        }
        await withCheckedContinuation { continuation in
            let isOver = lock.withLock { () -> Bool in
                if isWoken { return true }
                sleeping = continuation
                return false
            }
            if isOver { continuation.resume() }
        }
        lock.withLock { isWoken = false }
        timer.cancel()
    }

    func wake() {
        let waiting = lock.withLock { () -> CheckedContinuation<Void, Never>? in
            isWoken = true
            defer { sleeping = nil }
            return sleeping
        }
        waiting?.resume()
    }
}
