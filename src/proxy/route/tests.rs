use http::Request;
use proptest::prelude::*;

use super::*;

const D: &str = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

fn post(target: &str, headers: &[(&str, &str)]) -> Route {
    request(Method::POST, target, headers)
}

fn request(method: Method, target: &str, headers: &[(&str, &str)]) -> Route {
    let mut builder = Request::builder().method(method).header("Host", "registry");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (head, ()) = builder.body(()).unwrap().into_parts();
    classify("/", target.as_bytes(), &head)
}

fn mount(target: &str, source: &str) -> Route {
    Route::Mount(MountRequest {
        target: BlobRef {
            repository: RepositoryName::parse(target).unwrap(),
            digest: Digest::parse(D).unwrap(),
        },
        source: RepositoryName::parse(source).unwrap(),
    })
}

#[test]
fn mounts_as_clients_write_them_are_mounts() {
    let encoded = D.replace(':', "%3A");
    for query in [
        format!("mount={D}&from=team/src"),
        format!("from=team%2Fsrc&mount={encoded}"),
        format!("from=team%2Fsrc&mount={encoded}&origin=host%3A5000"),
        format!("mount={D}&from=team/src&ns=docker.io"),
        format!("%6dount={D}&%66rom=team/src"),
        format!("&mount={D}&&from=team/src&"),
    ] {
        let route = post(&format!("/v2/dst/blobs/uploads/?{query}"), &[]);
        assert_eq!(route, mount("dst", "team/src"), "{query}");
    }
}

#[test]
fn headers_of_a_request_without_a_body_do_no_harm() {
    let target = format!("/v2/dst/blobs/uploads/?mount={D}&from=src");
    for headers in [
        &[("Content-Length", "0")][..],
        &[("Content-Type", "application/json")],
        &[
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", "0"),
        ],
        &[("Authorization", "Basic x")],
        &[("Connection", "Keep-Alive")],
    ] {
        assert_eq!(post(&target, headers), mount("dst", "src"), "{headers:?}");
    }
}

#[test]
fn names_that_look_like_routes_are_names() {
    for name in [
        "a/b/c",
        "manifests",
        "blobs/uploads",
        "tags/list",
        "v2",
        "v2/v2",
    ] {
        let route = post(
            &format!("/v2/{name}/blobs/uploads/?mount={D}&from={name}"),
            &[],
        );
        assert_eq!(route, mount(name, name));
    }
}

#[test]
fn ambiguous_heads_are_forwarded() {
    let target = format!("/v2/dst/blobs/uploads/?mount={D}&from=src");
    for headers in [
        &[("Content-Length", "5")][..],
        &[("Content-Length", "00")],
        &[("Content-Length", "0"), ("Content-Length", "0")],
        &[("Transfer-Encoding", "chunked")],
        &[("Expect", "100-continue")],
        &[("Host", "second")],
        &[("Connection", "close, Authorization")],
        &[("Authorization", "Basic x"), ("Authorization", "Basic y")],
    ] {
        assert_eq!(
            post(&target, headers),
            Route::AmbiguousMount(Ambiguity::Form),
            "{headers:?}"
        );
    }
    let (mut head, ()) = Request::post("/")
        .header("Host", "h")
        .body(())
        .unwrap()
        .into_parts();
    head.version = Version::HTTP_10;
    assert_eq!(
        classify("/", target.as_bytes(), &head),
        mount("dst", "src"),
        "a proxy in between may speak HTTP/1.0"
    );
    head.version = Version::HTTP_09;
    assert_eq!(
        classify("/", target.as_bytes(), &head),
        Route::AmbiguousMount(Ambiguity::Form)
    );
}

