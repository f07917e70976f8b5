//! The chart with a registry whose storage is an object store.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use support::helm::{Rendered, Values, chart, refuses_each};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{raw_http, wait_until};

const S3: [&str; 2] = [
    "registry.config.storage.s3.bucket=b",
    "registry.config.storage.s3.region=r",
];

fn with(settings: &[&str]) -> Rendered {
    let arguments: Vec<_> = settings.iter().flat_map(|it| ["--set", it]).collect();
    Rendered::from(&chart(), &arguments)
}

fn ours(settings: &[&str]) -> Value {
    with(settings).config("crossmount.yaml")
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn the_pod_has_no_volume_and_crossmount_no_file_but_its_configuration() {
    needs!("helm3", "helm4");
    let rendered = Values::named("object-store").render();
    assert!(!rendered.has("PersistentVolumeClaim"));
    let volumes = names(&rendered.pod()["volumes"]);
    let configurations = ["registry-config", "crossmount-config"];
    let files = ["registry-auth", "ca-certificates"];
    assert_eq!(volumes, [configurations, files].concat());
    let mounts = |name: &str| names(&rendered.container(name)["volumeMounts"]);
    let mounted = mounts("crossmount");
    assert_eq!(mounted, ["crossmount-config", "ca-certificates"]);
    assert_eq!(mounts("registry"), ["registry-config", "registry-auth"]);
    // A registry without logins has none of the chart's files either.
    let open = with(&S3);
    let mounts = names(&open.container("registry")["volumeMounts"]);
    assert_eq!(mounts, ["registry-config"]);
}

#[test]
fn the_values_in_the_readme_make_a_pod() {
    needs!("helm3", "helm4");
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let (_, section) = readme
        .split_once("\n## Images in an object store\n")
        .unwrap();
    let values = section.split("```yaml\n").nth(1).unwrap();
    let values = values.split("```").next().unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(&file, values).unwrap();
    let rendered = Rendered::from(&chart(), &["--values", file.path().to_str().unwrap()]);
    assert_eq!(rendered.the("Deployment")["spec"]["replicas"], 2);
    let config = rendered.config("crossmount.yaml");
    assert_eq!(config["store"]["s3"]["bucket"], "images");
    assert_eq!(config["discovery"]["on_head"], true);
}

/// As the README says of replicas whose clients delete layers.
#[test]
fn a_real_registry_runs_without_its_descriptor_cache() {
    needs!("helm3", "helm4", "docker-registry");
    let rendered = with(&["registry.config.storage.cache.blobdescriptor=null"]);
    let cache = rendered.config("config.yml")["storage"]["cache"].clone();
    let registry = Registry::with(|config| config["storage"]["cache"] = cache.clone());
    let client = registry.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("base", &digest).expect(200);
    fs::remove_file(registry.store.data(&digest)).unwrap();
    client.head_blob("base", &digest).expect(404);
}

#[test]
fn replicas_need_no_shared_volume_and_follow_each_other_without_a_gap() {
    needs!("helm3", "helm4");
    let rendered = Values::named("object-store").render();
    let deployment = &rendered.the("Deployment")["spec"];
    assert_eq!(deployment["replicas"], 3);
    assert_eq!(deployment["strategy"]["type"], "RollingUpdate");
    let lost = [&S3[..], &["replicaCount=2"]].concat();
    refuses_each(&[(&lost, &["httpSecret"])]);
}

#[test]
fn the_pod_has_the_identity_that_the_bucket_knows() {
    needs!("helm3", "helm4");
    let rendered = Values::named("object-store").render();
    let account = rendered.the("ServiceAccount");
    let role = &account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
    assert_eq!(role, "arn:aws:iam::111122223333:role/registry");
    assert_eq!(account["automountServiceAccountToken"], false);
    let name = &account["metadata"]["name"];
    assert_eq!(&rendered.pod()["serviceAccountName"], name);
    let given = with(&["serviceAccount.name=images"]);
    assert!(!given.has("ServiceAccount"));
    assert_eq!(given.pod()["serviceAccountName"], "images");
    let named = with(&["serviceAccount.create=true", "serviceAccount.name=images"]);
    assert_eq!(named.the("ServiceAccount")["metadata"]["name"], "images");
}

#[test]
fn crossmount_lists_the_bucket_that_the_registry_names() {
    needs!("helm3", "helm4");
    let config = Values::named("object-store")
        .render()
        .config("crossmount.yaml");
    let bucket = json!({"bucket": "images", "region": "eu-central-1", "rootdirectory": "/hub"});
    assert_eq!(config["store"], json!({"s3": bucket}));
    assert_eq!(config["mount"], json!({"writer": "registry"}));
    assert_eq!(config["access"], json!({"mode": "htpasswd"}));
    let upstream = json!({"url": "http://127.0.0.1:5010", "version": 3});
    assert_eq!(config["upstream"], upstream);
    assert_eq!(config["discovery"]["sources"], "any");

    let storage = "registry.config.storage";
    let azure = [
        format!("{storage}.azure.accountname=a"),
        format!("{storage}.azure.container=c"),
        format!("{storage}.azure.max_retries=3"),
        format!("{storage}.azure.credentials.type=default_credentials"),
    ];
    let azure: Vec<_> = azure.iter().map(String::as_str).collect();
    let expected = json!({"accountname": "a", "container": "c"});
    assert_eq!(ours(&azure)["store"], json!({"azure": expected}));
    // What distribution 3 has besides.
    let newer = [&azure[..], &["registry.image.tag=latest"]].concat();
    let expected = json!({
        "accountname": "a", "container": "c",
        "credentials": {"type": "default_credentials"},
    });
    assert_eq!(ours(&newer)["store"], json!({"azure": expected}));

    let gcs = [
        "registry.config.storage.gcs.bucket=b",
        "registry.config.storage.gcs.keyfile=/key.json",
        "registry.config.storage.gcs.chunksize=1",
    ];
    let expected = json!({"bucket": "b", "keyfile": "/key.json"});
    assert_eq!(ours(&gcs)["store"], json!({"gcs": expected}));
}

#[test]
fn what_distribution_2_does_not_heed_crossmount_does_not_either() {
    needs!("helm3", "helm4");
    let settings = [
        "registry.config.storage.s3.regionendpoint=http://minio:9000",
        "registry.config.storage.s3.forcepathstyle=false",
    ];
    let two = [&S3[..], &settings].concat();
    let three = [&two[..], &["registry.image.tag=3.1.1"]].concat();
    let (two, three) = (ours(&two), ours(&three));
    assert!(two["store"]["s3"]["forcepathstyle"].is_null(), "{two}");
    assert_eq!(two["upstream"]["version"], 2);
    assert_eq!(three["store"]["s3"]["forcepathstyle"], false);
    assert_eq!(three["upstream"]["version"], 3);
}

#[test]
fn whom_sources_are_tried_for_follows_the_registrys_logins() {
    needs!("helm3", "helm4");
    for (logins, mode) in [
        ("registry.config.auth=null", "none"),
        ("registry.config.auth.htpasswd.path=/own/file", "htpasswd"),
        ("registry.config.auth.token.issuer=i", "token"),
        ("registry.config.auth.silly.realm=s", "upstream"),
        ("crossmount.config.access.mode=upstream", "upstream"),
    ] {
        let config = ours(&[&S3[..], &[logins]].concat());
        assert_eq!(config["access"], json!({"mode": mode}), "{logins}");
    }
}

#[test]
fn the_registry_can_write_links_into_its_volume_itself() {
    needs!("helm3", "helm4");
    let rendered = with(&[
        "crossmount.config.mount.writer=registry",
        "registry.htpasswdSecret=a",
    ]);
    let config = rendered.config("crossmount.yaml");
    assert!(config["store"].is_null(), "{config}");
    assert_eq!(config["access"], json!({"mode": "htpasswd"}));
    let mounts = |name: &str| names(&rendered.container(name)["volumeMounts"]);
    assert_eq!(mounts("crossmount"), ["crossmount-config"]);
    assert!(mounts("registry").contains(&"data"));
}

#[test]
fn keys_come_from_secrets() {
    needs!("helm3", "helm4");
    let settings = [
        "registry.extraEnv[0].name=REGISTRY_STORAGE_S3_ACCESSKEY",
        "registry.extraEnv[1].name=REGISTRY_STORAGE_S3_SECRETKEY",
        "registry.extraEnv[2].name=REGISTRY_STORAGE_AZURE_ACCOUNTKEY",
        "registry.extraEnv[3].name=REGISTRY_STORAGE_AZURE_CREDENTIALS_SECRET",
        "crossmount.extraEnv[0].name=CROSSMOUNT_STORE_S3_ACCESSKEY",
        "crossmount.extraEnv[1].name=CROSSMOUNT_STORE_S3_SECRETKEY",
    ];
    let rendered = with(&[&S3[..], &settings].concat());
    assert_eq!(names(&rendered.container("registry")["env"]).len(), 4);
    assert_eq!(names(&rendered.container("crossmount")["env"]).len(), 2);
}

#[test]
fn keys_that_would_be_in_the_configmap_are_refused() {
    needs!("helm3", "helm4");
    let azure = [
        "registry.config.storage.azure.accountname=a",
        "registry.config.storage.azure.container=c",
    ];
    let gcs = ["registry.config.storage.gcs.bucket=b"];
    let cases: &[(&[&str], &[&str])] = &[
        (
            &S3,
            &[
                "registry.config.storage.s3.secretkey",
                "registry.config.storage.s3.sessiontoken",
                "crossmount.config.store.s3.secretkey",
            ],
        ),
        (
            &azure,
            &[
                "registry.config.storage.azure.accountkey",
                "registry.config.storage.azure.connectionstring",
                "registry.config.storage.azure.credentials.secret",
                "crossmount.config.store.azure.credentials.secret",
            ],
        ),
        (&gcs, &["registry.config.storage.gcs.credentials"]),
    ];
    for (storage, keys) in cases {
        for key in *keys {
            // A map, in Google's case.
            let below = if key.ends_with("gcs.credentials") {
                ".private_key"
            } else {
                ""
            };
            let setting = format!("{key}{below}=k");
            let settings = [*storage, &[&*setting]].concat();
            refuses_each(&[(&settings, &[key, "ConfigMap"])]);
        }
    }
}

#[test]
fn what_cannot_work_with_an_object_store_is_refused_with_the_reason() {
    needs!("helm3", "helm4");
    let s3: &[(&str, &[&str])] = &[
        (
            "registry.config.storage.filesystem.rootdirectory=/a",
            &["one kind of storage", "filesystem, s3"],
        ),
        ("registry.config.storage.s3.bucket=null", &["s3.bucket is"]),
        ("registry.config.storage.s3.region=null", &["s3.region is"]),
        ("registry.config.storage.s3.v4auth=false", &["v4auth"]),
        (
            "crossmount.config.store.s3.bucket=other",
            &["store.s3.bucket must be left out"],
        ),
        (
            "crossmount.config.store.s3.rootdirectory=/a",
            &["store.s3.rootdirectory must be left out"],
        ),
        (
            "crossmount.config.store.gcs.bucket=b",
            &["store.gcs", "storage is s3"],
        ),
        (
            "crossmount.config.mount.writer=store",
            &["mount.writer cannot be store"],
        ),
        ("persistence.existingClaim=a", &["no volume"]),
        (
            "extraVolumes[0].name=a,registry.extraVolumeMounts[0].name=data",
            &["no volume is called data"],
        ),
        (
            "registry.extraEnv[0].name=REGISTRY_STORAGE_S3_BUCKET",
            &["REGISTRY_STORAGE_S3_BUCKET", "registry.config"],
        ),
        (
            "crossmount.extraEnv[0].name=CROSSMOUNT_STORE_S3_BUCKET",
            &["CROSSMOUNT_STORE_S3_BUCKET", "crossmount.config"],
        ),
        (
            "crossmount.extraEnv[0].name=CROSSMOUNT_MOUNT_WRITER",
            &["CROSSMOUNT_MOUNT_WRITER"],
        ),
    ];
    for (setting, words) in s3 {
        let settings = [&S3[..], &[*setting]].concat();
        refuses_each(&[(&settings, words)]);
    }
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["registry.config.storage.azure.container=c"],
            &["azure.accountname is missing"],
        ),
        (
            &["registry.config.storage.azure.accountname=a"],
            &["azure.container is missing"],
        ),
        (
            &["registry.config.storage.gcs.rootdirectory=/a"],
            &["gcs.bucket is missing"],
        ),
        (
            &["crossmount.config.store.s3.bucket=b"],
            &["store.s3", "storage is filesystem"],
        ),
    ];
    refuses_each(cases);
}

