// The library for Android. On a plain JVM it is built and tested by pom.xml.
plugins {
    id("com.android.library") version "8.7.3"
    kotlin("android") version "2.2.21"
    `maven-publish`
}

android {
    namespace = "dev.tintype"
    compileSdk = 35
    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
    }
    sourceSets["main"].apply {
        // android.sh writes the bindings and the native libraries.
        kotlin.srcDirs("src/main/kotlin", "src/android/kotlin", "target/generated-sources/uniffi")
        jniLibs.srcDirs("src/main/jniLibs")
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
    publishing { singleVariant("release") { withSourcesJar() } }
}

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    implementation("net.java.dev.jna:jna:5.17.0@aar")
}
