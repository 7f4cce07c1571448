import CoreML
import PhotosUI
import SwiftUI
import Tintype
import Vision

/// Pick a photo, label it, see what becomes of it, and ask the newest model. Add this file and the package to a new iOS
/// app; the server's address and key are at the top.
@main
struct SampleApp: App {
    static let server = "https://photos.example.org"
    static let key = "tt_..."
    static let support = URL.applicationSupportDirectory

    let tintype = try! Tintype(folder: support.appending(path: "queue"), server: server, key: key, dataset: "cups")
    let models = try! ModelStore(folder: support.appending(path: "models"), server: server, key: key)

    var body: some Scene {
        WindowGroup { SampleView(tintype: tintype, models: models) }
    }
}

struct SampleView: View {
    let tintype: Tintype.Tintype
    let models: ModelStore
    @State private var label = ""
    @State private var picked: PhotosPickerItem?
    @State private var photos: [Item] = []
    @State private var answer = ""

    var body: some View {
        VStack {
            TextField("What is it?", text: $label).textFieldStyle(.roundedBorder)
            PhotosPicker("Pick a photo", selection: $picked, matching: .images)
            Text(answer)
            List(photos.reversed(), id: \.id) { item in
                VStack(alignment: .leading) {
                    Text(item.label)
                    Text(item.verdict?.status ?? "\(item.state)").font(.caption)
                    if let words = item.verdict?.detail ?? item.reason?.detail { Text(words).font(.caption2) }
                }
            }
        }
        .padding()
        .task {
            tintype.start()
            for await items in tintype.photos { photos = items }
        }
        .onChange(of: picked) { item in
            Task {
                guard let photo = try? await item?.loadTransferable(type: Data.self) else { return }
                do {
                    try await tintype.send(photo, label: label)
                    answer = try await guess(photo)
                } catch {
                    answer = error.localizedDescription
                }
            }
        }
    }

    /// Core ML's file is a classifier: Vision crops, scales and names the classes.
    private func guess(_ photo: Data) async throws -> String {
        _ = try? await models.updateToNewest(dataset: "cups")
        guard let model = try await models.current() else { return "no model yet" }
        let file = URL(fileURLWithPath: model.folder).appending(path: "model.mlmodel")
        let compiled = try await MLModel.compileModel(at: file)
        let request = VNCoreMLRequest(model: try VNCoreMLModel(for: MLModel(contentsOf: compiled)))
        request.imageCropAndScaleOption = .centerCrop
        try VNImageRequestHandler(data: photo).perform([request])
        let best = (request.results as? [VNClassificationObservation])?.first
        return best.map { "\($0.identifier) (\(Int($0.confidence * 100)) %)" } ?? "nothing"
    }
}
