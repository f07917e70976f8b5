//! Seven fresh machines push images that share most of their layers, to a real registry on a bucket.

use super::listed_by;
use crate::needs;
use crate::support::client_programs::{Skopeo, at};
use crate::support::counting_proxy::CountingProxy;
use crate::support::image::{Image, unique_bytes};
use crate::support::registry::Registry;
use crate::support::seaweedfs::{self, Bucket};
use crate::support::sidecar::Sidecar;
use crate::support::sidecar_metrics::whole;
use crate::support::token_issuer::TokenIssuer;
use serde_json::{Value, json};

const IMAGES: usize = 7;
/// Bytes sent to unique bytes, at most.
const SENT: f64 = 1.05;

/// How clients log in.
enum Login {
    None,
    Password,
    /// The token names every repository.
    Token(TokenIssuer),
}

impl Login {
    fn mode(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "htpasswd",
            Self::Token(_) => "token",
        }
    }

    fn registry(&self, bucket: &Bucket, port: u16) -> Registry {
        let cache = |config: &mut Value| {
            config["storage"]["cache"] = json!({"blobdescriptor": "inmemory"});
        };
        match self {
            Self::None => bucket.registry(port, cache),
            Self::Password => {
                let mut registry = bucket.registry(port, cache);
                registry.demand_passwords(&[("alice", "right")]);
                registry.restart();
                registry
            }
            Self::Token(tokens) => bucket.registry(port, |config| {
                cache(config);
                tokens.configure(config);
            }),
        }
    }

    /// Pushes by a skopeo that knows of no other push.
    fn push(&self, port: u16, number: usize, image: &Image) {
        let skopeo = Skopeo::new();
        let layout = skopeo.layout(image, "layout");
        let mut command = skopeo.command();
        command.args(["copy", "--dest-tls-verify=false"]);
        match self {
            Self::None => {}
            Self::Password => {
                command.args(["--dest-creds", "alice:right"]);
            }
            Self::Token(tokens) => {
                let names: Vec<_> = (0..IMAGES).map(repository).collect();
                let all: &[&str] = &["pull", "push"];
                let access: Vec<_> = names.iter().map(|name| (&**name, all)).collect();
                command.args(["--dest-registry-token", &tokens.token("ci", &access)]);
            }
        }
        let target = at(port, &format!("{}:v1", repository(number)));
        let output = command.args([&layout, &target]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

fn repository(number: usize) -> String {
    format!("team{number}/app")
}

/// Images with five layers in common and one of their own.
fn images() -> Vec<Image> {
    let own: Vec<_> = (0..IMAGES).map(|number| format!("own {number}")).collect();
    let image = |own: &String| {
        Image::of(
            &["os", "certificates", "runtime", "libraries", "tools", own],
            200_000,
        )
    };
    own.iter().map(image).collect()
}

fn uploaded(sidecar: &Sidecar) -> u64 {
    whole(sidecar.metric("crossmount_uploaded_bytes_total", &[]))
}

/// Pushes all images, with a restart of crossmount after the third, and checks what was sent.
#[track_caller]
fn pushes_send_each_byte_once(login: &Login) {
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let bucket = server.bucket();
    let registry = login.registry(&bucket, server.port);
    let proxy = CountingProxy::start(server.port);
    proxy.pass_only_lists();
    let start = || listed_by(&registry, &bucket, &proxy, login.mode());
    let (images, mut sent) = (images(), 0);
    let sidecar = start();
    for (number, image) in images[..3].iter().enumerate() {
        login.push(sidecar.port, number, image);
    }
    sent += uploaded(&sidecar);
    drop(sidecar);
    let sidecar = start();
    sidecar.wait_for_scan();
    for (number, image) in images[3..].iter().enumerate() {
        login.push(sidecar.port, number + 3, image);
    }
    sent += uploaded(&sidecar);
    let saved = whole(sidecar.metric("crossmount_mounted_bytes_total", &[("via", "head")]));
    assert!(
        saved > 4 * 5 * 200_000,
        "{saved} bytes are counted as saved"
    );
    #[allow(clippy::cast_precision_loss, reason = "a ratio of megabytes")]
    let ratio = sent as f64 / unique_bytes(&images) as f64;
    println!("{}: {ratio:.3} of the unique bytes sent", login.mode());
    assert!(ratio <= SENT, "{ratio}");
    proxy.assert_only_lists();
}

#[test]
fn an_open_registry_gets_each_byte_once_also_after_a_restart() {
    needs!("docker-registry", "skopeo", "weed");
    pushes_send_each_byte_once(&Login::None);
}

#[test]
fn a_registry_with_passwords_gets_each_byte_once_also_after_a_restart() {
    needs!("docker-registry", "skopeo", "htpasswd", "weed");
    pushes_send_each_byte_once(&Login::Password);
}

#[test]
fn a_registry_with_tokens_gets_each_byte_once_also_after_a_restart() {
    needs!("docker-registry", "skopeo", "openssl", "weed");
    pushes_send_each_byte_once(&Login::Token(TokenIssuer::new()));
}

#[test]
fn seven_pushes_cost_fewer_calls_to_the_bucket_than_without_crossmount() {
    needs!("docker-registry", "skopeo", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let images = images();
    let calls = |through: bool| {
        let bucket = server.bucket();
        let proxy = CountingProxy::start(server.port);
        let registry = Login::None.registry(&bucket, proxy.port);
        let sidecar = through.then(|| listed_by(&registry, &bucket, &proxy, "none"));
        if let Some(sidecar) = &sidecar {
            sidecar.wait_for_scan();
        }
        proxy.forget();
        let port = sidecar
            .as_ref()
            .map_or(registry.port, |sidecar| sidecar.port);
        for (number, image) in images.iter().enumerate() {
            Login::None.push(port, number, image);
        }
        proxy.calls().len()
    };
    let (direct, through) = (calls(false), calls(true));
    println!("{direct} calls directly, {through} through crossmount");
    assert!(through * 10 <= direct * 6, "{through} of {direct}");
}
