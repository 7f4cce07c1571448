package dev.tintype.android

import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.ComponentName
import android.content.Context
import dev.tintype.Tintype
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch

/**
 * Sends what waits when the system grants the time: a job of Android's own scheduler, for apps without WorkManager.
 * An app derives from it, returns its one [Tintype], and declares it in its manifest with
 * `android.permission.BIND_JOB_SERVICE`.
 */
abstract class SendJob : JobService() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)

    /** The app's queue: the same object that the rest of the app uses. */
    abstract fun tintype(): Tintype

    override fun onStartJob(parameters: JobParameters): Boolean {
        scope.launch {
            val report = runCatching { tintype().sendNow(MAX_SECONDS) }.getOrNull()
            val isLeft = report == null || (report.numWaiting > 0u && report.held == null)
            jobFinished(parameters, isLeft)
        }
        return true
    }

    /** The time is over: what is on its way is waited for, the rest goes with the next job. */
    override fun onStopJob(parameters: JobParameters): Boolean {
        tintype().stop()
        return true
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    companion object {
        /** Under the ten minutes that the system grants. */
        private const val MAX_SECONDS = 540

        /** Asks the system for a run of [job] on a network that costs nothing by the byte; kept over a reboot. */
        fun schedule(context: Context, job: Class<out SendJob>, id: Int) {
            val info = JobInfo.Builder(id, ComponentName(context, job))
                .setRequiredNetworkType(JobInfo.NETWORK_TYPE_UNMETERED)
                .setPersisted(true)
                .build()
            context.getSystemService(JobScheduler::class.java).schedule(info)
        }
    }
}
