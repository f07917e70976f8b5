//! The claims of a token: the sidecar judges them as the registry does, or asks it.

use crate::{needs, support, table};
use serde_json::{Value, json};
use support::compare::credentials::compare;
use support::credential_variants::{ISSUER, Says, access, claims, entry, now, without};
use support::token_issuer::SERVICE;
use support::version::version;

#[test]
fn issuer_and_audience_are_exactly_those_of_the_configuration() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "both are right": claims(|_| ());
        Denied "another issuer": claims(|c| c["iss"] = json!("elsewhere"));
        Denied "the issuer and a space": claims(|c| c["iss"] = json!(format!("{ISSUER} ")));
        Denied "the issuer in capitals": claims(|c| c["iss"] = json!(ISSUER.to_uppercase()));
        Denied "an empty issuer": claims(|c| c["iss"] = json!(""));
        Denied "no issuer": claims(|c| without(c, "iss"));
        Any "a null issuer": claims(|c| c["iss"] = json!(null));
        Unknown "a number as issuer": claims(|c| c["iss"] = json!(1));
        Unknown "a list with the issuer": claims(|c| c["iss"] = json!([ISSUER]));
        Denied "another audience": claims(|c| c["aud"] = json!("elsewhere"));
        Denied "the audience and a space": claims(|c| c["aud"] = json!(format!(" {SERVICE}")));
        Denied "the audience in capitals": claims(|c| c["aud"] = json!("Registry.test"));
        Denied "an empty audience": claims(|c| c["aud"] = json!(""));
        Denied "no audience": claims(|c| without(c, "aud"));
        Any "a null audience": claims(|c| c["aud"] = json!(null));
        Denied "a list with the audience": claims(|c| c["aud"] = json!([SERVICE]))
            .says_if(version().takes_lists_of_audiences(), Says::Allowed);
        Denied "a list without it": claims(|c| c["aud"] = json!(["elsewhere"]));
        Denied "an empty list of audiences": claims(|c| c["aud"] = json!([]));
        Denied "a list with the audience and another":
            claims(|c| c["aud"] = json!([SERVICE, "elsewhere"]))
                .says_if(version().takes_lists_of_audiences(), Says::Allowed);
        Unknown "a number as audience": claims(|c| c["aud"] = json!(7));
    });
}

#[test]
fn a_token_counts_from_nbf_to_exp_with_a_minute_to_spare() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Unknown "it ran out 30 s ago": claims(|c| c["exp"] = json!(now() - 30));
        Denied "it ran out 90 s ago": claims(|c| c["exp"] = json!(now() - 90));
        Denied "it ran out in 2001": claims(|c| c["exp"] = json!(1_000_000_000));
        Denied "exp is 0": claims(|c| c["exp"] = json!(0));
        Denied "no exp": claims(|c| without(c, "exp"));
        Any "a null exp": claims(|c| c["exp"] = json!(null));
        Unknown "exp as a string": claims(|c| c["exp"] = json!((now() + 300).to_string()));
        Unknown "exp is true": claims(|c| c["exp"] = json!(true));
        Unknown "a negative exp": claims(|c| c["exp"] = json!(-1));
        Allowed "exp ends the year 9999": claims(|c| c["exp"] = json!(253_402_300_799_i64));
        Unknown "exp begins the year 10000": claims(|c| c["exp"] = json!(253_402_300_800_i64));
        Unknown "the greatest exp of 64 bits": claims(|c| c["exp"] = json!(i64::MAX));
        Unknown "the least exp of 64 bits": claims(|c| c["exp"] = json!(i64::MIN));
        Unknown "exp beyond 64 bits": claims(|c| c["exp"] = json!(u64::MAX));
        Allowed "no nbf": claims(|c| without(c, "nbf"));
        Allowed "nbf is 0": claims(|c| c["nbf"] = json!(0));
        Unknown "nbf in 30 s": claims(|c| c["nbf"] = json!(now() + 30));
        Denied "nbf in 90 s": claims(|c| c["nbf"] = json!(now() + 90));
        Denied "nbf ends the year 9999": claims(|c| c["nbf"] = json!(253_402_300_799_i64));
        Any "a null nbf": claims(|c| c["nbf"] = json!(null));
        Unknown "nbf as a string": claims(|c| c["nbf"] = json!("0"));
        Unknown "a negative nbf": claims(|c| c["nbf"] = json!(-1));
        Unknown "the least nbf of 64 bits": claims(|c| c["nbf"] = json!(i64::MIN));
        Unknown "the greatest nbf of 64 bits": claims(|c| c["nbf"] = json!(i64::MAX));
        Unknown "a broken nbf": claims(|c| c["nbf"] = json!(1.5));
    });
}

