//! The tables as a stranger reads them: the Delta log through `deltalake-core`, then every
//! row of every file that it names.

use std::path::Path;

use arrow::array::AsArray as _;
use deltalake_core::DeltaTableBuilder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

/// The `id` and `label` of every row. Panics if a file that the log names is not there.
pub async fn rows(folder: &Path) -> Vec<(String, String)> {
    let url = Url::from_directory_path(folder).unwrap();
    let table = DeltaTableBuilder::from_url(url)
        .unwrap()
        .load()
        .await
        .unwrap();
    let mut rows = Vec::new();
    for uri in table.get_file_uris().unwrap() {
        // With or without a scheme; percent signs either way.
        let uri = uri.strip_prefix("file://").unwrap_or(&uri);
        let path = Url::parse(&format!("file://{uri}")).unwrap();
        let path = path.to_file_path().unwrap();
        let file = std::fs::File::open(path)
            .unwrap_or_else(|error| panic!("dangling reference {uri}: {error}"));
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap()
        {
            let batch = batch.unwrap();
            let ids = batch.column_by_name("id").unwrap().as_string::<i32>();
            let labels = batch.column_by_name("label").unwrap().as_string::<i32>();
            rows.extend(
                ids.iter()
                    .zip(labels)
                    .map(|(id, label)| (id.unwrap().to_owned(), label.unwrap().to_owned())),
            );
        }
    }
    rows
}
