//! An object store in memory that is slow, fails, does by half what it was told, and loses what it had, as the seed has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use service::clock::SharedClock;

use crate::pause::give_way;

/// The store. All its clones are one.
#[derive(Clone)]
pub(crate) struct SimObjects(Arc<Mutex<Inner>>);

struct Inner {
    rng: StdRng,
    clock: SharedClock,
    /// Content, and since when it is there.
    objects: BTreeMap<String, (Bytes, i64)>,
    has_faults: bool,
}

/// What becomes of an object that was written to its end.
enum Fate {
    There,
    /// It is there, and the answer says that it is not.
    Unknown,
    Lost,
    /// It is there by half, and the answer says that all is well.
    Half,
}

fn failed() -> Error {
    Error::Generic { store: "simulation", source: "by the seed".into() }
}

impl Inner {
    fn fate(&mut self) -> Fate {
        if !self.has_faults {
            return Fate::There;
        }
        match self.rng.random_range(0..16) {
            0 => Fate::Unknown,
            1 => Fate::Lost,
            2 => Fate::Half,
            _ => Fate::There,
        }
    }

    fn put(&mut self, name: &str, mut content: Vec<u8>) -> Result<()> {
        let fate = self.fate();
        if matches!(fate, Fate::Half) {
            content.truncate(content.len() / 2);
        }
        let now = self.clock.now_micros();
        match fate {
            Fate::There | Fate::Half => {
                self.objects.insert(name.to_owned(), (content.into(), now));
                Ok(())
            }
            Fate::Unknown => {
                self.objects.insert(name.to_owned(), (content.into(), now));
                Err(failed())
            }
            Fate::Lost => Err(failed()),
        }
    }

    fn meta(&self, name: &str) -> Result<(ObjectMeta, Bytes)> {
        let Some((content, since)) = self.objects.get(name) else {
            return Err(Error::NotFound { path: name.to_owned(), source: "nothing of that name".into() });
        };
        let mut meta = ObjectMeta {
            location: Path::from(name),
            // Since 1970, as everything here.
            last_modified: Default::default(),
            size: content.len() as u64,
            e_tag: None,
            version: None,
        };
        meta.last_modified += std::time::Duration::from_micros(since.unsigned_abs());
        Ok((meta, content.clone()))
    }

    fn fails(&mut self) -> bool {
        self.has_faults && self.rng.random_ratio(1, 40)
    }
}

impl SimObjects {
    pub(crate) fn new(seed: u64, clock: SharedClock) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(Inner { rng, clock, objects: BTreeMap::new(), has_faults: true })))
    }

    pub(crate) fn settle(&self) {
        self.0.lock().has_faults = false;
    }

    /// An object loses its end, but none that others cannot stand in for: there is a newer or an older snapshot.
    pub(crate) fn rot(&self) {
        let mut inner = self.0.lock();
        let Inner { rng, objects, .. } = &mut *inner;
        let snapshots = objects.iter_mut().filter(|(name, _)| name.starts_with("snapshots/"));
        let mut snapshots: Vec<_> = snapshots.collect();
        // The oldest is what the log is kept for.
        let newer = snapshots.iter_mut().skip(1);
        if let Some((_, (content, _))) = newer.choose(rng) {
            content.truncate(content.len() * 2 / 3);
        }
    }

    async fn pause(&self) -> Result<()> {
        let (times, fails) = {
            let mut inner = self.0.lock();
            (if inner.has_faults { inner.rng.random_range(1..4) } else { 1 }, inner.fails())
        };
        give_way(times).await;
        if fails { Err(failed()) } else { Ok(()) }
    }
}

impl fmt::Debug for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects in memory")
    }
}

impl fmt::Display for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects in memory")
    }
}

/// Pieces of an object that is not there yet.
#[derive(Debug)]
struct Upload {
    store: SimObjects,
    name: String,
    content: Arc<Mutex<Vec<u8>>>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, content) = (self.store.clone(), Arc::clone(&self.content));
        async move {
            store.pause().await?;
            content.lock().extend_from_slice(&Bytes::from(data));
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.pause().await?;
        let content = std::mem::take(&mut *self.content.lock());
        let done = self.store.0.lock().put(&self.name, content);
        // Whoever is stopped here has not heard of it.
        self.store.pause().await?;
        done.map(|()| PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.pause().await
    }
}

#[async_trait]
impl ObjectStore for SimObjects {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(Error::NotImplemented { operation: "put".into(), implementer: self.to_string() })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.pause().await?;
        let (store, name) = (self.clone(), location.to_string());
        Ok(Box::new(Upload { store, name, content: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, _: GetOptions) -> Result<GetResult> {
        self.pause().await?;
        let (meta, content) = self.0.lock().meta(location.as_ref())?;
        let range = 0..meta.size;
        // In two pieces, so that there is a moment between them.
        let (store, rest) = (self.clone(), content.slice(content.len() / 2..));
        let first = stream::once(async move { Ok(content.slice(..content.len() / 2)) });
        let second = stream::once(async move { store.pause().await.map(|()| rest) });
        Ok(GetResult {
            payload: GetResultPayload::Stream(first.chain(second).boxed()),
            meta,
            range,
            attributes: Attributes::new(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.pause().await?;
                store.0.lock().objects.remove(location.as_ref());
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let store = self.clone();
        let listed = async move {
            if let Err(error) = store.pause().await {
                return vec![Err(error)];
            }
            let inner = store.0.lock();
            let names = inner.objects.keys().filter(|name| name.starts_with(&folder));
            names.map(|name| inner.meta(name).map(|(meta, _)| meta)).collect()
        };
        stream::once(listed).flat_map(stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented { operation: "list".into(), implementer: self.to_string() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy".into(), implementer: self.to_string() })
    }
}