#[test]
fn claims_that_decide_nothing_may_be_absent() {
    needs!("docker-registry", "openssl");
    compare(&table! {
        Allowed "no iat": claims(|c| without(c, "iat"));
        Allowed "iat in the future": claims(|c| c["iat"] = json!(now() + 7200));
        Unknown "iat as a string": claims(|c| c["iat"] = json!("yesterday"));
        Unknown "a broken iat": claims(|c| c["iat"] = json!(1.5));
        Allowed "no jti": claims(|c| without(c, "jti"));
        Unknown "a number as jti": claims(|c| c["jti"] = json!(1));
        Allowed "no subject": claims(|c| without(c, "sub"));
        Allowed "an empty subject": claims(|c| c["sub"] = json!(""));
        Any "a null subject": claims(|c| c["sub"] = json!(null));
        Unknown "a number as subject": claims(|c| c["sub"] = json!(1));
        Unknown "an object as subject": claims(|c| c["sub"] = json!({}));
        Allowed "a claim that nobody knows": claims(|c| c["scope"] = json!(["*"]));
    });
}

#[test]
fn target_and_source_are_named_exactly() {
    needs!("docker-registry", "openssl");
    let source = |name: &'static str| {
        move |target: &str| json!([entry(target, &["pull", "push"]), entry(name, &["pull"])])
    };
    let target = |name: fn(&str) -> String| {
        move |target: &str| {
            json!([
                entry(&name(target), &["pull", "push"]),
                entry("src", &["pull"])
            ])
        }
    };
    compare(&table! {
        Allowed "src for src": access(source("src"));
        Allowed "src2 for src2": access(source("src2")).from("src2");
        Denied "src for src2": access(source("src")).from("src2");
        Denied "src2 for src": access(source("src2"));
        Denied "sr for src": access(source("sr"));
        Denied "a slash after the source": access(source("src/"));
        Denied "a slash before the source": access(source("/src"));
        Denied "a space after the source": access(source("src "));
        Denied "a tag after the source": access(source("src:latest"));
        Denied "the source in capitals": access(source("SRC"));
        Denied "any source by an asterisk": access(source("*"));
        Denied "src and an asterisk": access(source("src*"));
        Denied "an empty name": access(source(""));
        Denied "a long s in the source": access(source("\u{17f}rc"));
        Denied "a Cyrillic s in the source": access(source("\u{455}rc"));
        Denied "a zero byte after the source": access(source("src\0"));
        Denied "a name that is wider than it looks": access(source("src\u{200b}"));
        Denied "a slash after the target": access(target(|name| format!("{name}/")));
        Denied "the target in capitals": access(target(str::to_uppercase));
        Denied "the parent of the target": access(target(|_| "to".to_owned()));
        Denied "any below the target's parent": access(target(|_| "to/*".to_owned()));
        Denied "dots in the target": access(target(|name| format!("to/../{name}")));
    });
}