#[test]
fn ambiguous_queries_are_forwarded() {
    let upper = D.to_uppercase();
    let sha512 = format!("sha512:{}", "ab".repeat(64));
    for query in [
        format!("mount={D}&from=src&from=src"),
        format!("mount={D}&mount={D}&from=src"),
        format!("mount={sha512}&from=src"),
        format!("mount={upper}&from=src"),
        format!("mount=SHA256:{}&from=src", &D[7..]),
        format!("mount={D}&from=SRC"),
        format!("mount={D}&from=../src"),
        format!("mount={D}&from=src%00"),
        format!("mount={D}&from=src+"),
        format!("mount={D}&from=%2Fsrc"),
        format!("mount={D}&from="),
        "mount=&from=src".to_owned(),
        "mount&from=src".to_owned(),
        format!("mount={D};from=src"),
        format!("mount={D}&from=src;x"),
        format!("mount={D}&from=src&x=%zz"),
        format!("mount={D}%&from=src"),
        format!("mount={D}&from=src#x"),
        format!("mount=../../{}&from=src", &D[6..]),
        format!("mount={D}%0a&from=src"),
        "%6dount=%ff&from=src".to_owned(),
    ] {
        let route = post(&format!("/v2/dst/blobs/uploads/?{query}"), &[]);
        assert_eq!(route, Route::AmbiguousMount(Ambiguity::Words), "{query}");
    }
}

#[test]
fn a_digest_beside_the_mount_may_be_an_upload() {
    for query in [
        format!("mount={D}&from=src&digest={D}"),
        format!("mount={D}&from=src&dig%65st="),
        format!("mount={D}&from=src&digest=%zz"),
    ] {
        let route = post(&format!("/v2/dst/blobs/uploads/?{query}"), &[]);
        assert_eq!(route, Route::AmbiguousMount(Ambiguity::Form), "{query}");
    }
}

#[test]
fn ambiguous_paths_are_forwarded() {
    for path in [
        "/v2/DST/blobs/uploads/",
        "/v2/../blobs/uploads/",
        "/v2/a/../b/blobs/uploads/",
        "/v2/a%2Fb/blobs/uploads/",
        "/v2//blobs/uploads/",
        "//v2/a/blobs/uploads/",
        "/v2/a//blobs/uploads/",
        "/v2/_layers/blobs/uploads/",
        "/v3/a/blobs/uploads/",
        "http://host/v2/a/blobs/uploads/",
        "v2/a/blobs/uploads/",
        "/v2/blobs/uploads/",
        "/v2/a\\b/blobs/uploads/",
        "/v2/a%00/blobs/uploads/",
    ] {
        let route = post(&format!("{path}?mount={D}&from=src"), &[]);
        assert_eq!(route, Route::AmbiguousMount(Ambiguity::Form), "{path}");
    }
    for path in [
        "/v2/a/blobs/uploads",
        "/v2/a/blobs/uploads/x",
        "/v2/a/blobs/uploads%2F",
    ] {
        let route = post(&format!("{path}?mount={D}&from=src"), &[]);
        assert_eq!(route, Route::Other, "{path}");
    }
}

#[test]
fn a_mount_without_from_names_no_source() {
    let route = post(&format!("/v2/dst/blobs/uploads/?mount={D}"), &[]);
    let expected = Route::SourcelessMount(BlobRef {
        repository: RepositoryName::parse("dst").unwrap(),
        digest: Digest::parse(D).unwrap(),
    });
    assert_eq!(route, expected);
}

#[test]
fn a_name_that_the_registrys_cache_refuses_is_ambiguous_without_from_too() {
    let name = "a".repeat(246);
    let route = post(&format!("/v2/{name}/blobs/uploads/?mount={D}"), &[]);
    assert_eq!(route, Route::AmbiguousMount(Ambiguity::Words));
}

#[test]
fn uploads_begin_with_post_and_end_with_put() {
    let upload = Route::Upload(RepositoryName::parse("a/b").unwrap());
    assert_eq!(post("/v2/a/b/blobs/uploads/", &[]), upload);
    assert_eq!(
        post(&format!("/v2/a/b/blobs/uploads/?digest={D}"), &[]),
        upload
    );
    let put = |target: &str| request(Method::PUT, target, &[]);
    assert_eq!(
        put("/v2/a/b/blobs/uploads/some-id?_state=x&digest=y"),
        upload
    );
    assert_eq!(put("/v2/a/b/manifests/latest"), Route::Other);
    assert_eq!(put("/v2/a/b/blobs/uploads"), Route::Other);
}

#[test]
fn other_methods_never_mount() {
    let target = format!("/v2/dst/blobs/uploads/?mount={D}&from=src");
    for method in [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE] {
        assert_eq!(request(method, &target, &[]), Route::Other);
    }
}

