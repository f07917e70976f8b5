//! From where layers may come.

use super::*;

#[test]
fn discovery_settings_choose_the_sources() {
    let shared = "discovery: {enabled: true, on_head: true, shared_sources: ['base/**']}\n";
    let config = load(&format!("{MINIMAL}{shared}")).unwrap();
    let discovery = distribution(&config).discovery.as_ref().unwrap();
    assert!(discovery.on_head && discovery.new_repositories);
    assert_eq!(discovery.sources, Sources::Shared);
    let name = crate::oci::RepositoryName::parse("base/a/b").unwrap();
    assert!(discovery.shared.matches(&name));
    let known = "discovery: {enabled: true, sources: any, new_repositories: false}\n";
    for kind in [MINIMAL, PULP, GENERIC] {
        let config = load(&format!("{kind}{known}")).unwrap();
        let discovery = config.kind.discovery();
        assert!(!discovery.unwrap().new_repositories);
    }
    let off = "discovery: {enabled: false, sources: any, new_repositories: true}\n";
    let config = load(&format!("{MINIMAL}{off}")).unwrap();
    assert!(distribution(&config).discovery.is_none());
    let open = format!("{MINIMAL}access: {{mode: none}}\n");
    let any = "discovery: {enabled: true, sources: any}\n";
    assert!(load(&format!("{open}{any}")).is_ok());
    for (text, setting) in [
        (
            format!("{MINIMAL}discovery: {{enabled: true}}"),
            "discovery.shared_sources",
        ),
        (
            format!("{MINIMAL}discovery: {{on_head: true}}"),
            "discovery.on_head",
        ),
        (
            format!("{MINIMAL}discovery: {{new_repositories: false}}"),
            "discovery.new_repositories",
        ),
        (
            format!("{PULP}discovery: {{widen_scopes: true}}"),
            "discovery.widen_scopes",
        ),
        (
            format!("{GENERIC}discovery: {{enabled: true, sources: any, widen_scopes: true}}"),
            "token_endpoint.path",
        ),
        (
            format!("{MINIMAL}discovery: {{enabled: true, shared_sources: ['A/*']}}"),
            "discovery.shared_sources",
        ),
        (
            format!("{MINIMAL}discovery: {{enabled: true, sources: some}}"),
            "discovery.sources",
        ),
        (
            format!("{open}discovery: {{enabled: true, sources: namespace}}"),
            "discovery.sources",
        ),
        (format!("{open}{shared}"), "discovery.sources"),
    ] {
        let text = error(&text);
        assert!(text.starts_with(&format!("{setting}: ")), "{text}");
    }
}

#[test]
fn heads_may_wait_in_front_of_any_kind_of_registry() {
    let waiting = "discovery: {enabled: true, on_head: true, sources: any, wait_for_uploads: 9s}\n";
    for kind in [PULP, GENERIC] {
        load(&format!("{kind}{waiting}")).unwrap();
    }
}

#[test]
fn discovery_in_front_of_other_registries_has_a_time_budget_too() {
    let any =
        "discovery: {enabled: true, sources: any, widen_scopes: true}\nmount: {time_budget: 1s}\n";
    let config = load(&format!("{PULP}{any}")).unwrap();
    let RegistryKind::Pulp(pulp) = &config.kind else {
        panic!("{config:?}")
    };
    assert!(pulp.discovery.is_some());
    assert_eq!(pulp.time_budget, Duration::from_secs(1));
    let endpoint = config.token_endpoint.unwrap();
    assert!(endpoint.widens_scopes && endpoint.remembered_for.is_none());
    assert_eq!(endpoint.path, "/token/");
}
