import Foundation
import Network
import TintypeCore
#if canImport(UIKit)
import UIKit
#endif

/// How the device stands, by the system's own word.
final class DeviceConditions: @unchecked Sendable {
    static let shared = DeviceConditions()

    private let monitor = NWPathMonitor()
    private let lock = NSLock()
    private var path: NWPath?
    private var handlers: [@Sendable () -> Void] = []

    private init() {
        monitor.pathUpdateHandler = { [weak self] path in
            guard let self else { return }
            let handlers = self.lock.withLock { () -> [@Sendable () -> Void] in
                self.path = path
                return self.handlers
            }
            handlers.forEach { $0() }
        }
        monitor.start(queue: DispatchQueue(label: "dev.tintype.network"))
        #if canImport(UIKit)
        DispatchQueue.main.async { UIDevice.current.isBatteryMonitoringEnabled = true }
        #endif
    }

    func onChange(_ handler: @escaping @Sendable () -> Void) {
        lock.withLock { handlers.append(handler) }
    }

    func now() -> Conditions {
        let path = lock.withLock { self.path }
        return Conditions(
            isOnline: path?.status == .satisfied,
            isMetered: path.map { $0.isExpensive || $0.isConstrained } ?? true,
            isCharging: isCharging()
        )
    }

    private func isCharging() -> Bool {
        #if canImport(UIKit)
        return [.charging, .full].contains(UIDevice.current.batteryState)
        #else
        return true
        #endif
    }
}
