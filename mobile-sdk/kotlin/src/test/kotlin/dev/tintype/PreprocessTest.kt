package dev.tintype

import dev.tintype.core.InputOrder
import dev.tintype.core.Preprocessor
import org.junit.jupiter.api.Assumptions.assumeTrue
import java.io.BufferedOutputStream
import java.io.DataOutputStream
import java.io.File
import java.security.MessageDigest
import javax.imageio.ImageIO
import kotlin.test.Test
import kotlin.test.assertEquals

class PreprocessTest {
    /** The trainer's call, as a program of its own: `cargo build -p schemas --example preprocess`. */
    private val reference = System.getenv("TINTYPE_PREPROCESS")
        ?: File(System.getenv("TINTYPE_BIN") ?: "").resolveSibling("examples/preprocess").path

    @Test
    fun `what the binding makes of 200 photos is what training makes of them bit for bit`() {
        val photos = testPhotos()
        assumeTrue(photos.isNotEmpty(), "no photos here; see CONTRIBUTING.md")
        assumeTrue(File(reference).canExecute(), "$reference is not built")
        val json = """{"size":224,"resize":256,"crop":224,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"layout":"NHWC"}"""
        val spec = File.createTempFile("preprocess", ".json").apply { writeText(json) }
        val raw = File.createTempFile("photos", ".rgb")
        val preprocessor = Preprocessor.fromJson(json)
        val step = maxOf(1, photos.size / 200)
        val found = mutableListOf<String>()
        DataOutputStream(BufferedOutputStream(raw.outputStream())).use { out ->
            for (path in photos.filterIndexed { at, _ -> at % step == 0 }) {
                if (found.size == 200) break
                val image = ImageIO.read(path.toFile()) ?: continue
                val rgb = Rgb.of(image)
                out.writeInt(rgb.width)
                out.writeInt(rgb.height)
                out.write(rgb.bytes)
                val input = preprocessor.input(rgb.bytes, rgb.width.toUInt(), rgb.height.toUInt(), InputOrder.NHWC)
                found += MessageDigest.getInstance("SHA-256").digest(input).joinToString("") { "%02x".format(it) }
            }
        }
        val process = ProcessBuilder(reference, spec.path, raw.path).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        val expected = process.inputStream.bufferedReader().readLines()
        assertEquals(0, process.waitFor())
        assertEquals(expected, found)
        println("${found.size} photos preprocessed alike, bit for bit")
        assertEquals(200, found.size)
        raw.delete()
        spec.delete()
    }
}
