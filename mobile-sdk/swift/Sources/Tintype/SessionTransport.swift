import Foundation
import TintypeCore

/// HTTP by the system's `URLSession`, waited for on the core's own threads. Files are sent from where they are and
/// received into where they go, never through memory as a whole.
public final class SessionTransport: NSObject, Transport, URLSessionTaskDelegate, @unchecked Sendable {
    private lazy var session: URLSession = {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.timeoutIntervalForRequest = 30
        configuration.waitsForConnectivity = false
        configuration.urlCache = nil
        return URLSession(configuration: configuration, delegate: self, delegateQueue: nil)
    }()

    public override init() {
        super.init()
    }

    public func send(request: HttpRequest) throws -> HttpResponse {
        guard let url = URL(string: request.url) else {
            throw TransportError.Connection(detail: "\(request.url) is no address")
        }
        var head = URLRequest(url: url)
        head.httpMethod = request.method
        request.headers.forEach { head.setValue($0.value, forHTTPHeaderField: $0.name) }
        if let path = request.bodyFile {
            // The core asks for the whole file or for its end.
            head.httpBody = try read(path, from: request.bodyOffset, length: request.bodyLength)
        } else {
            head.httpBody = request.body
        }
        return request.saveTo == nil ? try receive(head, request) : try download(head, request)
    }

    /// Mapped, so that the system pages it in as it is sent.
    private func read(_ path: String, from offset: UInt64, length: UInt64) throws -> Data {
        do {
            let file = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
            let end = offset + length
            guard end <= UInt64(file.count) else {
                throw TransportError.Storage(detail: "\(path) is shorter than it was")
            }
            return file[Int(offset)..<Int(end)]
        } catch let error as TransportError {
            throw error
        } catch {
            throw TransportError.Storage(detail: "\(path): \(error.localizedDescription)")
        }
    }

    private func receive(_ head: URLRequest, _ request: HttpRequest) throws -> HttpResponse {
        let answer = Answer<Data>()
        session.dataTask(with: head) { answer.set($0, $1, $2) }.resume()
        let (body, response) = try answer.wait()
        guard UInt64(body.count) <= request.maxResponseBytes else {
            throw TransportError.Connection(detail: "the answer is longer than \(request.maxResponseBytes) bytes")
        }
        return HttpResponse(status: UInt16(response.statusCode), headers: headers(response), body: body)
    }

    private func download(_ head: URLRequest, _ request: HttpRequest) throws -> HttpResponse {
        let answer = Answer<URL>()
        let target = URL(fileURLWithPath: request.saveTo ?? "")
        let task = session.downloadTask(with: head) { file, response, error in
            // The file is gone when this returns.
            guard let file, (response as? HTTPURLResponse)?.statusCode == 200 else {
                return answer.set(file, response, error)
            }
            do {
                try? FileManager.default.removeItem(at: target)
                try FileManager.default.moveItem(at: file, to: target)
                answer.set(target, response, error)
            } catch {
                answer.set(nil, response, error)
            }
        }
        task.resume()
        let (_, response) = try answer.wait()
        return HttpResponse(status: UInt16(response.statusCode), headers: headers(response), body: Data())
    }

    private func headers(_ response: HTTPURLResponse) -> [HttpHeader] {
        response.allHeaderFields.map { HttpHeader(name: "\($0.key)", value: "\($0.value)") }
    }

    /// Redirects are answers.
    public func urlSession(
        _ session: URLSession,
        task: URLSessionTask,
        willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest
    ) async -> URLRequest? {
        nil
    }
}

/// One answer, waited for by the thread that asked.
private final class Answer<Body>: @unchecked Sendable {
    private let isThere = DispatchSemaphore(value: 0)
    private var result: Result<(Body, HTTPURLResponse), TransportError>?

    func set(_ body: Body?, _ response: URLResponse?, _ error: Error?) {
        if let body, let response = response as? HTTPURLResponse, error == nil {
            result = .success((body, response))
        } else {
            let detail = error?.localizedDescription ?? "no answer"
            result = .failure(.Connection(detail: detail))
        }
        isThere.signal()
    }

    func wait() throws -> (Body, HTTPURLResponse) {
        isThere.wait()
        guard let result else { throw TransportError.Cancelled }
        return try result.get()
    }
}
