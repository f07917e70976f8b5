use super::*;

#[test]
fn only_names_of_repositories_that_can_be_mounted_are_taken() {
    let long = "a".repeat(256);
    let unmountable = "a".repeat(250);
    let texts = [
        "team/app",
        "../etc",
        "Team/App",
        "",
        &long,
        &unmountable,
        "base/os",
    ];
    let mut texts: Vec<_> = texts.iter().map(|it| it.as_bytes().to_vec()).collect();
    texts.push(vec![0xff, 0xfe]);
    texts.push(vec![b'a'; 1_000_000]);
    let names = parse_names(&texts, MOST_HOLDERS);
    let names: Vec<_> = names.iter().map(RepositoryName::as_str).collect();
    assert_eq!(names, ["team/app", "base/os"]);
}

#[test]
fn no_more_names_are_taken_than_were_asked_for() {
    let texts: Vec<_> = (0..1000).map(|n| format!("r{n}").into_bytes()).collect();
    assert_eq!(parse_names(&texts, MOST_HOLDERS).len(), 256);
}

#[tokio::test]
async fn without_a_server_nothing_is_known_and_no_request_waits() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port();
    let url = format!("redis://127.0.0.1:{port}");
    let settings = RedisConfig {
        url: crate::config::RedisUrl::parse(&url).unwrap(),
        prefix: "x:".to_owned(),
        ca_certificate: None,
        timeout: Duration::from_secs(1),
        fingerprint_key: None,
    };
    let metrics = Arc::new(Metrics::new(None).unwrap());
    let index = SharedIndex::start(&settings, metrics.clone())
        .await
        .unwrap();
    let blob = BlobRef {
        repository: RepositoryName::parse("a").unwrap(),
        digest: Digest::parse(&format!("sha256:{:064x}", 1)).unwrap(),
    };
    let begin = std::time::Instant::now();
    for _ in 0..1000 {
        let shared = index.fetch(&blob, None).await;
        assert!(shared.holders.is_empty() && !shared.is_deleted);
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    let line = "crossmount_redis_requests_total{result=\"skipped\"} 1000";
    assert!(text.contains(line), "{text}");
}
