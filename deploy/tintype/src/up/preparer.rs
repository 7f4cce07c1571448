//! Photos to predict go through the processor's own steps, in the pool that bounds them:
//! a file comes in, the JPEG that the table would hold goes out, or the reason why not.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use processor::prepare::DecodePool;
use trainer::{PhotoPreparer, Unusable};

/// The processor's pool, as the trainer sees it.
pub struct PoolPreparer(pub Arc<DecodePool>);

impl PhotoPreparer for PoolPreparer {
    fn prepare(&self, file: Bytes) -> BoxFuture<'_, Result<Bytes, Unusable>> {
        Box::pin(async move {
            let prepared = self.0.prepare_picture(file).await;
            prepared
                .map(|photo| photo.jpeg)
                .map_err(|rejection| Unusable {
                    reason: rejection.reason,
                    detail: rejection.detail,
                })
        })
    }
}
