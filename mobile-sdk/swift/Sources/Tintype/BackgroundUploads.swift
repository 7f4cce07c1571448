import Foundation
import TintypeCore

/// Hands the queue's photos to a background `URLSession`, which sends them while the app is suspended, and brings the
/// answers back, also those that come when the system has started the app anew.
///
/// Make it early in the app's life, with the same identifier each time, and pass on
/// `application(_:handleEventsForBackgroundURLSession:completionHandler:)` to ``events(completion:)``.
public final class BackgroundUploads: NSObject, URLSessionTaskDelegate, @unchecked Sendable {
    private let queue: Uploads
    private let identifier: String
    private let lock = NSLock()
    private var completion: (() -> Void)?
    private lazy var session: URLSession = {
        let configuration = URLSessionConfiguration.background(withIdentifier: identifier)
        configuration.sessionSendsLaunchEvents = true
        configuration.isDiscretionary = false
        return URLSession(configuration: configuration, delegate: self, delegateQueue: nil)
    }()

    /// - Parameters:
    ///   - tintype: the queue. Do not call `start()` on it at the same time: each photo is sent by one of the two.
    ///   - identifier: the session's name, the same in each life of the app.
    public init(_ tintype: Tintype, identifier: String = "dev.tintype.uploads") {
        queue = tintype.queue
        self.identifier = identifier
        super.init()
        session.getAllTasks { [queue] tasks in
            // What the system still has is not handed over a second time.
            tasks.compactMap(\.taskDescription).forEach { _ = try? queue.adopt(itemId: $0) }
        }
    }

    /// Hands over up to `limit` photos. More at once gain nothing: the system sends a few at a time.
    public func handOver(conditions: Conditions, limit: Int = 20) {
        _ = try? queue.checkKnown()
        for _ in 0..<limit {
            guard let pending = queue.nextRequest(conditions: conditions),
                let url = URL(string: pending.request.url),
                let file = pending.request.bodyFile
            else { return }
            var request = URLRequest(url: url)
            request.httpMethod = pending.request.method
            pending.request.headers.forEach { request.setValue($0.value, forHTTPHeaderField: $0.name) }
            let task = session.uploadTask(with: request, fromFile: URL(fileURLWithPath: file))
            task.taskDescription = pending.itemId
            task.resume()
        }
    }

    /// The system has started the app for this session's events; `completion` is called when all are told.
    public func events(completion: @escaping () -> Void) {
        lock.withLock { self.completion = completion }
    }

    public func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: Error?) {
        guard let item = task.taskDescription else { return }
        if let response = task.response as? HTTPURLResponse, error == nil {
            let headers = response.allHeaderFields.map { HttpHeader(name: "\($0.key)", value: "\($0.value)") }
            // The receipt is in the headers; a background session keeps no body here.
            let answer = HttpResponse(status: UInt16(response.statusCode), headers: headers, body: Data())
            _ = try? queue.finish(itemId: item, response: answer)
        } else {
            _ = try? queue.fail(itemId: item, detail: error?.localizedDescription ?? "no answer")
        }
    }

    public func urlSessionDidFinishEvents(forBackgroundURLSession session: URLSession) {
        let completion = lock.withLock { () -> (() -> Void)? in
            defer { self.completion = nil }
            return self.completion
        }
        DispatchQueue.main.async { completion?() }
    }
}
