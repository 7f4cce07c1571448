//! One phone: its habits come from the seed and its number; photos go out, again and again
//! until each is acknowledged or refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use schemas::Label;
use schemas::http::CaptureReceipt;
use tokio::sync::{Mutex, Semaphore};

use super::network::Link;
use super::picture;
use super::tally::Tally;
use crate::client::{Client, ClientError, Next, Piece, Sending};

/// Tries of one photo. A phone goes on for days; a simulation has an end.
const MAX_TRIES: u32 = 60;

/// What all phones share.
pub struct World {
    pub client: Client,
    /// The dataset's id.
    pub dataset: String,
    /// The most frequent first.
    pub labels: Vec<Label>,
    pub seed: u64,
    /// The time in which photos are taken.
    pub over: Duration,
    /// Phones that may send at a time.
    pub online: Semaphore,
    pub tally: Mutex<Tally>,
}

/// A phone.
pub struct Phone {
    world: Arc<World>,
    number: u32,
    rng: StdRng,
    num_photos: u32,
    bytes_per_s: u64,
    /// How often a request is cut, 0 to 1.
    cuts: f64,
    /// How far its clock is off.
    clock_off: chrono::TimeDelta,
    /// The seed of the last picture, which it may send again.
    last: Option<u64>,
}

/// A photo on its way.
struct Photo {
    bytes: Bytes,
    label: Label,
    key: String,
    captured_at: String,
    device: String,
}

impl Phone {
    /// The phone of this number, which takes so many photos on average.
    pub fn new(world: Arc<World>, number: u32, mean_photos: u32) -> Self {
        let mut rng =
            StdRng::seed_from_u64(world.seed.wrapping_mul(0x9e37_79b9) ^ u64::from(number));
        let hours = if rng.random_bool(0.2) {
            rng.random_range(-24..=24)
        } else {
            0
        };
        Self {
            num_photos: rng.random_range(1..=mean_photos.saturating_mul(2).saturating_sub(1)),
            // From a bad mobile network to Wi-Fi.
            bytes_per_s: 10_f64.powf(rng.random_range(4.7..6.7)) as u64,
            cuts: if rng.random_bool(0.4) {
                rng.random_range(0.1..0.6)
            } else {
                0.0
            },
            clock_off: chrono::TimeDelta::hours(hours),
            last: None,
            world,
            number,
            rng,
        }
    }

    /// Takes its photos and sends them.
    pub async fn live(mut self) {
        let over = self.world.over;
        tokio::time::sleep(over.mul_f64(self.rng.random::<f64>())).await;
        for turn in 0..self.num_photos {
            let photo = self.take(turn);
            self.send(photo).await;
            // A burst, or some time until the next one.
            let is_burst = self.rng.random_bool(0.5);
            let pause = if is_burst {
                0.0
            } else {
                self.rng.random_range(0.0..0.1)
            };
            tokio::time::sleep(over.mul_f64(pause)).await;
        }
    }

    fn take(&mut self, turn: u32) -> Photo {
        let seed = match self.last {
            Some(last) if self.rng.random_bool(0.1) => last,
            _ => self.rng.random(),
        };
        self.last = Some(seed);
        // The first labels are by far the most frequent.
        let place = self.rng.random::<f64>().powi(3) * self.world.labels.len() as f64;
        let label = self.world.labels[(place as usize).min(self.world.labels.len() - 1)].clone();
        // Told by the seed, so that a picture that is sent again is the same file.
        let long = 320 + (seed % 4) as u32 * 160;
        Photo {
            bytes: picture::photo(seed, long).into(),
            label,
            key: format!("sim-{}-{}-{turn}", self.world.seed, self.number),
            captured_at: (chrono::Utc::now() + self.clock_off).to_rfc3339(),
            device: format!("phone {}", self.number),
        }
    }

