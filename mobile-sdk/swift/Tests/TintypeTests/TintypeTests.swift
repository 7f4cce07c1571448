import XCTest
@testable import Tintype

/// The package over the real core; the server is a script. Against a real server, see the Kotlin suite.
final class TintypeTests: XCTestCase {
    private final class Script: Transport, @unchecked Sendable {
        var answers: [HttpResponse] = []
        var requests: [HttpRequest] = []

        func send(request: HttpRequest) throws -> HttpResponse {
            requests.append(request)
            if request.url.hasSuffix("/check") {
                return HttpResponse(status: 404, headers: [], body: Data())
            }
            guard !answers.isEmpty else { throw TransportError.Connection(detail: "no network") }
            return answers.removeFirst()
        }
    }

    private let online = Conditions(isOnline: true, isMetered: false, isCharging: true)
    private let jpeg = Data([0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 64, 0, 64, 1, 1, 0x11, 0,
                             0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 1, 0xff, 0xd9])

    private func open(_ script: Script, folder: URL) throws -> Tintype {
        let online = online
        return try Tintype(folder: folder, server: "https://photos.example.org", key: "tt_a", dataset: "cups",
                           transport: script, conditions: { online })
    }

    private func folder() -> URL {
        FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    }

    func testAPhotoIsSentAndItsReceiptIsReadFromHeaders() async throws {
        let script = Script()
        let headers = [HttpHeader(name: "X-Capture-Id", value: UUID().uuidString.lowercased()),
                       HttpHeader(name: "X-Capture-Status", value: "queued")]
        script.answers = [HttpResponse(status: 202, headers: headers, body: Data())]
        let tintype = try open(script, folder: folder())
        let taken = try await tintype.send(jpeg, label: "cup")
        XCTAssertTrue(taken.isNew)
        let report = try await tintype.sendNow()
        XCTAssertEqual(report.numSent, 1)
        var photos = tintype.photos.makeAsyncIterator()
        let items = await photos.next()
        XCTAssertEqual(items?.first?.state, .sent)
    }

    func testWithoutANetworkPhotosWait() async throws {
        let folder = folder()
        let tintype = try open(Script(), folder: folder)
        try await tintype.send(jpeg, label: "cup")
        let report = try await tintype.sendNow()
        XCTAssertEqual(report.numWaiting, 1)
        XCTAssertThrowsError(try open(Script(), folder: folder))
    }

    func testATextIsNoPhoto() async throws {
        let tintype = try open(Script(), folder: folder())
        do {
            try await tintype.send(Data("a text".utf8), label: "cup")
            XCTFail("it was taken")
        } catch TintypeError.Photo(let code, _) {
            XCTAssertEqual(code, "not_an_image")
        }
    }
}
