package dev.tintype

import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import java.io.File
import java.nio.file.Files
import java.security.MessageDigest
import java.util.Random
import java.util.concurrent.TimeUnit
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** The process that is killed: takes photos in and sends them at the same time, telling of each that is safe. */
object Killed {
    /** So few that the server keeps up over a hundred lives. */
    private const val PHOTOS_A_LIFE = 20

    @JvmStatic
    fun main(arguments: Array<String>) = runBlocking {
        val (folder, url, key, first) = arguments
        Tintype(folder, url, key, "kills").use { tintype ->
            coroutineScope {
                val sending = tintype.start(this)
                // The first photo again: perhaps the kill came when it was safe but not yet told.
                for (seed in first.toLong() until first.toLong() + PHOTOS_A_LIFE) {
                    tintype.send(picture(seed), "round")
                    println("safe $seed")
                    System.out.flush()
                }
                sending.join() // until the kill
            }
        }
    }
}

class KillTest {
    @Test
    fun `kill -9 at random instants loses no photo and doubles none`() {
        val rounds = System.getenv("TINTYPE_KILL_ROUNDS")?.toInt() ?: 5
        val seed = System.getenv("TINTYPE_KILL_SEED")?.toLong() ?: 1
        val random = Random(seed)
        Server().use { server ->
            val key = server.dataset("kills")
            val folder = Files.createTempDirectory("queue").toString()
            val safe = sortedSetOf<Long>()
            var next = 1L
            var kills = 0
            while (kills < rounds) {
                val said = File.createTempFile("killed", "stdout")
                val process = ProcessBuilder(
                    "${System.getProperty("java.home")}/bin/java", "-Xshare:auto", "-XX:TieredStopAtLevel=1",
                    "-Djna.library.path=${System.getProperty("jna.library.path")}",
                    "-cp", System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path"),
                    "dev.tintype.Killed", folder, server.url, key, next.toString(),
                ).redirectOutput(said).redirectError(File("$folder.stderr")).start()
                // From the moment that it works; before, there is nothing to lose.
                Server.await("the process to work", 60) { said.readText().contains("safe") || !process.isAlive }
                check(process.isAlive) { File("$folder.stderr").readText() }
                Thread.sleep(random.nextInt(250).toLong())
                process.destroyForcibly()
                check(process.waitFor(30, TimeUnit.SECONDS))
                kills++
                said.readLines().filter { it.startsWith("safe ") }.forEach { safe += it.removePrefix("safe ").toLong() }
                next = safe.last() + 1
                said.delete()
            }
            Tintype(folder, server.url, key, "kills").use { tintype ->
                assertEquals(0u, tintype.recovery.numDamaged)
                assertEquals(0u, tintype.recovery.numLost)
                runBlocking {
                    tintype.send(picture(next), "round")
                    Server.await("the queue to be empty", 600) { runBlocking { tintype.sendNow().numWaiting == 0u } }
                }
            }
            val captures = server.captures("kills")
            val counts = captures.groupingBy { it.sha256 }.eachCount()
            val lost = safe.filter { hash(picture(it)) !in counts }
            val doubled = counts.filterValues { it > 1 }
            println("$kills kills, ${safe.size} photos told safe, ${captures.size} captures: ${lost.size} lost, ${doubled.size} doubled")
            assertTrue(safe.size >= rounds)
            assertEquals(emptyList(), lost)
            assertEquals(emptyMap(), doubled)
            // Nothing that was never taken in either: the photo that each kill interrupted is the next one.
            assertEquals((1..next).map { hash(picture(it)) }.toSet(), counts.keys)
        }
    }

    /** The hash of what is sent: the picture without its metadata, of which it has none but JFIF. */
    private fun hash(photo: ByteArray): String =
        MessageDigest.getInstance("SHA-256").digest(photo).joinToString("") { "%02x".format(it) }
}
