package dev.tintype

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import dev.tintype.core.InputOrder
import dev.tintype.core.InstalledModel
import dev.tintype.core.ModelRuntime
import dev.tintype.core.TintypeException
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.BeforeAll
import org.junit.jupiter.api.TestInstance
import java.awt.RenderingHints
import java.awt.image.BufferedImage
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import java.nio.file.Files
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** A model trained by the real server, fetched by the real library, run by ONNX Runtime. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ModelTest {
    private lateinit var server: Server
    private lateinit var key: String

    @BeforeAll
    fun train() {
        server = Server()
        key = server.dataset("weather")
        val folder = Files.createTempDirectory("queue").toString()
        Tintype(folder, server.url, key, "weather").use { tintype ->
            runBlocking {
                for (seed in 0L until 60L) {
                    val isWarm = seed % 2 == 0L
                    tintype.send(picture(1_000 + seed, 128, if (isWarm) 70 else -70), if (isWarm) "warm" else "cold")
                }
                Server.await("the photos to be sent", 120) { runBlocking { tintype.sendNow().numWaiting == 0u } }
            }
        }
        Server.await("the photos to be in the table", 120) {
            val stats = server.get("/v1/datasets/weather/stats")
            "\"accepted\":60" in stats && "\"awaiting_shard\":0" in stats
        }
        trainOne()
    }

    private fun trainOne() {
        val spec = """{"preset":"fast","architecture":"mobilenet_v2_0.35","weights":"none","input_size":96}"""
        val id = Regex("\"id\":\"([^\"]+)\"").find(server.post("/v1/datasets/weather/trainings", spec))!!.groupValues[1]
        Server.await("the training to end", 300) {
            val training = server.get("/v1/trainings/$id")
            check("\"state\":\"failed\"" !in training) { training }
            "\"state\":\"succeeded\"" in training
        }
    }

    @AfterAll
    fun stop() = server.close()

    private fun store(folder: String = Files.createTempDirectory("models").toString()) = ModelStore(folder, server.url, key)

    private suspend fun ModelStore.newest() = updateToNewest("weather", listOf("model.onnx"))

    @Test
    fun `a model is fetched with an app's key and answers the golden pictures`() = runBlocking<Unit> {
        store().use { models ->
            assertNull(models.current())
            val update = models.newest()
            assertTrue(update.isNew)
            assertEquals(listOf("cold", "warm"), update.model.labels)
            Onnx(update.model).use { onnx ->
                val report = models.check("model.onnx", InputOrder.NCHW, onnx)
                assertTrue(report.isPassed, report.toString())
                println("golden check: largest difference ${report.maxDifference}, allowed ${report.tolerance}")
                val input = models.preprocessor().inputBuffer(Rgb.of(warm()).bytes, 128, 128, InputOrder.NCHW)
                assertEquals(2, onnx.logits(input).size)
            }
            assertFalse(models.newest().isNew)
        }
    }

    @Test
    fun `the golden check catches a changed mean a swapped channel and another resize`() = runBlocking<Unit> {
        store().use { models ->
            val model = models.newest().model
            val preprocessor = models.preprocessor()
            val size = preprocessor.size().toInt()
            val plain = { rgb: Rgb -> floats(preprocessor.input(rgb.bytes, rgb.width.toUInt(), rgb.height.toUInt(), InputOrder.NCHW)) }
            val pipelines = mapOf<String, (Rgb) -> FloatArray>(
                "as it should be" to plain,
                "a changed mean" to { rgb: Rgb -> plain(rgb).map { (it - 0.5f) / 0.5f }.toFloatArray() },
                "a swapped channel" to { rgb: Rgb ->
                    val input = plain(rgb)
                    val plane = size * size
                    input.copyOfRange(2 * plane, 3 * plane) + input.copyOfRange(plane, 2 * plane) + input.copyOfRange(0, plane)
                },
                "another resize" to { rgb: Rgb -> squeezed(rgb, size) },
            )
            for ((name, pipeline) in pipelines) {
                Onnx(model, pipeline).use { onnx ->
                    val report = models.check("model.onnx", InputOrder.NCHW, onnx)
                    println("$name: ${report.findings}")
                    assertEquals(name == "as it should be", report.isPassed, "$name: $report")
                }
            }
        }
    }

    @Test
    fun `a flipped bit is found and mended and a changed preprocessing too`() = runBlocking<Unit> {
        store().use { models ->
            val model = models.newest().model
            for (name in listOf("model.onnx", "preprocess.json", "golden.json", "labels.txt")) {
                val file = File(model.folder, name)
                val bytes = file.readBytes()
                bytes[bytes.size / 2] = (bytes[bytes.size / 2].toInt() xor 1).toByte()
                file.writeBytes(bytes)
                val damage = assertFailsWith<TintypeException.Model> { models.current() }
                assertTrue(name in damage.detail, damage.detail)
                models.newest()
                assertEquals(model.id, models.current()!!.id)
            }
        }
    }

    @Test
    fun `a newer model takes the place at once and a bad one is taken back`() = runBlocking<Unit> {
        val folder = Files.createTempDirectory("models").toString()
        val first: String
        store(folder).use { models ->
            first = models.newest().model.id
            assertFailsWith<TintypeException.Model> { models.rollBack() }
        }
        trainOne()
        store(folder).use { models ->
            assertEquals(first, models.current()!!.id)
            val second = models.newest()
            assertTrue(second.isNew)
            assertEquals(first, models.rollBack().id)
            // The bad one is the newest still, and is passed over.
            assertEquals(first, models.newest().model.id)
        }
        store(folder).use { assertEquals(first, it.current()!!.id) }
    }

    @Test
    fun `without the server the model in use stays`() = runBlocking<Unit> {
        val folder = Files.createTempDirectory("models").toString()
        val id = store(folder).use { it.newest().model.id }
        ModelStore(folder, "http://127.0.0.1:9", key).use { models ->
            assertFailsWith<TintypeException.Network> { models.newest() }
            assertEquals(id, models.current()!!.id)
        }
    }

    private fun warm(): BufferedImage = javax.imageio.ImageIO.read(picture(5_000, 128, 70).inputStream())

    /** What many apps do: the whole photo squeezed into the square by the system's bilinear filter. */
    private fun squeezed(rgb: Rgb, size: Int): FloatArray {
        val image = BufferedImage(rgb.width, rgb.height, BufferedImage.TYPE_INT_RGB)
        for (y in 0 until rgb.height) for (x in 0 until rgb.width) {
            val at = (y * rgb.width + x) * 3
            val (r, g, b) = List(3) { rgb.bytes[at + it].toInt() and 255 }
            image.setRGB(x, y, r shl 16 or (g shl 8) or b)
        }
        val small = BufferedImage(size, size, BufferedImage.TYPE_INT_RGB)
        val graphics = small.createGraphics()
        graphics.setRenderingHint(RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR)
        graphics.drawImage(image, 0, 0, size, size, null)
        graphics.dispose()
        val bytes = Rgb.of(small).bytes
        val plane = size * size
        return FloatArray(3 * plane) { (bytes[it % plane * 3 + it / plane].toInt() and 255) / 255f }
    }
}

