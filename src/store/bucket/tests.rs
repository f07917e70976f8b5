//! Look-ups and listings against a server that answers as a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::config::BucketConfig;
use crate::oci::{Digest, RepositoryName};

/// A server of objects; each request's query is kept.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What the server does about a request.
enum Reply {
    /// The keys that begin with the prefix of the request, with their sizes.
    Keys(Vec<(String, u64)>),
    Error(u16, &'static str),
    Silence,
}

impl Server {
    fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, reply) = (asked.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, reply) = (kept.clone(), reply.clone());
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    while let Some(first) = lines.next() {
                        // The rest of the head.
                        lines.by_ref().find(String::is_empty);
                        let number = {
                            let mut kept = kept.lock().unwrap();
                            kept.push(first.clone());
                            kept.len() - 1
                        };
                        let text = answer(&first, reply(number));
                        if (&stream).write_all(text.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, asked }
    }

    fn bucket(&self, root: &str) -> Bucket {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let settings = [
            ("bucket", "b"),
            ("regionendpoint", &endpoint),
            ("rootdirectory", root),
            ("accesskey", "a"),
            ("secretkey", "s"),
        ];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        let config = BucketConfig::of_registry("s3", settings.into_iter().collect(), None);
        // The process has one, too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let metrics = Arc::new(Metrics::new(None).unwrap());
        Bucket::open(&config.unwrap(), metrics).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(request: &str, reply: Reply) -> String {
    let (status, body) = match reply {
        Reply::Keys(keys) => {
            let query = request
                .split(' ')
                .nth(1)
                .unwrap()
                .split_once('?')
                .unwrap()
                .1;
            let prefix = query.split('&').find_map(|it| it.strip_prefix("prefix="));
            let prefix = prefix.unwrap().replace("%2F", "/");
            let found = keys.iter().filter(|(key, _)| key.starts_with(&prefix));
            let contents = found.map(|(key, size)| {
                format!(
                    "<Contents><Key>{key}</Key><Size>{size}</Size>\
                     <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                )
            });
            let contents: String = contents.collect();
            (
                200,
                format!("<ListBucketResult>{contents}</ListBucketResult>"),
            )
        }
        Reply::Error(status, code) => (status, format!("<Error><Code>{code}</Code></Error>")),
        Reply::Silence => {
            std::thread::sleep(Duration::from_secs(5));
            (200, String::new())
        }
    };
    format!(
        "HTTP/1.1 {status} x\r\nRetry-After: 7\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn names() -> (RepositoryName, Digest) {
    let digest = Digest::parse(&format!("sha256:{}", "ab".repeat(32)));
    (
        RepositoryName::parse("team/image").unwrap(),
        digest.unwrap(),
    )
}

fn keys(root: &str, link: Option<u64>, data: Option<u64>) -> Vec<(String, u64)> {
    let hex = "ab".repeat(32);
    let base = format!("{root}docker/registry/v2");
    let link = link.map(|size| {
        (
            format!("{base}/repositories/team/image/_layers/sha256/{hex}/link"),
            size,
        )
    });
    let data = data.map(|size| (format!("{base}/blobs/sha256/ab/{hex}/data"), size));
    // Neighbours that only begin alike.
    let beside = [
        (
            format!("{base}/repositories/team/image/_layers/sha256/{hex}/link.tmp"),
            71,
        ),
        (format!("{base}/blobs/sha256/ab/{hex}/data2"), 9),
    ];
    link.into_iter().chain(data).chain(beside).collect()
}

async fn look_up(server: &Server, root: &str) -> Result<BucketLookup, BucketError> {
    let (name, digest) = names();
    let deadline = Instant::now() + Duration::from_secs(1);
    server.bucket(root).look_up(&name, &digest, deadline).await
}

#[tokio::test]
async fn a_look_up_takes_two_lists_whatever_it_finds() {
    for (link, data, found) in [
        (Some(71), Some(5), BucketLookup::Here { size: 5 }),
        (Some(71), None, BucketLookup::BlobMissing),
        (Some(71), Some(0), BucketLookup::BlobMissing),
        (None, Some(5), BucketLookup::SourceMissing),
        (Some(0), Some(5), BucketLookup::SourceMissing),
        (None, None, BucketLookup::SourceMissing),
    ] {
        for root in ["", "a/b/"] {
            let server = Server::start(move |_| Reply::Keys(keys(root, link, data)));
            assert_eq!(
                look_up(&server, root).await,
                Ok(found),
                "{link:?} {data:?} {root}"
            );
            let asked = server.asked();
            assert_eq!(asked.len(), 2, "{asked:?}");
            for request in asked {
                assert!(request.starts_with("GET /b?list-type=2&"), "{request}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_look_up_says_why_and_is_not_repeated() {
    let denied = BucketError::Denied {
        status: 403,
        code: "AccessDenied".to_owned(),
    };
    let throttled = BucketError::Throttled {
        code: "SlowDown".to_owned(),
        retry_after: Some(Duration::from_secs(7)),
    };
    let failed = BucketError::Status {
        status: 500,
        code: "InternalError".to_owned(),
    };
    let gone = BucketError::NoBucket("NoSuchBucket".to_owned());
    for (status, code, error) in [
        (403, "AccessDenied", denied),
        (503, "SlowDown", throttled),
        (500, "InternalError", failed),
        (404, "NoSuchBucket", gone),
    ] {
        let server = Server::start(move |_| Reply::Error(status, code));
        assert_eq!(look_up(&server, "").await, Err(error));
        assert_eq!(server.asked().len(), 2);
    }
    let began = std::time::Instant::now();
    let server = Server::start(|_| Reply::Silence);
    assert_eq!(look_up(&server, "").await, Err(BucketError::Timeout));
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn calls_are_counted_by_their_result() {
    let server = Server::start(|number| match number {
        0 => Reply::Keys(Vec::new()),
        1 => Reply::Error(403, "AccessDenied"),
        _ => Reply::Error(503, "SlowDown"),
    });
    let bucket = server.bucket("");
    for _ in 0..3 {
        let _ = bucket
            .has_registry(Instant::now() + Duration::from_secs(1))
            .await;
    }
    let text = String::from_utf8(bucket.metrics.render().unwrap()).unwrap();
    for (result, count) in [("ok", 1), ("denied", 1), ("throttled", 1), ("timeout", 0)] {
        let line = format!("crossmount_bucket_requests_total{{result=\"{result}\"}} {count}");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_key_that_no_registry_writes_does_not_end_a_listing() {
    let odd = "docker/registry/v2/repositories/a//b".to_owned();
    let server = Server::start(move |number| match number {
        0 => Reply::Keys(vec![(odd.clone(), 1)]),
        _ => Reply::Keys(keys("", Some(71), None)),
    });
    let bucket = server.bucket("");
    let mut listing = Listing::of_repositories();
    let error = listing.next_page(&bucket).await.unwrap_err();
    assert_eq!(error, BucketError::Key("repositories/a//b".to_owned()));
    assert_eq!(listing.next_page(&bucket).await.unwrap().unwrap().len(), 2);
    assert!(
        server.asked()[1].contains("start-after=docker%2Fregistry%2Fv2%2Frepositories%2Fa%2F%2Fb")
    );
    assert!(listing.next_page(&bucket).await.unwrap().is_none());
    assert_eq!(listing.calls(), 2);
}