#[test]
fn what_is_for_written_links_alone_is_refused_where_the_registry_writes_them() {
    needs!("helm3", "helm4");
    for setting in [
        "store.filesystem.rootdirectory=/a",
        "store.durability=none",
        "store.verify=sha256",
        "store.verify_rate=1MB",
        "access.htpasswd.path=/a",
        "access.token.issuer=a",
        "access.decision_ttl=1s",
        "mount.dry_run=true",
        "notifications.endpoints[0].name=a",
        "upstream.external_url=https://a",
        "upstream.relative_urls=true",
        "upstream.response_headers.X-A[0]=b",
    ] {
        let whole = format!("crossmount.config.{setting}");
        let settings = [&S3[..], &[&*whole]].concat();
        refuses_each(&[(&settings, &["mount.writer: registry", "of no use"])]);
    }
    with(&[&S3[..], &["crossmount.config.mount.dry_run=false"]].concat());
}

#[test]
fn a_real_registry_mounts_by_this_configuration() {
    needs!("helm3", "helm4", "docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let mut config = Values::named("object-store")
        .render()
        .config("crossmount.yaml");
    // The registry of this test keeps its data in a directory.
    config.as_object_mut().unwrap().remove("store");
    config["upstream"] = json!({"url": registry.url()});
    for port in ["listen", "admin"] {
        config[port]["address"] = json!("127.0.0.1:0");
    }
    let sidecar = Sidecar::from(&config);
    wait_until("the pod would be ready", || {
        raw_http::get(sidecar.admin, "/readyz").status == 200
    });
    let alice = sidecar.client().basic("alice", "right");
    let digest = alice.upload("base", b"a layer");
    alice.head_blob("app", &digest).expect(200);
    assert_eq!(sidecar.mounts("native", "none"), 1);
}
