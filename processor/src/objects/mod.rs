//! The object store: what must outlive a machine's disk, in a directory or in a bucket of anything that speaks S3.

mod https;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};
use service::config::Secret;
use url::Url;

pub(crate) use upload::Upload;

/// How long a read may stay without a single byte.
const READ_STALL: Duration = Duration::from_secs(60);

/// Where objects are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectStoreSettings {
    /// A directory, `file:///…`, or `s3://bucket/prefix`; empty for none.
    pub url: String,
    /// Settings of a bucket, such as `aws_region` or `aws_endpoint`, as the crate `object_store` names them.
    pub options: BTreeMap<String, Secret>,
}

/// Why the object store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// A setting that is wrong by itself.
    #[error("{setting}: {problem}")]
    Setting {
        /// Its name.
        setting: String,
        /// What is wrong.
        problem: String,
    },
    /// The store failed, or is away.
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
    /// The store sent nothing for a long time.
    #[error("the object store does not answer")]
    Stalled,
    /// An object is not what was written.
    #[error("object {name} {problem}")]
    Damaged {
        /// The object.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ObjectsError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub(crate) const fn is_retriable(&self) -> bool {
        match self {
            Self::Store(_) | Self::Stalled => true,
            Self::Setting { .. } | Self::Damaged { .. } => false,
        }
    }

    pub(crate) fn damaged(name: &str, problem: impl fmt::Display) -> Self {
        Self::Damaged { name: name.to_owned(), problem: problem.to_string() }
    }
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// When it was written, by the store's clock.
    pub(crate) written_at: Timestamp,
}

/// An object store that is open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    /// Opens the store that the settings name; `None` if they name none. A bucket is not spoken to before it is used.
    ///
    /// # Errors
    /// [`ObjectsError::Setting`], also if a directory cannot be made.
    pub fn open(settings: &ObjectStoreSettings) -> Result<Option<Self>, ObjectsError> {
        let wrong = |problem: String| ObjectsError::Setting { setting: "object_store.url".into(), problem };
        if settings.url.is_empty() {
            return Ok(None);
        }
        let url = match Url::parse(&settings.url) {
            Ok(url) => url,
            Err(_) => return Self::in_directory(FilePath::new(&settings.url)).map(Some),
        };
        match url.scheme() {
            "file" => {
                let dir =
                    url.to_file_path().map_err(|()| wrong("names no directory of this machine".into()))?;
                Self::in_directory(&dir).map(Some)
            }
            "s3" => Self::in_bucket(&url, &settings.options).map(Some),
            scheme => Err(wrong(format!("{scheme}:// is not known: a directory, file:// or s3://"))),
        }
    }

    /// A store in a directory, which is made if it is missing. What was written is on the disk.
    ///
    /// # Errors
    /// [`ObjectsError::Setting`] if it cannot be made.
    pub fn in_directory(dir: &FilePath) -> Result<Self, ObjectsError> {
        let wrong = |problem: String| ObjectsError::Setting { setting: "object_store.url".into(), problem };
        std::fs::create_dir_all(dir)
            .map_err(|error| wrong(format!("{} cannot be made: {error}", dir.display())))?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)) })
    }

    /// A store that is there already.
    pub fn of(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    fn in_bucket(url: &Url, options: &BTreeMap<String, Secret>) -> Result<Self, ObjectsError> {
        let mut builder = AmazonS3Builder::new().with_url(url.as_str()).with_http_connector(https::Connector);
        for (name, value) in options {
            let key: AmazonS3ConfigKey =
                name.parse().map_err(|error: object_store::Error| ObjectsError::Setting {
                    setting: format!("object_store.options.{name}"),
                    problem: error.to_string(),
                })?;
            builder = builder.with_config(key, value.expose());
        }
        let wrong = |error: &dyn fmt::Display| ObjectsError::Setting {
            setting: "object_store".into(),
            problem: error.to_string(),
        };
        let bucket = builder.build().map_err(|error| wrong(&error))?;
        let prefix = Path::parse(url.path().trim_matches('/')).map_err(|error| wrong(&error))?;
        Ok(Self { store: Arc::new(PrefixStore::new(bucket, prefix)) })
    }

    /// The objects whose names begin with the folder `prefix`, by name.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Object>, ObjectsError> {
        let listed = self.store.list(Some(&Path::from(prefix)));
        let mut objects: Vec<Object> = within(READ_STALL, listed.try_collect::<Vec<_>>())
            .await??
            .into_iter()
            .map(|meta| Object {
                name: meta.location.to_string(),
                bytes: meta.size,
                written_at: Timestamp::from_micros(meta.last_modified.timestamp_micros()),
            })
            .collect();
        objects.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(objects)
    }

    /// Begins to write an object in pieces. It is there only when it is finished.
    pub(crate) async fn upload(&self, name: &str) -> Result<Upload, ObjectsError> {
        Ok(Upload::new(self.store.put_multipart(&Path::from(name)).await?))
    }

    /// Hands an object's bytes to `take`, piece by piece, and gives their number.
    pub(crate) async fn read<E: From<ObjectsError>>(
        &self,
        name: &str,
        mut take: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<u64, E> {
        let got = within(READ_STALL, self.store.get(&Path::from(name))).await?;
        let mut pieces = got.map_err(ObjectsError::from)?.into_stream();
        let mut bytes = 0;
        while let Some(piece) = within(READ_STALL, pieces.next()).await? {
            let piece = piece.map_err(ObjectsError::from)?;
            bytes += piece.len() as u64;
            take(piece)?;
        }
        Ok(bytes)
    }

    /// Removes an object; one that is gone already is as good.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ObjectsError> {
        match within(READ_STALL, self.store.delete(&Path::from(name))).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, ObjectsError> {
    tokio::time::timeout(limit, work).await.map_err(|_| ObjectsError::Stalled)
}