private fun floats(bytes: ByteArray): FloatArray {
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(buffer.remaining()).also { buffer.get(it) }
}

/** ONNX Runtime on a fetched model; perhaps with a preprocessing of the app's own. */
private class Onnx(model: InstalledModel, private val pipeline: ((Rgb) -> FloatArray)? = null) : ModelRuntime, AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session: OrtSession = environment.createSession("${model.folder}/model.onnx")

    override fun run(input: ByteArray): List<Float> = answer(floats(input)).toList()

    override fun runPhoto(rgb: ByteArray, width: UInt, height: UInt): List<Float>? =
        pipeline?.let { answer(it(Rgb(rgb, width.toInt(), height.toInt()))).toList() }

    fun logits(input: ByteBuffer): FloatArray {
        val buffer = input.asFloatBuffer()
        return answer(FloatArray(buffer.remaining()).also { buffer.get(it) })
    }

    private fun answer(input: FloatArray): FloatArray {
        val side = Math.round(Math.sqrt(input.size / 3.0))
        OnnxTensor.createTensor(environment, FloatBuffer.wrap(input), longArrayOf(1, 3, side, side)).use { tensor ->
            session.run(mapOf("image" to tensor)).use { result ->
                @Suppress("UNCHECKED_CAST")
                return (result.get("logits").get().value as Array<FloatArray>)[0]
            }
        }
    }

    override fun close() = session.close()
}
