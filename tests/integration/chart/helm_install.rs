//! What helm says after an installation, and what helm test asks.

use crate::{needs, support};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::process::Command;
use support::helm::{Values, chart, covers, helm};
use support::program_run::{Ended, run};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{token_issuer, tools};

/// What helm says after an installation. Only helm 4 says it without a cluster.
fn notes(arguments: &[&str]) -> String {
    let arguments = [
        &["install", "hub", "--dry-run=client", "-n", "images"],
        arguments,
    ]
    .concat();
    let output = tools::run(helm("helm4", &arguments).arg(chart()));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_once("NOTES:\n").unwrap().1.to_owned()
}

#[test]
fn the_notes_say_how_to_push_where_to_look_and_what_to_mind() {
    needs!("helm4");
    let usual = notes(&[]);
    for words in [
        "hub-crossmount.images.svc:5000",
        "kubectl --namespace images port-forward service/hub-crossmount 5000:5000",
        "kubectl --namespace images port-forward deployment/hub-crossmount 9500:9500",
        "http://localhost:9500/ ",
        "helm test hub --namespace images",
        "NO LOGINS",
    ] {
        assert!(usual.contains(words), "{words}: {usual}");
    }
    let interrupts = "A ROLLOUT INTERRUPTS";
    assert!(usual.contains(interrupts), "{usual}");
    let longer = "crossmount.config.shutdown.timeout";
    assert!(!usual.contains(longer), "{usual}");
    assert!(notes(&["--set", "crossmount.nativeSidecar=false"]).contains(longer));
    let no_image = "THE IMAGE IS IN NO REGISTRY";
    assert!(usual.contains(no_image), "{usual}");
    let named = "crossmount.image.repository=registry.example.com/crossmount";
    assert!(!notes(&["--set", named]).contains(no_image));
    let shared = "persistence.accessModes={ReadWriteMany}";
    assert!(!notes(&["--set", shared]).contains(interrupts));
    let nfs = "lookupcache=positive";
    assert!(!usual.contains(nfs) && !usual.contains("NO PERSISTENCE"));
    for settings in [
        "persistence.accessModes={ReadWriteMany}",
        "persistence.storageClass=nfs-csi",
    ] {
        assert!(notes(&["--set", settings]).contains(nfs), "{settings}");
    }
    notes(&["--set", "persistence.storageClass=null"]);
    let other = notes(&[
        "--set",
        "persistence.enabled=false,registry.htpasswdSecret=a,test.enabled=false",
    ]);
    assert!(other.contains("NO PERSISTENCE"));
    for words in ["NO LOGINS", "helm test", nfs] {
        assert!(!other.contains(words), "{words}: {other}");
    }
    let native = notes(&Values::named("native").arguments());
    assert!(native.contains("service/hub 5000:80"), "{native}");
    assert!(native.contains("deployment/hub 9500:9600"), "{native}");
    // No client can name a path.
    assert!(native.contains("curl -i http://localhost:5000/hub/v2/"));
    assert!(!native.contains("skopeo"), "{native}");
    assert!(!usual.contains("-creds") && !usual.contains("curl"));
    for logins in ["htpasswd", "tokens", "foreign-logins"] {
        let said = notes(&Values::named(logins).arguments());
        assert_eq!(said.matches("--dest-creds USER:PASSWORD").count(), 2);
        assert_eq!(said.matches("--src-creds USER:PASSWORD").count(), 1);
    }
    for (values, is_off) in [("object-store", false), ("native", false)] {
        let said = notes(&Values::named(values).arguments());
        assert_eq!(said.contains("DISCOVERY IS OFF"), is_off, "{values}");
    }
    let written = notes(&["--set", "crossmount.config.mount.writer=registry"]);
    assert!(written.contains("DISCOVERY IS OFF"), "{written}");
    let stored = notes(&Values::named("object-store").arguments());
    assert!(!stored.contains("NO PERSISTENCE") && !stored.contains(nfs));
    assert_eq!(notes(&["--set", "enabled=false"]).trim(), "");
}

#[test]
fn the_notes_say_what_replicas_do_not_share_and_what_is_generated() {
    needs!("helm4");
    let (alone, generated) = ("REPLICAS LEARN ALONE", "VALKEY'S PASSWORD IS GENERATED");
    // On a volume, and with logins that crossmount checks itself, each looks on the disk.
    let replicas = Values::named("replicas");
    assert!(!notes(&replicas.arguments()).contains(alone));
    let stored = Values::named("object-store");
    let said = notes(&stored.arguments());
    assert!(said.contains(alone) && !said.contains(generated), "{said}");
    let with = |setting: &str| notes(&[&stored.arguments()[..], &["--set", setting]].concat());
    assert!(!with("redis.urlSecret=a").contains(alone));
    assert!(!with("replicaCount=1").contains(alone));
    let said = with("valkey.enabled=true");
    assert!(!said.contains(alone) && said.contains(generated), "{said}");
    let said = with("valkey.enabled=true,valkey.existingSecret=a");
    assert!(!said.contains(generated), "{said}");
}

