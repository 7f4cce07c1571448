package dev.tintype

import java.awt.image.BufferedImage
import java.io.ByteArrayOutputStream
import java.nio.file.Path
import java.util.Random
import javax.imageio.ImageIO
import kotlin.io.path.Path
import kotlin.io.path.exists

/** A JPEG of its own for each seed: coarse coloured squares, so that no two resemble each other. */
fun picture(seed: Long, side: Int = 96, warmth: Int = 0): ByteArray {
    val random = Random(seed)
    val image = BufferedImage(side, side, BufferedImage.TYPE_INT_RGB)
    val cell = side / 8
    for (y in 0 until side step cell) for (x in 0 until side step cell) {
        val channel = { shift: Int -> (random.nextInt(256) + shift).coerceIn(0, 255) }
        val rgb = channel(warmth) shl 16 or (channel(0) shl 8) or channel(-warmth)
        for (dy in 0 until cell) for (dx in 0 until cell) image.setRGB(minOf(x + dx, side - 1), minOf(y + dy, side - 1), rgb)
    }
    val out = ByteArrayOutputStream()
    check(ImageIO.write(image, "jpeg", out))
    return out.toByteArray()
}

/** An upright photo as the preprocessing takes it. */
class Rgb(val bytes: ByteArray, val width: Int, val height: Int) {
    companion object {
        fun of(image: BufferedImage): Rgb {
            val bytes = ByteArray(image.width * image.height * 3)
            var at = 0
            for (y in 0 until image.height) for (x in 0 until image.width) {
                val rgb = image.getRGB(x, y)
                bytes[at++] = (rgb shr 16).toByte()
                bytes[at++] = (rgb shr 8).toByte()
                bytes[at++] = rgb.toByte()
            }
            return Rgb(bytes, image.width, image.height)
        }
    }
}

/** Real photos of contributors; see CONTRIBUTING.md. Nothing where there are none. */
fun testPhotos(): List<Path> {
    val root = System.getenv("TINTYPE_TEST_DATA")?.let { Path(it) } ?: Path("../../../shared/data")
    val photos = root.resolve("photos")
    if (!photos.exists()) return emptyList()
    return photos.toFile().walk().filter { it.isFile && it.extension.lowercase() in setOf("jpg", "jpeg") }
        .map { it.toPath() }.sorted().toList()
}