    async fn send(&mut self, photo: Photo) {
        let world = Arc::clone(&self.world);
        let begun = Instant::now();
        let is_resumable = photo.bytes.len() > 40_000 || self.rng.random_bool(0.3);
        let mut location = None;
        for tried in 0..MAX_TRIES {
            if self.rng.random_bool(0.1) {
                // Offline for a while: a tunnel, or the app asleep.
                let spell = self.rng.random_range(0.2..5.0);
                tokio::time::sleep(Duration::from_secs_f64(spell)).await;
            }
            let Ok(online) = world.online.acquire().await else {
                return;
            };
            let attempt = match is_resumable {
                true => self.send_rest(&photo, &mut location).await,
                false => self.send_whole(&photo).await,
            };
            drop(online);
            let mut tally = world.tally.lock().await;
            match attempt {
                Ok(receipt) => {
                    tally.note(&photo.key, receipt.id, begun);
                    drop(tally);
                    // An app that was killed sends again what it has sent.
                    if self.rng.random_bool(0.05)
                        && let Ok(receipt) = self.send_whole(&photo).await
                    {
                        let mut tally = world.tally.lock().await;
                        tally.note(&photo.key, receipt.id, Instant::now());
                    }
                    return;
                }
                Err(error) => {
                    tally.num_failed_requests += 1;
                    let over = matches!(&error, ClientError::Refused { problem, .. } if matches!(problem.status, 404 | 410));
                    if over {
                        location = None;
                    }
                    let mismatch = matches!(&error, ClientError::Refused { problem, .. } if problem.status == 409);
                    match error.next() {
                        Next::Retry(after) => {
                            drop(tally);
                            let jitter = self.rng.random_range(0.5..1.0);
                            let own = Duration::from_millis(200 << tried.min(5)).mul_f64(jitter);
                            tokio::time::sleep(own.max(after.unwrap_or_default())).await;
                        }
                        _ if over || mismatch => {}
                        _ => {
                            tally.refused.push(format!("{}: {error}", photo.key));
                            return;
                        }
                    }
                }
            }
        }
        let mut tally = world.tally.lock().await;
        tally
            .refused
            .push(format!("{}: gave up after {MAX_TRIES} tries", photo.key));
    }

    async fn send_whole(&mut self, photo: &Photo) -> Result<CaptureReceipt, ClientError> {
        let body = self.link(photo.bytes.len()).carry(photo.bytes.clone());
        let num_bytes = photo.bytes.len() as u64;
        let sending = photo.sending(&self.world.dataset);
        self.world.client.send_bytes(sending, num_bytes, body).await
    }

    async fn send_rest(
        &mut self,
        photo: &Photo,
        location: &mut Option<String>,
    ) -> Result<CaptureReceipt, ClientError> {
        let world = Arc::clone(&self.world);
        let client = &world.client;
        let num_bytes = photo.bytes.len() as u64;
        let offset = match location {
            Some(path) => client.upload_offset(path).await?,
            None => {
                let sending = photo.sending(&world.dataset);
                *location = Some(client.begin_upload(sending, num_bytes).await?);
                0
            }
        };
        let path = location.clone().unwrap_or_default();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(photo.bytes.len());
        let rest = photo.bytes.slice(start..);
        let piece = Piece {
            offset,
            num_bytes: rest.len() as u64,
        };
        let body = self.link(rest.len()).carry(rest);
        client.end_upload(&path, piece, body).await
    }

    fn link(&mut self, num_bytes: usize) -> Link {
        let is_cut = num_bytes > 0 && self.rng.random_bool(self.cuts);
        let cut_after = is_cut.then(|| self.rng.random_range(0..num_bytes as u64));
        Link {
            bytes_per_s: self.bytes_per_s,
            cut_after,
        }
    }
}

impl Photo {
    fn sending<'a>(&'a self, dataset: &'a str) -> Sending<'a> {
        Sending {
            dataset,
            label: &self.label,
            idempotency_key: &self.key,
            captured_at: &self.captured_at,
            device: &self.device,
        }
    }
}
