package dev.tintype.sample

import android.app.Application
import android.graphics.Bitmap
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.os.Bundle
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ListView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.lifecycle.lifecycleScope
import dev.tintype.ModelStore
import dev.tintype.Tintype
import dev.tintype.UrlConnectionTransport
import dev.tintype.android.AndroidConditions
import dev.tintype.android.SendJob
import dev.tintype.core.InputOrder
import dev.tintype.core.Item
import dev.tintype.core.ModelRuntime
import dev.tintype.core.TintypeException
import dev.tintype.inputBuffer
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.tensorflow.lite.Interpreter
import java.io.ByteArrayOutputStream
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Holds the one queue and the one store of models that the whole app shares. */
class SampleApplication : Application() {
    val tintype by lazy {
        Tintype(
            File(filesDir, "queue").path, BuildConfig.SERVER, BuildConfig.KEY, "cups",
            transport = UrlConnectionTransport(), conditions = AndroidConditions(this)::now,
        )
    }
    val models by lazy {
        ModelStore(File(filesDir, "models").path, BuildConfig.SERVER, BuildConfig.KEY, UrlConnectionTransport())
    }
}

/** Sends what is left when the app is not on the screen. */
class SamplePhotosJob : SendJob() {
    override fun tintype() = (application as SampleApplication).tintype
}

/** Pick a photo or take one, label it, see what becomes of it, and ask the newest model. */
class SampleActivity : ComponentActivity() {
    private val app get() = application as SampleApplication
    private lateinit var label: EditText
    private lateinit var answer: TextView

    private val picker = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri ->
        if (uri != null) take(contentResolver.openInputStream(uri)!!.use { it.readBytes() })
    }
    private val camera = registerForActivityResult(ActivityResultContracts.TakePicturePreview()) { bitmap ->
        if (bitmap != null) take(ByteArrayOutputStream().also { bitmap.compress(Bitmap.CompressFormat.JPEG, 92, it) }.toByteArray())
    }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        val photos = ArrayAdapter<String>(this, android.R.layout.simple_list_item_1)
        label = EditText(this).apply { hint = "what is it?" }
        answer = TextView(this)
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                addView(label)
                addView(button("Take a photo") { camera.launch(null) })
                addView(button("Pick a photo") { picker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) })
                addView(answer)
                addView(ListView(this@SampleActivity).apply { adapter = photos })
            },
        )
        app.tintype.start(lifecycleScope)
        SendJob.schedule(this, SamplePhotosJob::class.java, 1)
        lifecycleScope.launch {
            app.tintype.photos.collect { items ->
                photos.clear()
                photos.addAll(items.asReversed().map(::line))
            }
        }
    }

    private fun button(text: String, action: () -> Unit) = Button(this).apply {
        this.text = text
        setOnClickListener { action() }
    }

    private fun line(item: Item): String {
        val verdict = item.verdict
        val words = verdict?.detail ?: item.reason?.detail
        return listOfNotNull(item.label, verdict?.status ?: item.state.name.lowercase(), words).joinToString(" · ")
    }

    private fun take(photo: ByteArray) {
        lifecycleScope.launch {
            try {
                app.tintype.send(photo, label.text.toString())
                answer.text = guess(photo)
            } catch (refused: TintypeException) {
                answer.text = refused.message
            }
        }
    }

    /** What the newest model says; it is used only if it passes the golden check on this device. */
    private suspend fun guess(photo: ByteArray): String = withContext(Dispatchers.Default) {
        runCatching { app.models.updateToNewest("cups") } // without a network the one that is here does
        val model = app.models.current() ?: return@withContext "no model yet"
        Interpreter(File(model.folder, "model.tflite")).use { interpreter ->
            val run = { input: ByteBuffer ->
                val output = Array(1) { FloatArray(model.labels.size) }
                interpreter.run(input, output)
                output[0]
            }
            val runtime = object : ModelRuntime {
                override fun run(input: ByteArray) = run(direct(input)).toList()
                override fun runPhoto(rgb: ByteArray, width: UInt, height: UInt): List<Float>? = null
            }
            val report = app.models.check("model.tflite", InputOrder.NHWC, runtime)
            if (!report.isPassed) return@withContext report.findings.joinToString()
            val bitmap = upright(photo)
            val input = app.models.preprocessor().inputBuffer(rgb(bitmap), bitmap.width, bitmap.height, InputOrder.NHWC)
            val scores = run(input)
            val best = scores.indices.maxBy { scores[it] }
            "${model.labels[best]} (${(scores[best] * 100).toInt()} %)"
        }
    }

    /** Turned as its EXIF says, in sRGB, in memory that its pixels can be read from. */
    private fun upright(photo: ByteArray): Bitmap =
        ImageDecoder.decodeBitmap(ImageDecoder.createSource(ByteBuffer.wrap(photo))) { decoder, _, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
        }

    private fun direct(bytes: ByteArray): ByteBuffer =
        ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).apply { put(bytes).rewind() }

    private fun rgb(bitmap: Bitmap): ByteArray {
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return ByteArray(pixels.size * 3) { (pixels[it / 3] shr (16 - 8 * (it % 3))).toByte() }
    }
}
