//! The numbers of TFLite's schema that occur here.

/// The file identifier and the schema's version.
pub const IDENTIFIER: [u8; 4] = *b"TFL3";
pub const VERSION: u32 = 3;

/// `TensorType`
pub mod kind {
    pub const FLOAT32: i8 = 0;
    pub const FLOAT16: i8 = 1;
    pub const INT32: i8 = 2;
    pub const UINT8: i8 = 3;
    pub const INT8: i8 = 9;
}

/// `BuiltinOperator`; all are below 127, so the old field of one byte holds them too.
pub mod operator {
    pub const ADD: i32 = 0;
    pub const CONV_2D: i32 = 3;
    pub const DEPTHWISE_CONV_2D: i32 = 4;
    pub const DEQUANTIZE: i32 = 6;
    pub const FULLY_CONNECTED: i32 = 9;
    pub const MAX_POOL_2D: i32 = 17;
    pub const RESHAPE: i32 = 22;
    pub const SOFTMAX: i32 = 25;
    pub const PAD: i32 = 34;
    pub const MEAN: i32 = 40;
    pub const QUANTIZE: i32 = 114;
}

/// The union `BuiltinOptions`.
pub mod options {
    pub const CONV_2D: u8 = 1;
    pub const DEPTHWISE_CONV_2D: u8 = 2;
    pub const POOL_2D: u8 = 5;
    pub const FULLY_CONNECTED: u8 = 8;
    pub const SOFTMAX: u8 = 9;
    pub const ADD: u8 = 11;
    pub const RESHAPE: u8 = 17;
    pub const PAD: u8 = 22;
    pub const REDUCER: u8 = 27;
    pub const DEQUANTIZE: u8 = 38;
    pub const QUANTIZE: u8 = 89;
}

/// `Padding`
pub const SAME: i8 = 0;
pub const VALID: i8 = 1;

/// Field numbers, by table.
pub mod slot {
    pub mod model {
        pub const VERSION: u16 = 0;
        pub const OPERATOR_CODES: u16 = 1;
        pub const SUBGRAPHS: u16 = 2;
        pub const DESCRIPTION: u16 = 3;
        pub const BUFFERS: u16 = 4;
        pub const METADATA: u16 = 6;
        pub const SIGNATURES: u16 = 7;
    }
    pub mod code {
        pub const OLD: u16 = 0;
        pub const VERSION: u16 = 2;
        pub const BUILTIN: u16 = 3;
    }
    pub mod subgraph {
        pub const TENSORS: u16 = 0;
        pub const INPUTS: u16 = 1;
        pub const OUTPUTS: u16 = 2;
        pub const OPERATORS: u16 = 3;
        pub const NAME: u16 = 4;
    }
    pub mod tensor {
        pub const SHAPE: u16 = 0;
        pub const KIND: u16 = 1;
        pub const BUFFER: u16 = 2;
        pub const NAME: u16 = 3;
        pub const QUANTIZATION: u16 = 4;
    }
    pub mod quantization {
        pub const SCALE: u16 = 2;
        pub const ZERO_POINT: u16 = 3;
        pub const DIMENSION: u16 = 6;
    }
    pub mod step {
        pub const CODE: u16 = 0;
        pub const INPUTS: u16 = 1;
        pub const OUTPUTS: u16 = 2;
        pub const OPTIONS_KIND: u16 = 3;
        pub const OPTIONS: u16 = 4;
    }
    /// `Conv2DOptions`, `DepthwiseConv2DOptions` and `Pool2DOptions` begin alike.
    pub mod window {
        pub const PADDING: u16 = 0;
        pub const STRIDE_W: u16 = 1;
        pub const STRIDE_H: u16 = 2;
        pub const CONV_ACTIVATION: u16 = 3;
        pub const DEPTHWISE_MULTIPLIER: u16 = 3;
        pub const DEPTHWISE_ACTIVATION: u16 = 4;
        pub const POOL_W: u16 = 3;
        pub const POOL_H: u16 = 4;
    }
    /// A table's only field: the data of a buffer, the beta of a softmax, `keep_dims` of a
    /// mean, the activation of an addition or a matrix, the shape of a reshape.
    pub const ONLY: u16 = 0;
}
