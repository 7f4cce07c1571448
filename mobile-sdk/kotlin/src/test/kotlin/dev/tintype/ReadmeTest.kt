package dev.tintype

import dev.tintype.core.Item
import dev.tintype.core.ItemState
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import java.nio.file.Files
import java.util.concurrent.atomic.AtomicReference
import kotlin.test.Test
import kotlin.test.assertEquals

class ReadmeTest {
    @Test
    fun `the five lines of the README send a photo as they stand there`() {
        Server().use { server ->
            val key = server.dataset("cups")
            val shown = AtomicReference<List<Item>>(emptyList())
            val scope = CoroutineScope(Dispatchers.Default)
            val folder = Files.createTempDirectory("queue").toString()
            // The last line collects for as long as the app lives.
            scope.launch { readmeExample(folder, server.url, key, picture(1), scope) { shown.set(it) } }
            Server.await("the photo to be judged", 60) { shown.get().singleOrNull()?.verdict != null }
            scope.cancel()
            val item = shown.get().single()
            assertEquals(ItemState.SENT, item.state)
            assertEquals("accepted", item.verdict!!.status)
            assertEquals(listOf(item.sha256), server.captures("cups").map { it.sha256 })
        }
    }
}
