package dev.tintype

import java.net.HttpURLConnection
import java.net.ServerSocket
import java.net.URI
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit

/** A real `tintype up` on a folder and a port of its own. */
class Server(settings: Map<String, String> = emptyMap()) : AutoCloseable {
    private val folder: Path = Files.createTempDirectory("tintype-up")
    private val port = ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress()).use { it.localPort }
    val url = "http://127.0.0.1:$port"
    private val process: Process
    val adminKey: String

    init {
        val said = folder.resolve("stdout").toFile()
        val builder = ProcessBuilder(binary(), "up", "--listen", "127.0.0.1:$port", "--data", folder.resolve("data").toString())
        builder.environment() += mapOf("TINTYPE_SHARD_MAX_AGE_S" to "1", "TINTYPE_FETCH_WEIGHTS" to "false") + settings
        process = builder.redirectOutput(said).redirectError(folder.resolve("stderr").toFile()).start()
        Runtime.getRuntime().addShutdownHook(Thread { process.destroyForcibly() })
        await("the server to be ready", 120) { runCatching { call("GET", "/readyz", null).first == 200 }.getOrDefault(false) }
        adminKey = Regex("tt_\\w+").find(said.readText())!!.value
    }

    /** A dataset that keeps whatever is sent, and an app's key for it. */
    fun dataset(name: String): String {
        val policy = """{"near_duplicates":"group","quality":"keep"}"""
        post("/v1/datasets", """{"name":"$name","policy":$policy}""")
        val answer = post("/v1/keys", """{"name":"app","scopes":["upload"],"dataset":"$name"}""")
        return Regex("\"token\":\"(tt_\\w+)\"").find(answer)!!.groupValues[1]
    }

    fun post(path: String, json: String): String {
        val (status, body) = call("POST", path, json)
        check(status in 200..299) { "$path: $status $body" }
        return body
    }

    fun get(path: String): String {
        val (status, body) = call("GET", path, null)
        check(status == 200) { "$path: $status $body" }
        return body
    }

    /** The hash of each capture of a dataset that is no duplicate, with how many captures have it. */
    fun captures(dataset: String): List<Capture> {
        val found = mutableListOf<Capture>()
        var after = ""
        while (true) {
            val page = get("/v1/datasets/$dataset/captures?limit=1000$after")
            CAPTURE.findAll(page).forEach { found += Capture(it.groupValues[1], it.groupValues[2], it.groupValues[3]) }
            val next = Regex("\"next\":\"([^\"]+)\"").find(page) ?: return found
            after = "&after=" + next.groupValues[1]
        }
    }

    data class Capture(val label: String, val status: String, val sha256: String)

    private fun call(method: String, path: String, json: String?): Pair<Int, String> {
        val connection = URI(url + path).toURL().openConnection() as HttpURLConnection
        connection.requestMethod = method
        connection.connectTimeout = 10_000
        connection.readTimeout = 60_000
        if (path.startsWith("/v1")) connection.setRequestProperty("Authorization", "Bearer $adminKey")
        if (json != null) {
            connection.doOutput = true
            connection.setRequestProperty("Content-Type", "application/json")
            connection.outputStream.use { it.write(json.toByteArray()) }
        }
        val status = connection.responseCode
        val stream = if (status >= 400) connection.errorStream else connection.inputStream
        return status to (stream?.readBytes()?.decodeToString() ?: "")
    }

    override fun close() {
        process.destroyForcibly().waitFor(10, TimeUnit.SECONDS)
        folder.toFile().deleteRecursively()
    }

    companion object {
        private val CAPTURE = Regex("\"label\":\"([^\"]*)\",\"status\":\"([^\"]*)\".*?\"sha256\":\"([0-9a-f]{64})\"")

        fun binary(): String {
            val path = System.getenv("TINTYPE_BIN") ?: error("TINTYPE_BIN names the tintype binary")
            check(Path.of(path).toFile().canExecute()) { "$path is not there: cargo build -p tintype" }
            return path
        }

        fun await(what: String, seconds: Long, isSo: () -> Boolean) {
            val end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds)
            while (!isSo()) {
                check(System.nanoTime() < end) { "waited $seconds s for $what" }
                Thread.sleep(20)
            }
        }
    }
}
