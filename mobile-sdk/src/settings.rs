//! What an app decides once: where photos go, and under which conditions. Checked when the
//! queue is opened, so that a slip is told at the first start and not at the first upload.

use crate::TintypeError;

/// Where photos come from and go to.
#[derive(Debug, Clone, uniffi::Record)]
pub struct Settings {
    /// A folder of the app's own that the system never empties (not its cache).
    pub folder: String,
    /// The server's address, such as `https://photos.example.org`.
    pub server: String,
    /// An API key with the scope `upload`: all that belongs inside an app.
    pub key: String,
    /// The dataset, by name or id.
    pub dataset: String,
    /// What the table calls this device; no name of a person. At most 128 bytes.
    #[uniffi(default = None)]
    pub device: Option<String>,
}

/// When photos are sent, and what is sent of them.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Policy {
    /// Which photo goes first; the oldest if absent.
    #[uniffi(default = None)]
    pub order: Option<Order>,
    /// Which networks may be used; the unmetered if absent.
    #[uniffi(default = None)]
    pub network: Option<Network>,
    /// Whether the device must be charging; it need not if absent.
    #[uniffi(default = None)]
    pub power: Option<Power>,
    /// What happens to the place where a photo was taken; it is taken out if absent.
    #[uniffi(default = None)]
    pub location: Option<Location>,
    /// Photos that may wait. More, and the app's start takes longer than a person
    /// notices; fewer, and a week without network fills the queue.
    #[uniffi(default = 10000)]
    pub max_photos: u32,
    /// Bytes of photos that may wait. More fills phones that are nearly full; 2 GiB are
    /// some 600 photos of 12 megapixels.
    #[uniffi(default = 2147483648)]
    pub max_waiting_bytes: u64,
    /// The largest photo in bytes. The server takes 32 MiB.
    #[uniffi(default = 33554432)]
    pub max_photo_bytes: u64,
    /// The shortest side a photo may have, in pixels. The server refuses less than 16.
    #[uniffi(default = 16)]
    pub min_side: u32,
    /// The most pixels a photo may have. The server refuses more than 64 megapixels.
    #[uniffi(default = 64000000)]
    pub max_pixels: u64,
    /// Photos on their way at the same time, 1 to 8. More does not fill a phone's uplink
    /// any better, and a connection that breaks costs more.
    #[uniffi(default = 2)]
    pub parallel: u32,
    /// Photos that are done and still listed, the newest.
    #[uniffi(default = 1000)]
    pub history: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            order: None,
            network: None,
            power: None,
            location: None,
            max_photos: 10_000,
            max_waiting_bytes: 2 << 30,
            max_photo_bytes: 32 << 20,
            min_side: 16,
            max_pixels: 64_000_000,
            parallel: 2,
            history: 1_000,
        }
    }
}

/// Which photo goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, uniffi::Enum)]
pub enum Order {
    /// As they were taken in.
    #[default]
    OldestFirst,
    /// The latest, so that a person sees at once what became of it.
    NewestFirst,
}

/// Which networks may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, uniffi::Enum)]
pub enum Network {
    /// Those that cost nothing by the byte.
    #[default]
    Unmetered,
    /// Mobile data as well.
    Any,
}

/// Whether the device must be charging.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, uniffi::Enum)]
pub enum Power {
    /// It need not.
    #[default]
    Any,
    /// Only then.
    Charging,
}

/// What happens to the place where a photo was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, uniffi::Enum)]
pub enum Location {
    /// It never leaves the device, and with it goes all metadata but orientation, time,
    /// camera make and model, and the colour profile.
    #[default]
    Strip,
    /// The file is sent as it is.
    Keep,
}

/// How the device stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct Conditions {
    /// Whether there is a network.
    pub is_online: bool,
    /// Whether it costs by the byte.
    pub is_metered: bool,
    /// Whether the device is charging.
    pub is_charging: bool,
}

/// Why nothing is sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum HoldReason {
    /// There is no network.
    Offline,
    /// The network costs by the byte, and the policy forbids that.
    Metered,
    /// The device is not charging, and the policy asks for it.
    NotCharging,
    /// The key is not valid, or not for this dataset; or there is no such dataset.
    Refused,
}

impl Policy {
    /// Which photo goes first.
    pub(crate) fn order(&self) -> Order {
        self.order.unwrap_or_default()
    }

    /// Why nothing may be sent under these conditions, if so.
    pub(crate) fn hold(&self, now: Conditions) -> Option<HoldReason> {
        let (network, power) = (
            self.network.unwrap_or_default(),
            self.power.unwrap_or_default(),
        );
        if !now.is_online {
            Some(HoldReason::Offline)
        } else if now.is_metered && network == Network::Unmetered {
            Some(HoldReason::Metered)
        } else if !now.is_charging && power == Power::Charging {
            Some(HoldReason::NotCharging)
        } else {
            None
        }
    }

    pub(crate) fn check(&self) -> Result<(), TintypeError> {
        let fault = if !(1..=8).contains(&self.parallel) {
            "parallel must be 1 to 8"
        } else if self.max_photos == 0 || self.max_photos > 100_000 {
            "max_photos must be 1 to 100000"
        } else if self.max_photo_bytes == 0 || self.max_photo_bytes > self.max_waiting_bytes {
            "max_photo_bytes must be at least 1 and no more than max_waiting_bytes"
        } else {
            return Ok(());
        };
        Err(TintypeError::settings(fault))
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), TintypeError> {
        check_server(&self.server)?;
        check_key(&self.key)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.dataset.is_empty() || !self.dataset.chars().all(is_name) {
            let detail = format!(
                "{:?} is no dataset: a name has letters, digits, - and _",
                self.dataset
            );
            return Err(TintypeError::settings(detail));
        }
        if self.device.as_ref().is_some_and(|name| name.len() > 128) {
            return Err(TintypeError::settings("device is longer than 128 bytes"));
        }
        Ok(())
    }

    /// An address under the server's.
    pub(crate) fn url(&self, path: &str) -> String {
        url(&self.server, path)
    }
}

pub(crate) fn check_server(server: &str) -> Result<(), TintypeError> {
    let host = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| server.strip_prefix(scheme));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' '])) {
        return Ok(());
    }
    let detail = format!(
        "{server:?} is no address: it begins with https://, such as https://photos.example.org"
    );
    Err(TintypeError::settings(detail))
}

pub(crate) fn check_key(key: &str) -> Result<(), TintypeError> {
    if key.starts_with("tt_") && key.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    Err(TintypeError::settings(
        "the key is no API key: one begins with tt_; have one made with the scope upload",
    ))
}

pub(crate) fn url(server: &str, path: &str) -> String {
    format!("{}{path}", server.trim_end_matches('/'))
}
