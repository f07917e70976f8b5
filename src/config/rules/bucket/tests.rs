use super::*;
use crate::config::shape::FileShape;

fn tree(text: &str) -> Tree {
    let shape: FileShape = serde_yaml::from_str(text).unwrap();
    Tree::of(shape).unwrap()
}

fn load(text: &str) -> (BucketConfig, Vec<String>) {
    let mut warnings = Vec::new();
    let bucket = read(&tree(text), &mut warnings);
    let bucket = bucket.unwrap_or_else(|error| panic!("{error}\n{text}"));
    (bucket.unwrap(), warnings)
}

fn s3(settings: &str) -> S3Config {
    match load(&format!("store: {{s3: {{bucket: b, {settings}}}}}")).0 {
        BucketConfig::S3(s3) => s3,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_of_the_registry_is_taken_as_it_is() {
    let block = "
store:
  s3:
    accesskey: AKIA0
    secretkey: 0x10
    region: us-west-1
    regionendpoint: http://myobjects.local
    forcepathstyle: 'true'
    accelerate: false
    bucket: bucketname
    encrypt: true
    keyid: mykeyid
    secure: true
    v4auth: yes
    chunksize: 5242880
    multipartcopychunksize: 33554432
    multipartcopymaxconcurrency: 100
    multipartcopythresholdsize: 33554432
    rootdirectory: /s3/object/name/prefix
    usedualstack: false
    loglevel: debug
    objectacl: private
    storageclass: STANDARD
    skipverify: False
";
    let (bucket, warnings) = load(block);
    assert_eq!(
        warnings,
        [
            "store.s3: crossmount only lists the bucket, so these settings are ignored: encrypt, \
          keyid, chunksize, multipartcopychunksize, multipartcopymaxconcurrency, \
          multipartcopythresholdsize, storageclass, objectacl, accelerate, loglevel"
        ]
    );
    assert_eq!(bucket.root(), "s3/object/name/prefix/");
    assert_eq!(bucket.name(), "bucketname");
    let BucketConfig::S3(s3) = bucket else {
        panic!("{bucket:?}")
    };
    assert!(s3.forcepathstyle && s3.secure && !s3.skipverify);
    assert_eq!(s3.server(), "http://myobjects.local");
    assert_eq!(s3.secretkey.unwrap().expose(), "0x10");
}

#[test]
fn an_endpoint_has_a_scheme_and_a_style_as_the_registry_makes_them() {
    for (settings, server, is_path) in [
        (
            "region: eu-west-1",
            "https://s3.eu-west-1.amazonaws.com",
            false,
        ),
        (
            "region: eu-west-1, secure: false",
            "http://s3.eu-west-1.amazonaws.com",
            false,
        ),
        (
            "region: cn-north-1",
            "https://s3.cn-north-1.amazonaws.com.cn",
            false,
        ),
        (
            "region: us-east-1, usedualstack: true, usefipsendpoint: 't'",
            "https://s3-fips.dualstack.us-east-1.amazonaws.com",
            false,
        ),
        ("regionendpoint: 'minio:9000'", "https://minio:9000", true),
        (
            "regionendpoint: 'minio:9000', secure: 'no'",
            "http://minio:9000",
            true,
        ),
        (
            "regionendpoint: 'http://minio:9000/'",
            "http://minio:9000",
            true,
        ),
        (
            "regionendpoint: minio, forcepathstyle: false",
            "https://minio",
            false,
        ),
    ] {
        let s3 = s3(settings);
        assert_eq!(
            (&*s3.server(), s3.forcepathstyle),
            (server, is_path),
            "{settings}"
        );
    }
    let three = "upstream: {version: 3}\nstore: {s3: {bucket: b, regionendpoint: 'http://m'}}";
    let BucketConfig::S3(three) = load(three).0 else {
        panic!()
    };
    assert!(!three.forcepathstyle);
}

#[test]
fn the_root_directory_is_what_the_registry_makes_of_it() {
    for (given, root) in [
        ("''", ""),
        ("/", ""),
        ("a/b/", "a/b/"),
        ("/a/b", "a/b/"),
        ("//a//", "a/"),
    ] {
        let settings = format!("region: r, rootdirectory: {given}");
        assert_eq!(BucketConfig::S3(s3(&settings)).root(), root, "{given}");
        let gcs = format!("store: {{gcs: {{bucket: b, rootdirectory: {given}}}}}");
        assert_eq!(load(&gcs).0.root(), root, "{given}");
    }
    let azure = |more: &str| {
        let text =
            format!("{more}\nstore: {{azure: {{accountname: a, accountkey: a2V5, container: c}}}}");
        load(&text).0.root()
    };
    assert_eq!(azure("upstream: {version: 3}"), "");
    // distribution 2 writes keys with a slash before them.
    assert_eq!(azure(""), "/");
}

#[test]
fn azure_and_google_have_the_registrys_own_settings() {
    let (azure, warnings) = load(
        "store: {azure: {accountname: a, container: c, realm: core.chinacloudapi.cn, \
         rootdirectory: r, max_retries: 3, credentials: {type: default_credentials}}}",
    );
    assert_eq!(azure.root(), "r/");
    assert!(
        warnings[0].ends_with("ignored: max_retries"),
        "{warnings:?}"
    );
    let BucketConfig::Azure(azure) = azure else {
        panic!("{azure:?}")
    };
    assert_eq!(azure.server(), "https://a.blob.core.chinacloudapi.cn");
    let (gcs, _) =
        load("store: {gcs: {bucket: b, credentials: {type: service_account, private_key: x}}}");
    let BucketConfig::Gcs(gcs) = gcs else {
        panic!("{gcs:?}")
    };
    assert_eq!(gcs.credentials["private_key"].expose(), "x");
}

#[test]
fn what_is_shown_is_the_same_bucket_without_its_secrets() {
    for text in [
        "store: {s3: {bucket: b, region: r, accesskey: hunter1, secretkey: hunter2, secure: 'no'}}",
        "store: {s3: {bucket: b, regionendpoint: 'http://m', rootdirectory: /x/}}",
        "store: {azure: {accountname: a, accountkey: hunter3, container: c}}",
        "store: {azure: {accountname: a, container: c, serviceurl: 'http://m/a', credentials: \
         {type: client_secret, clientid: i, tenantid: t, secret: hunter4}}}",
        "store: {gcs: {bucket: b, credentials: {private_key: hunter5}}}",
        "store: {gcs: {bucket: b, keyfile: /key.json, rootdirectory: x}}",
    ] {
        let (bucket, _) = load(text);
        let mut shown = Tree::default();
        shown.write(bucket.section(), &bucket).unwrap();
        let shown = serde_yaml::to_string(&shown.into_inner()).unwrap();
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(!format!("{bucket:?}").contains("hunter"));
        let (again, _) = load(&shown);
        assert_eq!(format!("{again:?}"), format!("{bucket:?}"), "{shown}");
    }
}

#[test]
fn what_cannot_be_right_is_named() {
    for (text, setting) in [
        ("s3: {region: r}", "store.s3.bucket"),
        ("s3: {bucket: '', region: r}", "store.s3.bucket"),
        ("s3: {bucket: b}", "store.s3.region"),
        (
            "s3: {bucket: b, region: r, v4auth: false}",
            "store.s3.v4auth",
        ),
        (
            "s3: {bucket: b, region: r, v4auth: 'False'}",
            "store.s3.v4auth",
        ),
        (
            "s3: {bucket: b, region: r, secure: maybe}",
            "store.s3.secure",
        ),
        (
            "s3: {bucket: b, region: r, accesskey: a}",
            "store.s3.secretkey",
        ),
        (
            "s3: {bucket: b, region: r, secretkey: a}",
            "store.s3.accesskey",
        ),
        (
            "s3: {bucket: b, regionendpoint: 'ftp://x'}",
            "store.s3.regionendpoint",
        ),
        (
            "s3: {bucket: b, regionendpoint: 'http://u:p@x'}",
            "store.s3.regionendpoint",
        ),
        (
            "s3: {bucket: b, region: r, rootdirectory: a//b}",
            "store.s3.rootdirectory",
        ),
        (
            "s3: {bucket: b, region: r, rootdirectory: a/../b}",
            "store.s3.rootdirectory",
        ),
        (
            "gcs: {bucket: b, rootdirectory: docker/registry/v2/}",
            "store.gcs.rootdirectory",
        ),
        ("gcs: {keyfile: /k}", "store.gcs.bucket"),
        ("azure: {container: c}", "store.azure.accountname"),
        ("azure: {accountname: a}", "store.azure.container"),
        (
            "azure: {accountname: a, container: c}",
            "store.azure.accountkey",
        ),
        (
            "azure: {accountname: a, container: c, credentials: {type: default}}",
            "store.azure.credentials.type",
        ),
        (
            "azure: {accountname: a, container: c, credentials: {type: client_secret, clientid: x, tenantid: y}}",
            "store.azure.credentials.secret",
        ),
        (
            "filesystem: {rootdirectory: /x}, s3: {bucket: b, region: r}",
            "store.s3",
        ),
        ("s3: {bucket: b, region: r}, gcs: {bucket: b}", "store.gcs"),
    ] {
        let text = format!("store: {{{text}}}");
        let error = read(&tree(&text), &mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{setting}: ")),
            "{text}: {error}"
        );
        assert!(!error.contains("u:p"), "{error}");
    }
}
