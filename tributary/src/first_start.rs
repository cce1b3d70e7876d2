//! The first start: an installation, a workspace, an admin key that is shown in a file once and for all.

use std::path::PathBuf;

use catalog::Follower;
use catalog::bootstrap::{Bootstrap, admin_secret, bootstrap};
use schemas::hex;
use schemas::money::Currency;
use schemas::time::Timestamp;
use service::clock::{SharedClock, random_seed};
use service::config::Secret;

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::settings::{FirstStart, Settings};

/// The admin key's file in the data directory.
pub(crate) const KEY_FILE: &str = "admin-key";
/// What the key is made from, kept from before the catalog has the key until after the file has it.
const SEED_FILE: &str = "admin-key.seed";

/// The key that seals secrets, where none is configured.
const SECRETS_KEY_FILE: &str = "secrets-key";

/// Creates what is missing and tells where the admin key lies; `None` if another node made the installation.
///
/// A crash at any point loses nothing: the seed is durable before the catalog knows the key.
pub(crate) async fn first_start(
    dir: &DataDir,
    follower: &Follower,
    settings: &FirstStart,
    clock: &SharedClock,
) -> Result<Option<PathBuf>, Error> {
    let key_file = dir.join(KEY_FILE);
    let unfinished = dir.read(SEED_FILE)?.and_then(|text| hex::decode(text.trim()));
    if follower.read().installation().is_some() && unfinished.is_none() {
        return Ok(key_file.is_file().then_some(key_file));
    }
    let seed = match unfinished {
        Some(seed) => seed,
        None => {
            let seed = new_seed();
            dir.write_private(SEED_FILE, &hex::encode(&seed))?;
            seed
        }
    };
    let wrong = |setting, reason: String| Error::Setting { setting, reason };
    let currency = Currency::from_code(&settings.currency)
        .map_err(|error| wrong("first_start.currency", error.to_string()))?;
    if settings.events_partitions == 0 || settings.events_partitions > 1_024 {
        return Err(wrong("first_start.events_partitions", "must be between 1 and 1024".to_owned()));
    }
    let made = bootstrap(
        follower,
        Bootstrap {
            events_partitions: settings.events_partitions,
            workspace_name: settings.workspace_name.clone(),
            currency,
            timezone: settings.timezone.clone(),
            now: Timestamp::from_micros(clock.now_micros()),
            seed,
        },
    )
    .await
    .map_err(|error| Error::Catalog(error.to_string()))?;
    // Made just now, or by this very seed before a crash; else the key is somebody else's.
    let secret = admin_secret(seed);
    let now = Timestamp::from_micros(clock.now_micros());
    let ours = made.is_some() || follower.read().key_by_secret(&secret, now).is_some();
    if ours {
        dir.write_private(KEY_FILE, &format!("{secret}\n"))?;
    }
    dir.remove(SEED_FILE)?;
    Ok(key_file.is_file().then_some(key_file))
}

/// The key that seals secrets: the configured one, else one that the first start makes and the data directory keeps.
pub(crate) fn secrets_key(dir: &DataDir, settings: &Settings) -> Result<Secret, Error> {
    if !settings.secrets.key.is_empty() {
        return Ok(settings.secrets.key.clone());
    }
    if let Some(text) = dir.read(SECRETS_KEY_FILE)? {
        return Ok(Secret::new(text.trim()));
    }
    let key = hex::encode(&new_seed());
    dir.write_private(SECRETS_KEY_FILE, &format!("{key}\n"))?;
    Ok(Secret::new(key))
}

fn new_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for part in seed.chunks_exact_mut(16) {
        part.copy_from_slice(&random_seed().to_be_bytes());
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_survives_its_file() {
        let seed = new_seed();
        assert_eq!(hex::decode(&hex::encode(&seed)), Some(seed));
        assert_eq!(hex::decode::<32>("00"), None);
        assert_ne!(new_seed(), seed);
    }
}
