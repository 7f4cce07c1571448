package dev.tintype

import dev.tintype.core.Conditions
import dev.tintype.core.Hint
import dev.tintype.core.HoldReason
import dev.tintype.core.ItemState
import dev.tintype.core.Policy
import dev.tintype.core.TintypeException
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.BeforeAll
import org.junit.jupiter.api.TestInstance
import java.nio.file.Files
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class QueueTest {
    private lateinit var server: Server
    private lateinit var key: String

    @BeforeAll
    fun start() {
        server = Server()
        key = server.dataset("cups")
    }

    @AfterAll
    fun stop() = server.close()

    private fun open(
        folder: String = Files.createTempDirectory("queue").toString(),
        dataset: String = "cups",
        key: String = this.key,
        policy: Policy = Policy(),
        url: String = server.url,
        conditions: Conditions = Conditions(isOnline = true, isMetered = false, isCharging = true),
    ) = Tintype(folder, url, key, dataset, policy, conditions = { conditions })

    @Test
    fun `a photo arrives once and its verdict comes back`() = runBlocking<Unit> {
        open().use { tintype ->
            val taken = tintype.send(picture(11), "cup", metadata = mapOf("room" to "küche"))
            assertTrue(taken.isNew)
            assertEquals(ItemState.QUEUED, taken.item.state)
            assertEquals(1u, tintype.sendNow().numSent)
            Server.await("its verdict", 60) { runBlocking { tintype.sendNow(); tintype.photo(taken.item.id).verdict != null } }
            val item = tintype.photos.first().single()
            assertEquals("accepted", item.verdict!!.status)
            assertNull(item.path)
            assertEquals(1, server.captures("cups").count { it.sha256 == item.sha256 })
        }
    }

    @Test
    fun `a photo that the server has is known and kept once`() = runBlocking<Unit> {
        val photo = picture(12)
        open().use { it.send(photo, "cup"); it.sendNow() }
        open().use { other ->
            val item = other.send(photo, "cup").item
            assertEquals(1u, other.sendNow().numAlreadyThere)
            assertEquals(ItemState.ALREADY_THERE, other.photo(item.id).state)
            assertTrue(other.send(photo, "cup").item.hints.contains(Hint.SAME_PHOTO))
        }
    }

    @Test
    fun `a look says what could be better and keeps nothing`() = runBlocking<Unit> {
        open().use { tintype ->
            assertEquals(listOf(Hint.TOO_DARK), tintype.look(dark()).hints)
            val good = tintype.look(picture(20, side = 256))
            assertFalse(Hint.TOO_DARK in good.hints)
            assertEquals(16, good.phash!!.length)
            assertEquals(emptyList(), tintype.photos.first())
            tintype.send(picture(20, side = 256), "cup")
            assertTrue(Hint.SAME_PHOTO in tintype.look(picture(20, side = 256)).hints)
            val broken = picture(20, side = 256).let { it.copyOf(it.size / 2) }
            assertTrue(Hint.DAMAGED in tintype.look(broken).hints)
        }
    }

    @Test
    fun `a large photo goes by the resumable route and arrives whole`() = runBlocking<Unit> {
        open().use { tintype ->
            val item = tintype.send(noise(700), "cup").item
            assertTrue(item.numBytes > 1_048_576u, "only ${item.numBytes} bytes: sent whole")
            assertEquals(1u, tintype.sendNow().numSent)
            assertEquals(1, server.captures("cups").count { it.sha256 == item.sha256 })
        }
    }

    @Test
    fun `what the server refuses says why and holds up no other`() = runBlocking<Unit> {
        val strict = server.dataset("strict")
        server.post("/v1/datasets", """{"name":"closed","labels":["cup"],"policy":{"unknown_labels":"reject"}}""")
        open(dataset = "closed", key = server.adminKey).use { tintype ->
            val wrong = tintype.send(picture(13), "cpu").item
            val right = tintype.send(picture(14), "cup").item
            val report = tintype.sendNow()
            assertEquals(1u to 1u, report.numRefused to report.numSent)
            val reason = tintype.photo(wrong.id).reason!!
            assertEquals("unknown_label", reason.code)
            assertTrue("cup" in reason.detail + reason.hint, reason.toString())
            assertEquals(ItemState.SENT, tintype.photo(right.id).state)
            tintype.remove(wrong.id)
            assertFailsWith<TintypeException.UnknownItem> { tintype.photo(wrong.id) }
        }
        assertTrue(strict.startsWith("tt_"))
    }

    @Test
    fun `a wrong key holds everything and loses nothing`() = runBlocking<Unit> {
        val folder = Files.createTempDirectory("queue").toString()
        open(folder, key = "tt_wrong").use { tintype ->
            tintype.send(picture(15), "cup")
            tintype.send(picture(16), "cup")
            val report = tintype.sendNow()
            assertEquals(HoldReason.REFUSED, report.held)
            assertEquals(2u, report.numWaiting)
        }
        open(folder).use { assertEquals(2u, it.sendNow().numSent) }
    }

    @Test
    fun `without a server photos wait and are tried again`() = runBlocking<Unit> {
        val folder = Files.createTempDirectory("queue").toString()
        open(folder, url = "http://127.0.0.1:9").use { tintype ->
            val item = tintype.send(picture(17), "cup").item
            val report = tintype.sendNow()
            assertEquals(1u, report.numWaiting)
            assertTrue(report.nextRunMs!! <= 1_001u)
            val waiting = tintype.photo(item.id)
            assertEquals(ItemState.RETRYING to "no_connection", waiting.state to waiting.reason!!.code)
        }
        open(folder).use { assertEquals(1u, it.sendNow().numSent) }
    }

    @Test
    fun `nothing goes over a metered network unless the policy allows it`() = runBlocking<Unit> {
        val metered = Conditions(isOnline = true, isMetered = true, isCharging = false)
        open(conditions = metered).use { tintype ->
            tintype.send(picture(18), "cup")
            assertEquals(HoldReason.METERED, tintype.sendNow().held)
        }
    }

    @Test
    fun `the JVM's own HTTP sends as well`() = runBlocking<Unit> {
        val folder = Files.createTempDirectory("queue").toString()
        Tintype(folder, server.url, key, "cups", transport = UrlConnectionTransport()).use { tintype ->
            tintype.send(picture(19), "cup")
            assertEquals(1u, tintype.sendNow().numSent)
            val text = assertFailsWith<TintypeException.Photo> { tintype.send("a text".toByteArray(), "cup") }
            assertEquals("not_an_image", text.code)
        }
    }

    @Test
    fun `a folder is open once and can be opened again after it was closed`() {
        val folder = Files.createTempDirectory("queue").toString()
        open(folder).use { assertFailsWith<TintypeException.AlreadyOpen> { open(folder) } }
        open(folder).close()
        assertFalse(java.io.File(folder, "queue").length() == 0L)
    }

    /** Nothing but the darkest greys. */
    private fun dark() = png(256) { it.nextInt(12) * 0x010101 }

    /** What no encoder makes smaller. */
    private fun noise(side: Int) = png(side) { it.nextInt() and 0xffffff }

    private fun png(side: Int, pixel: (java.util.Random) -> Int): ByteArray {
        val image = java.awt.image.BufferedImage(side, side, java.awt.image.BufferedImage.TYPE_INT_RGB)
        val random = java.util.Random(1)
        for (y in 0 until side) for (x in 0 until side) image.setRGB(x, y, pixel(random))
        val out = java.io.ByteArrayOutputStream()
        javax.imageio.ImageIO.write(image, "png", out)
        return out.toByteArray()
    }
}
