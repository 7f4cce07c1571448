//! The networks that Tintype knows.

/// A network's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// MobileNetV2 of a width.
    MobileNetV2(Width),
    /// ResNet with 18 layers.
    ResNet18,
    /// ResNet with 34 layers.
    ResNet34,
    /// ResNet with 50 layers (v1.5: the stride is in the 3x3 convolution).
    ResNet50,
}

/// How many channels a MobileNetV2 has, as a part of the full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 1.0
    Full,
    /// 0.5
    Half,
    /// 0.35
    Third,
}