#[test]
fn pull_and_push_on_the_target_and_pull_on_the_source_are_needed() {
    needs!("docker-registry", "openssl");
    let rights = |target: &'static [&str], source: &'static [&str]| {
        move |name: &str| json!([entry(name, target), entry("src", source)])
    };
    let list = |entries: fn(&str) -> Value| entries;
    compare(&table! {
        Allowed "no more than is needed": access(rights(&["pull", "push"], &["pull"]));
        Allowed "everything": access(rights(&["*"], &["*"]));
        Allowed "everything and more": access(rights(&["*", "pull"], &["delete", "*"]));
        Allowed "actions twice": access(rights(&["push", "pull", "push"], &["pull", "pull"]));
        Denied "no pull on the target": access(rights(&["push"], &["pull"]));
        Denied "no push on the target": access(rights(&["pull"], &["pull"]));
        Denied "nothing on the target": access(rights(&[], &["pull"]));
        Denied "push alone on the source":
            access(rights(&["pull", "push"], &["push"])).falls_back();
        Denied "nothing on the source": access(rights(&["pull", "push"], &[])).falls_back();
        Denied "pull in capitals": access(rights(&["pull", "push"], &["PULL"])).falls_back();
        Denied "pull and a space": access(rights(&["pull", "push"], &["pull "])).falls_back();
        Denied "two actions in one": access(rights(&["pull", "push"], &["pull,push"])).falls_back();
        Denied "two asterisks": access(rights(&["pull", "push"], &["**"])).falls_back();
        Denied "nothing on both": access(rights(&[], &[]));
        Denied "no source": access(list(|t| json!([entry(t, &["pull", "push"])])));
        Denied "no target": access(list(|_| json!([entry("src", &["pull", "push"])])));
        Denied "an empty list": access(list(|_| json!([])));
        Allowed "actions over several entries": access(list(|t| {
            let (pull, push) = (entry(t, &["pull"]), entry(t, &["push"]));
            json!([pull, entry("src", &[]), push, entry("src", &["pull"])])
        }));
        Allowed "entries twice": access(list(|t| {
            let (one, two) = (entry(t, &["pull", "push"]), entry("src", &["pull"]));
            json!([one, two, one, two])
        }));
        Allowed "entries for others": access(list(|t| {
            let others = json!({"type": "registry", "name": "catalog", "actions": ["*"]});
            json!([others, entry("else", &["*"]), entry(t, &["*"]), entry("src", &["*"])])
        }));
    });
}

#[test]
fn only_entries_for_repositories_count() {
    needs!("docker-registry", "openssl");
    // A good entry for the target, and one for the source with this member changed.
    let with = |key: &'static str, value: Value| {
        access(move |target| {
            let mut source = entry("src", &["pull"]);
            source[key] = value.clone();
            json!([entry(target, &["pull", "push"]), source])
        })
    };
    let lacking = |key: &'static str| {
        access(move |target| {
            let mut source = entry("src", &["pull"]);
            without(&mut source, key);
            json!([entry(target, &["pull", "push"]), source])
        })
    };
    let source =
        |source: Value| access(move |target| json!([entry(target, &["pull", "push"]), source]));
    let all = |list: Value| claims(move |c| c["access"] = list.clone());
    compare(&table! {
        Allowed "with a class": with("class", json!("plugin"));
        Allowed "with an empty class": with("class", json!(""));
        Allowed "with another member": with("x", json!([1, {"y": null}]));
        Any "a null class": with("class", json!(null));
        Unknown "a number as class": with("class", json!(1));
        Denied "no type": lacking("type");
        Any "a null type": with("type", json!(null));
        Denied "the type registry": with("type", json!("registry"));
        Denied "a capital in the type": with("type", json!("Repository"));
        Denied "the class in the type": with("type", json!("repository(plugin)"));
        Denied "an asterisk as type": with("type", json!("*"));
        Denied "no name": lacking("name");
        Any "a null name": with("name", json!(null));
        Unknown "a list as name": with("name", json!(["src"]));
        Denied "no actions": lacking("actions").falls_back();
        Any "null actions": with("actions", json!(null)).falls_back();
        Unknown "a null action beside pull": with("actions", json!([null, "pull"]));
        Unknown "a number as action beside pull": with("actions", json!(["pull", 1]));
        Unknown "a string as actions": with("actions", json!("pull"));
        Any "an empty entry and none for the source": source(json!({}));
        Unknown "a string as entry": source(json!("repository:src:pull"));
        Unknown "a null entry in place of the source": source(json!(null)).panics();
        Any "access is null": all(json!(null));
        Unknown "access is an object": all(json!({}));
        Unknown "access is a string": all(json!("*"));
        Denied "no access": claims(|c| without(c, "access"));
    });
}
