//! The messages that a snapshot is written in. Each part of the index turns itself into
//! these and back.

use prost::Message;

/// Some of a snapshot: any of its fields may be empty.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// What it is a snapshot of; in the first frame.
    #[prost(message, optional, tag = "1")]
    pub head: Option<Head>,
    /// Data files of both tables whose rows are in it.
    #[prost(string, repeated, tag = "2")]
    pub files: Vec<String>,
    /// Ids of captures that were judged and not accepted, 16 bytes each.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub declined: Vec<bytes::Bytes>,
    /// Accepted photos, in the order in which they came.
    #[prost(message, repeated, tag = "4")]
    pub photos: Vec<Photo>,
    /// What the photos of labels look like.
    #[prost(message, repeated, tag = "5")]
    pub looks: Vec<Look>,
    /// The kinds of photo, by model.
    #[prost(message, repeated, tag = "6")]
    pub spaces: Vec<Space>,
    /// SHA-256 of all frames before; in the last frame.
    #[prost(bytes = "vec", tag = "7")]
    pub digest: Vec<u8>,
}

/// What a snapshot is of.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Head {
    /// What the bytes mean.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The partition of topic `prepared` that the dataset's records come by.
    #[prost(int32, tag = "2")]
    pub partition: i32,
    /// The last offset of it whose row is in the tables.
    #[prost(int64, tag = "3")]
    pub position: i64,
}

/// An accepted photo.
#[derive(Clone, PartialEq, Message)]
pub struct Photo {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// 16 bytes; empty if the group is the photo's own.
    #[prost(bytes = "vec", tag = "2")]
    pub group: Vec<u8>,
    /// Of the file; empty if an earlier photo has the same.
    #[prost(bytes = "vec", tag = "3")]
    pub sha256: Vec<u8>,
    /// Of the pixels; empty if an earlier photo has the same.
    #[prost(bytes = "vec", tag = "4")]
    pub pixel_sha256: Vec<u8>,
    /// If it has enough detail to be compared by looks.
    #[prost(message, optional, tag = "5")]
    pub detail: Option<Detail>,
}

/// What a photo looks like.
#[derive(Clone, PartialEq, Message)]
pub struct Detail {
    /// 64 bits.
    #[prost(fixed64, tag = "1")]
    pub phash: u64,
    /// 256 bits.
    #[prost(bytes = "vec", tag = "2")]
    pub pdq: Vec<u8>,
    /// The sketch of its embedding; empty if it has none.
    #[prost(bytes = "vec", tag = "3")]
    pub sketch: Vec<u8>,
    /// Of which model the sketch is.
    #[prost(fixed32, tag = "4")]
    pub sketch_model: u32,
}

/// The photos of a label.
#[derive(Clone, PartialEq, Message)]
pub struct Look {
    /// What computed the embeddings.
    #[prost(string, tag = "1")]
    pub model: String,
    /// The label.
    #[prost(string, tag = "2")]
    pub label: String,
    /// How many photos it has.
    #[prost(uint32, tag = "3")]
    pub num_photos: u32,
    /// The sum of their directions.
    #[prost(sint64, repeated, tag = "4")]
    pub sum: Vec<i64>,
    /// Those that are kept as neighbours.
    #[prost(message, repeated, tag = "5")]
    pub kept: Vec<KeptPhoto>,
}

/// A photo whose direction is kept.
#[derive(Clone, PartialEq, Message)]
pub struct KeptPhoto {
    /// The hash that it is kept by.
    #[prost(fixed64, tag = "1")]
    pub key: u64,
    /// 16 bytes; empty where nobody asks for it.
    #[prost(bytes = "vec", tag = "2")]
    pub id: Vec<u8>,
    /// The kind of photo that it was placed in when it came.
    #[prost(int64, optional, tag = "3")]
    pub cluster: Option<i64>,
    /// It looked like nothing seen before.
    #[prost(bool, tag = "4")]
    pub is_outlier: bool,
    /// Its direction, a byte a feature.
    #[prost(bytes = "vec", tag = "5")]
    pub direction: Vec<u8>,
}

/// The kinds of photo by one model's embeddings.
#[derive(Clone, PartialEq, Message)]
pub struct Space {
    /// The model.
    #[prost(string, tag = "1")]
    pub model: String,
    /// Photos with its embeddings.
    #[prost(uint64, tag = "2")]
    pub num_photos: u64,
    /// How many there were at the last fit.
    #[prost(uint64, tag = "3")]
    pub fitted_at: u64,
    /// How many came since.
    #[prost(uint64, tag = "4")]
    pub num_since: u64,
    /// And how many of these look like nothing seen before.
    #[prost(uint64, tag = "5")]
    pub num_outliers_since: u64,
    /// Kept of those before the fit.
    #[prost(message, repeated, tag = "6")]
    pub before: Vec<KeptPhoto>,
    /// Kept of those since.
    #[prost(message, repeated, tag = "7")]
    pub since: Vec<KeptPhoto>,
}