#[test]
fn a_layer_is_asked_for_by_its_digest() {
    let blob = BlobRef {
        repository: RepositoryName::parse("a/blobs").unwrap(),
        digest: Digest::parse(D).unwrap(),
    };
    for (method, blob) in [
        (Method::GET, Route::Blob(blob.clone())),
        (Method::HEAD, Route::Blob(blob)),
    ] {
        let found = |target: &str| request(method.clone(), target, &[]);
        assert_eq!(found(&format!("/v2/a/blobs/blobs/{D}")), blob);
        assert_eq!(found(&format!("/v2/a/blobs/blobs/{D}?x=y")), blob);
        for target in [
            format!("/v2/blobs/{D}"),
            format!("/v2/a/blobs/{}", D.to_uppercase()),
            format!("/v2/a/blobs/uploads/{D}"),
            format!("/v2/a/manifests/{D}"),
            format!("/v2/A/blobs/{D}"),
            format!("/v2/a/../b/blobs/{D}"),
            format!("/v2/a/blobs/{D}/"),
            "/v2/a/blobs/sha512:00".to_owned(),
        ] {
            assert_eq!(found(&target), Route::Other, "{target}");
        }
    }
    assert_eq!(post(&format!("/v2/a/blobs/{D}"), &[]), Route::Other);
}

#[test]
fn the_prefix_is_part_of_the_path() {
    let (head, ()) = Request::post("/")
        .header("Host", "h")
        .body(())
        .unwrap()
        .into_parts();
    let route = |target: String| classify("/pfx/", target.as_bytes(), &head);
    let query = format!("?mount={D}&from=src");
    assert_eq!(
        route(format!("/pfx/v2/dst/blobs/uploads/{query}")),
        mount("dst", "src")
    );
    assert_eq!(
        route(format!("/v2/dst/blobs/uploads/{query}")),
        Route::AmbiguousMount(Ambiguity::Form)
    );
    assert_eq!(
        route(format!("/pfxv2/dst/blobs/uploads/{query}")),
        Route::AmbiguousMount(Ambiguity::Form)
    );
}

proptest! {
    #[test]
    fn whatever_is_a_mount_reads_back_to_the_same_bytes(
        path in "[a-zA-Z0-9./_%-]{1,20}",
        from in "[a-zA-Z0-9./_%+-]{0,20}",
    ) {
        let target = format!("/v2/{path}/blobs/uploads/?mount={D}&from={from}");
        if let Route::Mount(found) = post(&target, &[]) {
            prop_assert_eq!(found.target.repository.as_str(), path);
            let decoded = percent_encoding::percent_decode_str(&from).decode_utf8().unwrap();
            prop_assert_eq!(found.source.as_str(), &*decoded);
        }
    }
}

#[test]
fn a_deletion_is_one_however_its_path_is_written() {
    let deletion = Route::Deletion(BlobRef {
        repository: RepositoryName::parse("a/b").unwrap(),
        digest: Digest::parse(D).unwrap(),
    });
    let encoded = D.replace(':', "%3A");
    for target in [
        format!("/v2/a/b/blobs/{encoded}"),
        format!("/v2/a%2fb/blobs/{D}"),
        format!("/%76%32/a/b/%62lobs/{D}?x=y"),
        format!("http://registry.test/v2/a/b/blobs/{encoded}"),
        format!("x:/v2/a/b/blobs/{D}"),
        format!("//v2/./c/../a//b/blobs/{D}/"),
    ] {
        let found = request(Method::DELETE, &target, &[]);
        assert_eq!(found, deletion, "{target}");
        let found = request(Method::HEAD, &target, &[]);
        assert_eq!(found, Route::Other, "{target}");
    }
    for target in [
        format!("/v2/a/b/blobs/{}", D.replace(':', "%253A")),
        format!("/v2/a/b/c/{D}"),
        "http://registry.test".to_owned(),
        "/v2/a/b/blobs/%ff".to_owned(),
    ] {
        let found = request(Method::DELETE, &target, &[]);
        assert_eq!(found, Route::Other, "{target}");
    }
}

#[test]
fn a_deletion_is_one_whatever_stands_in_its_query() {
    let target = [format!("/v2/a/b/blobs/{D}?").as_bytes(), b"\xff"].concat();
    let (head, ()) = http::Request::delete("/").body(()).unwrap().into_parts();
    let found = classify("/", &target, &head);
    assert!(matches!(found, Route::Deletion(_)), "{found:?}");
}
