//! The Redis or Valkey through which the chart's replicas share what they know.

use crate::{needs, support};
use serde_json::{Value, json};
use support::helm::{Rendered, Values, chart, covers, refuses_each};

pub const VALKEY: &str = "hub-crossmount-valkey";
/// By default no replica has anything to share.
pub const LEARNS: &str = "crossmount.config.discovery.enabled=true";

pub fn with_valkey() -> Rendered {
    Values::named("valkey").render()
}

pub fn valkeys_pod(rendered: &Rendered) -> &Value {
    &rendered.called("Deployment", VALKEY)["spec"]["template"]
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let variables = container["env"].as_array().unwrap();
    variables.iter().find(|it| it["name"] == name).unwrap()
}

#[test]
fn crossmount_reaches_the_valkey_of_the_chart() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let crossmount = rendered.container("crossmount");
    let url = &variable(crossmount, "CROSSMOUNT_DISCOVERY_REDIS_URL")["value"];
    let expected = format!("redis://crossmount:$(VALKEY_PASSWORD)@{VALKEY}:6379");
    assert_eq!(url, &expected);
    // Kubernetes replaces only what an earlier variable has.
    assert_eq!(crossmount["env"][0]["name"], "VALKEY_PASSWORD");
    let pod = valkeys_pod(&rendered);
    let service = &rendered.called("Service", VALKEY)["spec"];
    let labels = &pod["metadata"]["labels"];
    assert!(covers(&service["selector"], labels));
    let own = &rendered.the("Service")["spec"]["selector"];
    assert!(
        !covers(own, labels),
        "clients would be sent to the wrong pod"
    );
    assert_eq!(service["ports"][0]["port"], 6379);
    let opened = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!(opened["containerPort"], 6379);
    assert_eq!(service["ports"][0]["targetPort"], opened["name"]);
    // One Secret has the password of both.
    let theirs = variable(&pod["spec"]["containers"][0], "VALKEY_PASSWORD");
    let secret = &crossmount["env"][0]["valueFrom"]["secretKeyRef"];
    assert_eq!(&theirs["valueFrom"]["secretKeyRef"], secret);
    let expected = json!({"name": "hub-valkey", "key": "password"});
    assert_eq!(secret, &expected);
}

#[test]
fn valkey_may_do_no_more_than_the_registrys_pod() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let valkey = rendered.called("Deployment", VALKEY);
    assert_eq!(valkey["spec"]["strategy"]["type"], "Recreate");
    assert_eq!(valkey["spec"]["replicas"], 1);
    let (pod, other) = (&valkeys_pod(&rendered)["spec"], rendered.pod());
    for same in [
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
    ] {
        assert_eq!(pod[same], other[same], "{same}");
    }
    let container = &pod["containers"][0];
    let registry = rendered.container("registry");
    assert_eq!(container["securityContext"], registry["securityContext"]);
    assert!(container["resources"]["limits"]["memory"].is_string());
}

