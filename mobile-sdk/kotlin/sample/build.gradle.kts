plugins {
    id("com.android.application") version "8.7.3"
    kotlin("android") version "2.2.21"
}

android {
    namespace = "dev.tintype.sample"
    compileSdk = 35
    defaultConfig {
        applicationId = "dev.tintype.sample"
        minSdk = 28
        targetSdk = 35
        versionCode = 1
        versionName = "0.1"
        buildConfigField("String", "SERVER", "\"${providers.gradleProperty("tintype.server").getOrElse("http://10.0.2.2:8080")}\"")
        buildConfigField("String", "KEY", "\"${providers.gradleProperty("tintype.key").getOrElse("tt_")}\"")
    }
    buildFeatures { buildConfig = true }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    implementation(project(":"))
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.lifecycle:lifecycle-runtime-ktx:2.8.7")
    implementation("com.google.ai.edge.litert:litert:1.4.0")
}