#[test]
fn the_notes_say_where_events_of_mounts_are_lost() {
    needs!("helm4");
    let words = "EVENTS ARE LOST";
    assert!(!notes(&[]).contains(words));
    let told = |place: &str| {
        [("name", "audit"), ("url", "http://audit/")]
            .map(|(key, value)| format!("{place}.config.notifications.endpoints[0].{key}={value}"))
            .join(",")
    };
    let (theirs, ours) = (told("registry"), told("crossmount"));
    assert!(notes(&["--set", &theirs]).contains(words));
    assert!(!notes(&["--set", &ours]).contains(words));
    assert!(!notes(&["--set", &theirs, "--set", &ours]).contains(words));
    // A registry that writes links itself sends their events.
    let writer = "crossmount.config.mount.writer=registry";
    assert!(!notes(&["--set", &theirs, "--set", writer]).contains(words));
    // By a variable of the registry's too.
    assert!(notes(&Values::named("everything").arguments()).contains(words));
}

#[test]
fn the_test_runs_beside_the_pod_and_may_do_nothing() {
    needs!("helm3", "helm4");
    for values in Values::every() {
        let rendered = values.render();
        let pod = rendered.the("Pod");
        assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
        let selector = &rendered.the("Deployment")["spec"]["selector"]["matchLabels"];
        assert!(!covers(selector, &pod["metadata"]["labels"]));
        let (ask, registry) = (
            &pod["spec"]["containers"][0],
            rendered.container("registry"),
        );
        assert_eq!(ask["securityContext"], registry["securityContext"]);
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        let image = match values.name() {
            "everything" => &json!("docker.io/library/busybox:1.37"),
            // Of which the node has a copy.
            _ => &registry["image"],
        };
        assert_eq!(&ask["image"], image);
        // It asks the two Services.
        let service = |name: &str| {
            let resource = rendered
                .0
                .iter()
                .find(|it| it["kind"] == "Service" && it["spec"]["ports"][0]["name"] == name);
            let resource = resource.unwrap();
            let name = resource["metadata"]["name"].as_str().unwrap();
            format!("://{name}:{}/", resource["spec"]["ports"][0]["port"])
        };
        for (at, port) in ["registry", "admin"].into_iter().enumerate() {
            let url = ask["env"][at]["value"].as_str().unwrap();
            let path = match (port, values.name()) {
                ("registry", "native") => "hub/v2/",
                ("registry", _) => "v2/",
                _ => "readyz",
            };
            let expected = service(port) + path;
            assert!(url.ends_with(&expected), "{url}: {expected}");
            let is_tls = values.name() == "everything" && port == "registry";
            assert_eq!(url.starts_with("https:"), is_tls, "{url}");
        }
    }
}

/// The script of the chart's test, with these addresses, by a shell like that of the registry's
/// image and this wget.
fn ask(wget: &str, registry: &str, ready: &str) -> Ended {
    let rendered = Values::DEFAULT.render();
    let container = &rendered.the("Pod")["spec"]["containers"][0];
    let home = tempfile::tempdir().unwrap();
    let busybox = tools::find("busybox").unwrap();
    for name in ["sh", "timeout", "sleep"] {
        symlink(&busybox, home.path().join(name)).unwrap();
    }
    symlink(tools::find(wget).unwrap(), home.path().join("wget")).unwrap();
    let words = container["command"].as_array().unwrap().iter();
    let words: Vec<_> = words.map(|word| word.as_str().unwrap()).collect();
    let script = container["args"][0].as_str().unwrap();
    let mut command = Command::new(home.path().join(words[0]));
    command
        .args(&words[1..])
        .arg(script.replace("sleep 2", "sleep 0"))
        .env_clear()
        .env("PATH", home.path())
        .env("REGISTRY", registry)
        .env("READY", ready);
    run(command)
}

#[test]
fn the_test_passes_where_crossmount_is_ready_and_fails_where_it_is_not() {
    needs!(
        "helm3",
        "helm4",
        "busybox",
        "wget",
        "docker-registry",
        "htpasswd",
        "openssl"
    );
    let mut registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let addresses = |sidecar: &Sidecar| {
        (
            format!("http://127.0.0.1:{}/v2/", sidecar.port),
            format!("http://127.0.0.1:{}/readyz", sidecar.admin),
        )
    };
    let (clients, ready) = addresses(&sidecar);
    let ended = ask("busybox", &clients, &ready);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let said = format!("{clients} answers 200\n{ready} answers 200\n");
    assert_eq!(ended.out, said);

    let closed = Registry::with_htpasswd(&[("alice", "right")]);
    let asked = Sidecar::start(&closed);
    let (clients_of_closed, ready_of_closed) = addresses(&asked);
    let ended = ask("busybox", &clients_of_closed, &ready_of_closed);
    assert!(ended.out.contains("/v2/ answers 401\n"), "{}", ended.out);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);

    // Debian's busybox, unlike the image's, knows no way to speak TLS that is still allowed.
    let home = tempfile::tempdir().unwrap();
    token_issuer::signed(home.path());
    let pem = |name: &str| home.path().join(name);
    let hidden = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = json!({"certificate": pem("cert.pem"), "key": pem("key.pem")});
    });
    let secret = format!("https://localhost:{}/v2/", hidden.port);
    let ended = ask("wget", &secret, &ready);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);

    registry.kill();
    for (first, named) in [(&clients, "/v2/: "), (&clients_of_closed, "/readyz: ")] {
        let ended = ask("busybox", first, &ready);
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        assert!(ended.out.contains(named), "{}", ended.out);
        assert!(ended.out.contains("503"), "{}", ended.out);
    }
}