#[test]
fn the_policies_let_crossmount_alone_reach_valkey() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let labels = &valkeys_pod(&rendered)["metadata"]["labels"];
    let theirs = &rendered.called("NetworkPolicy", VALKEY)["spec"];
    assert!(covers(&theirs["podSelector"]["matchLabels"], labels));
    assert_eq!(theirs["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(theirs["egress"], json!([]));
    let from = theirs["ingress"][0]["from"].as_array().unwrap();
    let crossmounts = &rendered.the("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(from.len(), 1);
    assert!(covers(&from[0]["podSelector"]["matchLabels"], crossmounts));
    assert_eq!(theirs["ingress"][0]["ports"][0]["port"], 6379);
    // Beside what the operator opens, crossmount's own policy opens the way there.
    let own = rendered.called("NetworkPolicy", "hub-crossmount");
    let [dns, valkey] = own["spec"]["egress"].as_array().unwrap().as_slice() else {
        panic!("{own}");
    };
    assert_eq!(dns["ports"][0]["port"], 53);
    assert_eq!(valkey["ports"][0]["port"], 6379);
    assert!(covers(
        &valkey["to"][0]["podSelector"]["matchLabels"],
        labels
    ));
}

#[test]
fn no_password_and_no_key_is_in_a_config_map() {
    needs!("helm3", "helm4");
    for values in ["valkey", "redis"] {
        let rendered = Values::named(values).render();
        for map in rendered.0.iter().filter(|it| it["kind"] == "ConfigMap") {
            let text = map.to_string().to_lowercase();
            for word in ["password", "fingerprint", "redis"] {
                assert!(!text.contains(word), "{values}: {word} in {text}");
            }
        }
    }
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["crossmount.config.discovery.redis.fingerprint_key=a"],
            &["fingerprint_key", "ConfigMap", "redis.urlSecret"],
        ),
        (
            &["crossmount.config.discovery.redis.url=redis://:a@b"],
            &["redis.url", "ConfigMap", "redis.urlSecret"],
        ),
        (
            &["valkey.enabled=true"],
            &["valkey.enabled", "discovery.enabled"],
        ),
        (&["redis.urlSecret=a"], &["redis.urlSecret", "discovery"]),
        (
            &["valkey.enabled=true", "redis.urlSecret=a", LEARNS],
            &["one Redis or Valkey"],
        ),
        (&["redis.caSecret=a"], &["redis.urlSecret"]),
        (
            &["valkey.enabled=true", "redis.caSecret=a", LEARNS],
            &["no TLS"],
        ),
        (
            &[
                "redis.urlSecret=a",
                LEARNS,
                "crossmount.config.discovery.redis.url=redis://b",
            ],
            &["left out", "redis.urlSecret"],
        ),
        (
            &[
                "valkey.enabled=true",
                LEARNS,
                "crossmount.config.discovery.redis.prefix=other",
            ],
            &["prefix", "no other keys"],
        ),
        (
            &[
                "valkey.enabled=true",
                LEARNS,
                "crossmount.extraEnv[0].name=CROSSMOUNT_DISCOVERY_REDIS_URL",
            ],
            &["extraEnv", "valkey.enabled"],
        ),
        (&["valkey.maxMemory=much"], &["maxMemory"]),
        (
            &["extraVolumes[0].name=redis-ca"],
            &["a volume redis-ca already"],
        ),
    ];
    refuses_each(cases);
}

#[test]
fn a_redis_that_is_there_is_named_by_secrets() {
    needs!("helm3", "helm4");
    let rendered = Values::named("redis").render();
    let crossmount = rendered.container("crossmount");
    let secret = |name: &str| variable(crossmount, name)["valueFrom"]["secretKeyRef"].clone();
    let url = secret("CROSSMOUNT_DISCOVERY_REDIS_URL");
    assert_eq!(url, json!({"name": "hub-redis", "key": "url"}));
    let key = secret("CROSSMOUNT_DISCOVERY_REDIS_FINGERPRINT_KEY");
    let expected = json!({"name": "hub-redis", "key": "fingerprint-key", "optional": true});
    assert_eq!(key, expected);
    // The certificate that is named is where the volume is.
    let path = &variable(crossmount, "CROSSMOUNT_DISCOVERY_REDIS_CA_CERTIFICATE")["value"];
    let mounts = crossmount["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|it| it["name"] == "redis-ca").unwrap();
    let file = format!("{}/ca.crt", mount["mountPath"].as_str().unwrap());
    assert_eq!(path, &file);
    let volumes = rendered.pod()["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|it| it["name"] == "redis-ca"));
    assert!(!rendered.has("Secret"));
    assert!(rendered.0.iter().all(|it| it["metadata"]["name"] != VALKEY));
}

#[test]
fn replicas_are_spread_and_a_constraint_may_name_other_pods() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let constraint = &rendered.pod()["topologySpreadConstraints"][0];
    assert_eq!(constraint["topologyKey"], "kubernetes.io/hostname");
    let selector = &rendered.the("Deployment")["spec"]["selector"];
    assert_eq!(&constraint["labelSelector"], selector);
    let place = "topologySpreadConstraints[0].labelSelector.matchLabels.a=b";
    let rendered = Rendered::from(&chart(), &["--set", place]);
    let constraint = &rendered.pod()["topologySpreadConstraints"][0];
    let expected = json!({"matchLabels": {"a": "b"}});
    assert_eq!(constraint["labelSelector"], expected);
}
