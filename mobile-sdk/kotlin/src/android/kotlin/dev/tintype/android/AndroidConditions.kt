package dev.tintype.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.Network
import android.net.NetworkCapabilities
import android.os.BatteryManager
import dev.tintype.Tintype
import dev.tintype.core.Conditions

/**
 * How the device stands, by Android's own word: `Tintype(..., conditions = AndroidConditions(context)::now)`.
 */
class AndroidConditions(context: Context) {
    private val connectivity = context.getSystemService(ConnectivityManager::class.java)
    private val battery = context.getSystemService(BatteryManager::class.java)

    /** The network and the power at this moment. */
    fun now(): Conditions {
        val network = connectivity.activeNetwork?.let(connectivity::getNetworkCapabilities)
        val isOnline = network != null &&
            network.hasCapability(NetworkCapabilities.NET_CAPABILITY_INTERNET) &&
            network.hasCapability(NetworkCapabilities.NET_CAPABILITY_VALIDATED)
        return Conditions(isOnline, connectivity.isActiveNetworkMetered, battery.isCharging)
    }

    /** Wakes the queue whenever the network changes, until the returned function is called. */
    fun wakeOnChange(tintype: Tintype): () -> Unit {
        val callback = object : ConnectivityManager.NetworkCallback() {
            override fun onAvailable(network: Network) = tintype.wake()

            override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) = tintype.wake()
        }
        connectivity.registerDefaultNetworkCallback(callback)
        return { connectivity.unregisterNetworkCallback(callback) }
    }
}
