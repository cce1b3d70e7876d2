//! Objects in a directory, and in a bucket as far as this crate uses one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use parking_lot::Mutex;
use service::config::Secret;

use super::*;

/// Objects by key, and parts of those that are not there yet by their upload.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<(String, u32), Vec<u8>>,
    refuses: bool,
}

type Shared = Arc<Mutex<Bucket>>;

async fn answer(State(bucket): State<Shared>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let signed = head.headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
    let mut bucket = bucket.lock();
    if bucket.refuses || !signed.unwrap_or_default().starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/") {
        return text(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
    }
    let key = head.uri.path().strip_prefix("/bucket").unwrap().trim_start_matches('/').to_owned();
    let url = Url::parse(&format!("http://x{}", head.uri)).unwrap();
    let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let upload = asked.get("uploadId").cloned();
    match (head.method, upload) {
        (Method::POST, None) if asked.contains_key("uploads") => text(
            StatusCode::OK,
            &format!(
                "<InitiateMultipartUploadResult><UploadId>{}</UploadId></InitiateMultipartUploadResult>",
                key.len()
            ),
        ),
        (Method::PUT, Some(upload)) => {
            let number = asked["partNumber"].parse().unwrap();
            bucket.parts.insert((upload, number), body.to_vec());
            text(StatusCode::OK, "")
        }
        (Method::POST, Some(upload)) => {
            let parts = std::mem::take(&mut bucket.parts);
            let (whole, others) = parts.into_iter().partition(|((of, _), _)| *of == upload);
            bucket.parts = others;
            let whole: BTreeMap<(String, u32), Vec<u8>> = whole;
            bucket.objects.insert(key, whole.into_values().flatten().collect());
            text(
                StatusCode::OK,
                "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>",
            )
        }
        (Method::POST, None) => {
            let asked = String::from_utf8(body.to_vec()).unwrap();
            let named = asked.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
            let gone = named.map(|key| {
                bucket.objects.remove(key);
                format!("<Deleted><Key>{key}</Key></Deleted>")
            });
            let gone: String = gone.collect();
            text(StatusCode::OK, &format!("<DeleteResult>{gone}</DeleteResult>"))
        }
        (Method::GET, None) if key.is_empty() => {
            let of = |(key, object): (&String, &Vec<u8>)| {
                let size = object.len();
                let at = "2026-11-10T00:00:00.000Z";
                format!(
                    "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{at}</LastModified><ETag>x</ETag></Contents>"
                )
            };
            let listed = bucket.objects.iter().filter(|(key, _)| key.starts_with(&asked["prefix"]));
            let listed: String = listed.map(of).collect();
            text(StatusCode::OK, &format!("<ListBucketResult>{listed}</ListBucketResult>"))
        }
        (Method::GET, None) => match bucket.objects.get(&key) {
            Some(object) => Response::builder()
                .header(header::ETAG, "x")
                .header(header::LAST_MODIFIED, "Tue, 10 Nov 2026 00:00:00 GMT")
                .body(Body::from(object.clone()))
                .unwrap(),
            None => text(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>"),
        },
        (method, _) => panic!("{method} {url}"),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let answer = Response::builder().status(status).header(header::ETAG, "x");
    answer.body(Body::from(text.to_owned())).unwrap()
}

async fn bucket() -> (Shared, Objects) {
    let shared = Shared::default();
    let router = Router::new().fallback(answer).with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    service::lifecycle::Tasks::new(service::lifecycle::Shutdown::new())
        .spawn_errand("bucket", async { axum::serve(listener, router).await });
    let options = [
        ("aws_endpoint", &*endpoint),
        ("aws_allow_http", "true"),
        ("aws_region", "eu-west-1"),
        ("aws_access_key_id", "AKIATEST"),
        ("aws_secret_access_key", "hunter2"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let settings = ObjectStoreSettings { url: "s3://bucket/a/b".into(), options: options.into() };
    (shared, Objects::open(&settings).unwrap().unwrap())
}

#[tokio::test]
async fn a_bucket_keeps_objects_below_its_prefix() {
    let (bucket, objects) = bucket().await;
    let large: Vec<u8> = (0..20_u32 << 20).map(|n| (n % 251) as u8).collect();
    for (name, content) in [("x/1", &large), ("x/2", &Vec::new()), ("y/1", &vec![1])] {
        let mut upload = objects.upload(name).await.unwrap();
        upload.write(content).await.unwrap();
        assert!(!bucket.lock().objects.contains_key(&format!("a/b/{name}")));
        upload.finish().await.unwrap();
    }
    let listed = objects.list("x").await.unwrap();
    assert_eq!(
        listed.iter().map(|it| (&*it.name, it.bytes)).collect::<Vec<_>>(),
        [("x/1", 20 << 20), ("x/2", 0)]
    );
    let mut read = Vec::new();
    let take = |piece: Bytes| {
        read.extend_from_slice(&piece);
        Ok::<(), ObjectsError>(())
    };
    objects.read("x/1", take).await.unwrap();
    assert!(read == large, "{} bytes", read.len());
    objects.delete("x/1").await.unwrap();
    let keys: Vec<String> = bucket.lock().objects.keys().cloned().collect();
    assert_eq!(keys, ["a/b/x/2", "a/b/y/1"]);

    bucket.lock().refuses = true;
    let error = objects.list("x").await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("AccessDenied"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

fn settings(url: &str, options: &[(&str, &str)]) -> ObjectStoreSettings {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    ObjectStoreSettings { url: url.to_owned(), options }
}

#[tokio::test]
async fn an_object_is_there_when_it_is_finished_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("a/b");
    for url in [place.display().to_string(), format!("file://{}", place.display())] {
        let objects = Objects::open(&settings(&url, &[])).unwrap().unwrap();
        let mut upload = objects.upload("x/1").await.unwrap();
        let large = vec![7; 20 << 20];
        upload.write(&large).await.unwrap();
        assert_eq!(objects.list("x").await.unwrap(), []);
        assert_eq!(upload.finish().await.unwrap(), large.len() as u64);
        drop(objects.upload("x/2").await.unwrap());
        let listed = objects.list("x").await.unwrap();
        assert_eq!(listed.iter().map(|it| (&*it.name, it.bytes)).collect::<Vec<_>>(), [("x/1", 20 << 20)]);
        let mut read = Vec::new();
        let take = |piece: Bytes| {
            read.extend_from_slice(&piece);
            Ok::<(), ObjectsError>(())
        };
        assert_eq!(objects.read("x/1", take).await.unwrap(), 20 << 20);
        assert_eq!(read, large);
        for _ in 0..2 {
            objects.delete("x/1").await.unwrap();
        }
        assert_eq!(objects.list("x").await.unwrap(), []);
    }
}

#[test]
fn a_place_that_cannot_be_is_refused_by_its_setting() {
    assert!(Objects::open(&settings("", &[])).unwrap().is_none());
    let region = ("aws_region", "eu-west-1");
    assert!(Objects::open(&settings("s3://bucket/a/b", &[region])).unwrap().is_some());
    for (url, options, said) in [
        ("ftp://x/y", vec![], "object_store.url: ftp:// is not known"),
        ("s3://bucket", vec![("aws_regoin", "x")], "object_store.options.aws_regoin: "),
        ("/dev/null/x", vec![], "object_store.url: /dev/null/x cannot be made"),
    ] {
        let error = Objects::open(&settings(url, &options)).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}
