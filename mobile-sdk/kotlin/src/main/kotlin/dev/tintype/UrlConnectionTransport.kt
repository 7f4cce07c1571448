package dev.tintype

import dev.tintype.core.HttpHeader
import dev.tintype.core.HttpRequest
import dev.tintype.core.HttpResponse
import dev.tintype.core.Transport
import dev.tintype.core.TransportException
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.net.HttpURLConnection
import java.net.URI

/**
 * HTTP by what Java and Android have: proxies, VPNs, certificates and cleartext rules are the system's. The core
 * for Android is built without a client of its own and uses this.
 *
 * @param connectTimeoutMs how long a connection may take to stand.
 * @param readTimeoutMs how long the server may be silent.
 */
class UrlConnectionTransport(
    private val connectTimeoutMs: Int = 15_000,
    private val readTimeoutMs: Int = 30_000,
) : Transport {
    override fun send(request: HttpRequest): HttpResponse = try {
        val connection = URI(request.url).toURL().openConnection() as HttpURLConnection
        try {
            connection.connectTimeout = connectTimeoutMs
            connection.readTimeout = readTimeoutMs
            connection.instanceFollowRedirects = false
            connection.useCaches = false
            setMethod(connection, request.method)
            request.headers.forEach { connection.setRequestProperty(it.name, it.value) }
            sendBody(connection, request)
            receive(connection, request)
        } finally {
            connection.disconnect()
        }
    } catch (error: IOException) {
        throw TransportException.Connection(error.message ?: error.javaClass.simpleName)
    }

    /** Java's own class refuses PATCH, by which uploads go on; Android's does not. */
    private fun setMethod(connection: HttpURLConnection, method: String) {
        try {
            connection.requestMethod = method
        } catch (refused: java.net.ProtocolException) {
            throw TransportException.Connection("this Java cannot send $method: leave the transport out, and the built-in client is used")
        }
    }

    private fun sendBody(connection: HttpURLConnection, request: HttpRequest) {
        val file = request.bodyFile
        val body = request.body
        if (file == null && body == null) {
            if (request.method == "POST" || request.method == "PATCH") {
                connection.doOutput = true
                connection.setFixedLengthStreamingMode(0)
                connection.outputStream.close()
            }
            return
        }
        connection.doOutput = true
        connection.setFixedLengthStreamingMode(file?.let { request.bodyLength.toLong() } ?: body!!.size.toLong())
        try {
            connection.outputStream.use { out ->
                if (body != null) out.write(body) else copy(File(file!!), request.bodyOffset.toLong(), request.bodyLength.toLong(), out)
            }
        } catch (broken: IOException) {
            // The server may have answered before it had everything: that answer counts.
            runCatching { connection.responseCode }.getOrElse { throw broken }
        }
    }

    private fun copy(file: File, offset: Long, length: Long, out: OutputStream) {
        file.inputStream().use { input ->
            input.channel.position(offset)
            var left = length
            val piece = ByteArray(64 * 1024)
            while (left > 0) {
                val count = input.read(piece, 0, minOf(left, piece.size.toLong()).toInt())
                if (count < 0) throw IOException("$file is shorter than it was")
                out.write(piece, 0, count)
                left -= count
            }
        }
    }

    private fun receive(connection: HttpURLConnection, request: HttpRequest): HttpResponse {
        val status = connection.responseCode
        val headers = connection.headerFields
            .filterKeys { it != null }
            .flatMap { (name, values) -> values.map { HttpHeader(name, it) } }
        val stream: InputStream? = if (status >= 400) connection.errorStream else connection.inputStream
        val limit = request.maxResponseBytes.toLong()
        val target = request.saveTo
        val body = when {
            stream == null || request.method == "HEAD" -> ByteArray(0)
            target != null && status == 200 -> {
                save(stream, target, limit)
                ByteArray(0)
            }
            else -> read(stream, limit)
        }
        return HttpResponse(status.toUShort(), headers, body)
    }

    private fun read(stream: InputStream, limit: Long): ByteArray {
        val bytes = java.io.ByteArrayOutputStream()
        pour(stream, limit) { piece, count -> bytes.write(piece, 0, count) }
        return bytes.toByteArray()
    }

    private fun save(stream: InputStream, path: String, limit: Long) {
        val out = try {
            File(path).outputStream()
        } catch (error: IOException) {
            throw TransportException.Storage("$path: ${error.message}")
        }
        out.use {
            pour(stream, limit) { piece, count ->
                try {
                    it.write(piece, 0, count)
                } catch (error: IOException) {
                    throw TransportException.Storage("$path: ${error.message}")
                }
            }
        }
    }

    private fun pour(stream: InputStream, limit: Long, take: (ByteArray, Int) -> Unit) {
        stream.use {
            val piece = ByteArray(64 * 1024)
            var total = 0L
            while (true) {
                val count = it.read(piece)
                if (count < 0) return
                total += count
                if (total > limit) throw IOException("the answer is longer than $limit bytes")
                take(piece, count)
            }
        }
    }
}
