use super::*;

fn address(host: &str, port: u16) -> RedisAddress {
    let host = host.to_owned();
    RedisAddress { host, port }
}

fn url(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn one_server_has_a_port_and_a_database_by_default() {
    for text in ["redis://cache", "redis://cache:6379/", "valkey://cache/0"] {
        let parsed = url(text);
        assert_eq!(parsed.servers, RedisServers::One(address("cache", 6379)));
        assert!(!parsed.is_tls && parsed.login.is_none() && parsed.database == 0);
        assert_eq!(parsed.to_string(), "redis://cache:6379");
    }
    let parsed = url("valkeys://[::1]:7000/3");
    assert_eq!(parsed.servers, RedisServers::One(address("::1", 7000)));
    assert!(parsed.is_tls && parsed.database == 3);
    assert_eq!(parsed.to_string(), "rediss://[::1]:7000/3");
}

#[test]
fn sentinels_and_clusters_have_many_hosts() {
    let parsed = url("redis+sentinel://a,b:1/main/2");
    let sentinels = vec![address("a", 26379), address("b", 1)];
    let master = "main".to_owned();
    assert_eq!(
        parsed.servers,
        RedisServers::Sentinels { sentinels, master }
    );
    assert_eq!(parsed.to_string(), "redis+sentinel://a:26379,b:1/main/2");
    let parsed = url("valkeys+cluster://a,b:1");
    let nodes = vec![address("a", 6379), address("b", 1)];
    assert_eq!(parsed.servers, RedisServers::Cluster(nodes));
    assert_eq!(parsed.to_string(), "rediss+cluster://a:6379,b:1");
}

#[test]
fn a_login_is_decoded_and_never_shown() {
    let parsed = url("rediss://cross%40mount:hunter%2F2:@cache");
    let login = parsed.login.as_ref().unwrap().expose();
    assert_eq!(login.user.as_deref(), Some("cross@mount"));
    assert_eq!(login.password, "hunter/2:");
    assert_eq!(parsed.to_string(), "rediss://(masked):(masked)@cache:6379");
    assert!(!format!("{parsed:?}").contains("hunter"));
    let parsed = url("redis://:hunter2@cache");
    assert_eq!(parsed.login.unwrap().expose().user, None);
}

#[test]
fn an_address_that_cannot_be_used_is_named_without_its_text() {
    for (text, reason) in [
        ("hunter2", "is not a URL"),
        ("http://:hunter2@host", "must begin with redis://"),
        ("redis+tls://:hunter2@host", "has neither +sentinel nor"),
        ("redis://hunter2@host", "has a user without a password"),
        ("redis://user:@hunter2", "has an empty password"),
        ("redis://:hun/ter2@host", "in its password"),
        ("redis://:hun#ter2@host", "in its password"),
        ("redis://:hun?ter2@host", "in its password"),
        ("redis://:hunter2%ff@host", "is not UTF-8"),
        ("redis://:hunter2@", "has a host that"),
        ("redis://:hunter2@a,b", "has a host that"),
        ("redis://:hunter2@::1", "has a host that"),
        ("redis://:hunter2@[::1]6379", "has a host that"),
        ("redis://:hunter2@[host]", "has a host that"),
        ("redis://:hunter2@host:0", "has a port that"),
        ("redis://:hunter2@host:x", "has a port that"),
        ("redis://:hunter2@host/x", "has a database that"),
        ("redis+sentinel://:hunter2@host", "does not name the server"),
        (
            "redis+sentinel://:hunter2@host/a b",
            "does not name the server",
        ),
        ("redis+cluster://:hunter2@host/1", "a cluster has none"),
    ] {
        let error = RedisUrl::parse(text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
        assert!(!error.contains("hunter"), "{error}");
    }
}
