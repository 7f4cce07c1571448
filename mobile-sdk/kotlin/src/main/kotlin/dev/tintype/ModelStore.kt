package dev.tintype

import dev.tintype.core.CheckReport
import dev.tintype.core.InputOrder
import dev.tintype.core.InstalledModel
import dev.tintype.core.ModelChoice
import dev.tintype.core.ModelRuntime
import dev.tintype.core.ModelUpdate
import dev.tintype.core.Models
import dev.tintype.core.Preprocessor
import dev.tintype.core.TintypeException
import dev.tintype.core.Transport
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The app's models: fetched, verified, swapped at once, taken back.
 *
 * @param folder a folder of the app's own, another one than the queue's.
 * @param server the server's address.
 * @param key an API key with the scope `upload` or `read`.
 * @param transport the system's own HTTP; without it the built-in client is used, where it is built in.
 */
class ModelStore(
    folder: String,
    server: String,
    key: String,
    transport: Transport? = null,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) : AutoCloseable {
    private val models = Models.open(folder, server, key, transport)

    /**
     * Fetches a model if it is not here yet, with [files], such as `model.tflite`. Nothing changes unless every
     * file has its hash.
     *
     * @throws TintypeException.Network if the server was not reached: the model in use stays.
     * @throws TintypeException.Model if a file arrived damaged.
     */
    suspend fun update(choice: ModelChoice, files: List<String> = listOf("model.tflite")): ModelUpdate =
        work { models.update(choice, files) }

    /** The newest model of a dataset. */
    suspend fun updateToNewest(dataset: String, files: List<String> = listOf("model.tflite")): ModelUpdate =
        update(ModelChoice.NewestOf(dataset), files)

    /** The model in use, its files verified anew; nothing if none was fetched yet. */
    suspend fun current(): InstalledModel? = work { models.current() }

    /** Goes back to the model before; the one in use is not installed again. */
    suspend fun rollBack(): InstalledModel = work { models.rollBack() }

    /** The preprocessing of the model in use: the function that it was trained with. */
    suspend fun preprocessor(): Preprocessor = work { models.preprocessor() }

    /** Lets the app's [runtime] answer the golden pictures. Use a model only if this passes. */
    suspend fun check(file: String, order: InputOrder, runtime: ModelRuntime): CheckReport =
        work { models.check(file, order, runtime) }

    override fun close() = models.close()

    private suspend fun <T> work(block: () -> T): T = withContext(dispatcher) { block() }
}

/**
 * A network's input made of an upright sRGB photo, in a direct buffer as runtimes take it.
 *
 * @param rgb `width * height * 3` bytes R, G, B, row by row.
 */
fun Preprocessor.inputBuffer(rgb: ByteArray, width: Int, height: Int, order: InputOrder): ByteBuffer {
    val bytes = input(rgb, width.toUInt(), height.toUInt(), order)
    val buffer = ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder())
    buffer.put(bytes).rewind()
    return buffer
}
