//! The columns of the two tables, as Arrow schemas. What a name or a type is here
//! is what SQL, Hugging Face and the trainer see: columns are added, never changed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn float(name: &str) -> Field {
    Field::new(name, DataType::Float32, false)
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int32, false)
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

fn time(name: &str, nullable: bool) -> Field {
    Field::new(
        name,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        nullable,
    )
}

fn optional(field: Field) -> Field {
    field.with_nullable(true)
}

/// `image: struct<bytes, path>`, the shape that Hugging Face's `datasets` knows.
pub fn image_fields() -> Fields {
    vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]
    .into()
}

/// `original: struct<...>`: the uploaded file, by its object key and its measured facts.
/// Format and size in pixels are null where a rejected file did not tell.
pub fn original_fields() -> Fields {
    vec![
        text("key"),
        text("sha256"),
        long("bytes"),
        optional(text("format")),
        optional(int("width")),
        optional(int("height")),
    ]
    .into()
}

/// `kafka: struct<partition, offset>`: where on topic `prepared` the record stood.
pub fn kafka_fields() -> Fields {
    vec![int("partition"), long("offset")].into()
}

/// An entry of `metadata: array<struct<key, value>>`. Not a map, which Hugging Face's
/// `datasets` cannot read; SQL makes one of it with `map_from_entries(metadata)`.
pub fn metadata_item() -> Field {
    Field::new("element", DataType::Struct(metadata_fields()), false)
}

/// The fields of [`metadata_item`].
pub fn metadata_fields() -> Fields {
    vec![text("key"), text("value")].into()
}

/// The item of `embedding: array<float>`.
pub fn embedding_item() -> Field {
    Field::new("element", DataType::Float32, false)
}

/// Table `photos`: one row per accepted photo.
pub fn photos() -> SchemaRef {
    let fields = vec![
        text("id"),
        // Never null; but `datasets` knows a picture and a class only in columns that may be.
        optional(text("label")),
        Field::new("image", DataType::Struct(image_fields()), true),
        int("width"),
        int("height"),
        Field::new("original", DataType::Struct(original_fields()), false),
        time("captured_at", true),
        time("received_at", false),
        optional(text("device")),
        Field::new("metadata", DataType::List(Arc::new(metadata_item())), false),
        float("dark_score"),
        float("light_score"),
        float("blurry_score"),
        float("low_information_score"),
        float("odd_aspect_ratio_score"),
        float("odd_size_score"),
        float("grayscale_score"),
        long("phash"),
        Field::new("pdq", DataType::Binary, false),
        int("pdq_quality"),
        text("pixel_sha256"),
        Field::new(
            "embedding",
            DataType::List(Arc::new(embedding_item())),
            true,
        ),
        optional(float("label_score")),
        text("group_id"),
        optional(long("cluster_id")),
        text("split"),
        text("pipeline_version"),
        Field::new("kafka", DataType::Struct(kafka_fields()), false),
        // Tables are older than what follows: each is added to those that lack it.
        optional(text("embedding_model")),
        optional(float("cluster_distance")),
        Field::new("outlier", DataType::Boolean, true),
        optional(long("cluster_fit")),
    ];
    Arc::new(Schema::new_with_metadata(
        fields,
        HashMap::from([("huggingface".into(), huggingface_features())]),
    ))
}

/// Table `rejections`: one row per capture that was judged and not accepted.
pub fn rejections() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("id"),
        text("label"),
        text("status"),
        text("reason"),
        optional(text("detail")),
        optional(text("twin_id")),
        Field::new("original", DataType::Struct(original_fields()), false),
        time("received_at", false),
        Field::new("kafka", DataType::Struct(kafka_fields()), false),
    ]))
}

/// What makes `datasets.load_dataset("parquet", ...)` decode the photos: the two
/// columns that are more than their Arrow type says.
fn huggingface_features() -> String {
    serde_json::json!({"info": {"features": {
        "image": {"_type": "Image"},
        "label": {"_type": "Value", "dtype": "string"},
    }}})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_columns_are_what_a_reader_wants_first() {
        let names: Vec<_> = photos()
            .fields()
            .iter()
            .take(3)
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["id", "label", "image"]);
    }
}
