package dev.tintype

import dev.tintype.core.Conditions
import dev.tintype.core.Enqueued
import dev.tintype.core.Item
import dev.tintype.core.Photo
import dev.tintype.core.PhotoLook
import dev.tintype.core.Policy
import dev.tintype.core.QueueListener
import dev.tintype.core.Recovery
import dev.tintype.core.RunReport
import dev.tintype.core.Settings
import dev.tintype.core.TintypeException
import dev.tintype.core.Transport
import dev.tintype.core.Uploads
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.async
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.asSharedFlow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.isActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull

/**
 * Sends labelled photos to a Tintype server, each of them once, through kills, reboots and dead networks.
 *
 * One object for each [folder]; share it. Suspending functions may be called from any thread.
 *
 * @param folder a folder of the app's own that the system never empties: `context.filesDir`, not its cache.
 * @param server the server's address, such as `https://photos.example.org`.
 * @param key an API key with the scope `upload`: all that belongs inside an app.
 * @param dataset the dataset, by name or id.
 * @param policy when photos are sent, and what is sent of them.
 * @param device what the table calls this device; no name of a person.
 * @param transport the system's own HTTP; without it the built-in client is used, where it is built in.
 * @param conditions tells how the device stands; asked before each run.
 * @throws TintypeException.Settings if something makes no sense.
 * @throws TintypeException.AlreadyOpen if the folder is open already.
 */
class Tintype(
    folder: String,
    server: String,
    key: String,
    dataset: String,
    policy: Policy = Policy(),
    device: String? = null,
    transport: Transport? = null,
    private val conditions: () -> Conditions = { Conditions(isOnline = true, isMetered = false, isCharging = true) },
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) : AutoCloseable {
    private val uploads = Uploads.open(Settings(folder, server, key, dataset, device), policy, transport)

    /** A hint that there is something to do: one is as good as many. */
    private val wakes = Channel<Unit>(Channel.CONFLATED)

    /** Counts the changes: who collects it gets the newest, and misses none that stays. */
    private val version = MutableStateFlow(0L)

    private val changed = MutableSharedFlow<Item>(extraBufferCapacity = 256, onBufferOverflow = BufferOverflow.DROP_OLDEST)

    init {
        uploads.setListener(object : QueueListener {
            override fun changed(item: Item) {
                changed.tryEmit(item)
                version.update { it + 1 }
            }
        })
    }

    /** Every change of a photo, as it happens; a slow collector misses the oldest of many. */
    val changes: Flow<Item> = changed.asSharedFlow()

    /** All photos, the oldest first, now and after every change. */
    val photos: Flow<List<Item>> = version.map { uploads.items() }.flowOn(dispatcher)

    /** What opening the queue found that was not as it should be. */
    val recovery: Recovery get() = uploads.recovery()

    /**
     * Looks at a photo and keeps nothing: is it good enough (`TOO_DARK`, `BLURRY`, ...), is it here already
     * (`SAME_PHOTO`, `SIMILAR_PHOTO`)? In time to take it again. [send] finds the same hints.
     *
     * @throws TintypeException.Photo if no server would take it.
     */
    suspend fun look(photo: ByteArray): PhotoLook = work { uploads.look(photo) }

    /**
     * Takes a photo in and returns once it is safe on this device: from then on it arrives once, or has a reason.
     *
     * @param photo the bytes of a JPEG, HEIC, PNG or WebP file.
     * @param label what it shows.
     * @param capturedAt when it was taken, as RFC 3339 has it; if absent, the server reads it from the file.
     * @param metadata anything else that belongs into the table beside it.
     * @throws TintypeException.Photo if no server would take it.
     * @throws TintypeException.DiskFull if there is no room; nothing is kept then.
     * @throws TintypeException.QueueFull if the policy's bounds are reached.
     */
    suspend fun send(
        photo: ByteArray,
        label: String,
        capturedAt: String? = null,
        metadata: Map<String, String> = emptyMap(),
    ): Enqueued = work { uploads.add(Photo(label, capturedAt, metadata), photo) }.also { wake() }

    /** The same with the photo in a file, which is read and left where it is. */
    suspend fun sendFile(
        path: String,
        label: String,
        capturedAt: String? = null,
        metadata: Map<String, String> = emptyMap(),
    ): Enqueued = work { uploads.addFile(Photo(label, capturedAt, metadata), path) }.also { wake() }

    /**
     * Sends for as long as [scope] lives: at once what may be sent, later what was held up. For the time in the
     * foreground; in the background the system grants [sendNow] its time.
     */
    fun start(scope: CoroutineScope): Job = scope.launch(dispatcher) {
        while (isActive) {
            // What goes wrong with the folder (it is full, it is gone) may pass: the queue tries again.
            val report = try {
                sendNow()
            } catch (trouble: TintypeException) {
                null
            }
            val wait = report?.nextRunMs?.toLong() ?: HELD_RECHECK_MS.takeIf { report == null || report.held != null }
            if (wait == null) wakes.receive() else withTimeoutOrNull(wait) { wakes.receive() }
        }
    }

    /**
     * Sends what may be sent now, for at most [maxSeconds]: the body of a `CoroutineWorker` or a job. What a run
     * leaves is sent by the next one; [RunReport.nextRunMs] says when there is something to do.
     */
    suspend fun sendNow(maxSeconds: Int? = null): RunReport = coroutineScope {
        val run = async(dispatcher) { uploads.run(conditions(), maxSeconds?.toUInt()) }
        try {
            run.await()
        } catch (cancelled: CancellationException) {
            uploads.stop()
            throw cancelled
        }
    }

    /** Says that something has changed: the network is back, or the device is charging. */
    fun wake() {
        wakes.trySend(Unit)
    }

    /** Ends a run soon, from any thread: what is on its way is waited for. */
    fun stop() = uploads.stop()

    /** One photo. */
    suspend fun photo(id: String): Item = work { uploads.item(id) }

    /** Tries a photo again now that was refused, or that waits for its next try. */
    suspend fun retry(id: String): Item = work { uploads.retry(id) }.also { wake() }

    /** Tries all refused photos again. How many there were. */
    suspend fun retryRefused(): Int = work { uploads.retryRefused().toInt() }.also { wake() }

    /** Takes a photo off the list; one that waits is deleted and never sent. */
    suspend fun remove(id: String) {
        work { uploads.remove(id) }
        version.update { it + 1 }
    }

    /** The queue itself, for services that send in the background on their own. */
    val queue: Uploads get() = uploads

    /** Lets go of the folder. Photos that wait stay for the next time. */
    override fun close() {
        uploads.stop()
        uploads.setListener(null)
        uploads.close()
    }

    private suspend fun <T> work(block: () -> T): T = withContext(dispatcher) { block() }

    private companion object {
        /** How often a held queue looks whether the conditions allow more; [wake] makes it look at once. */
        const val HELD_RECHECK_MS = 60_000L
    }
}
