use super::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_users_name_cannot_begin_a_line_of_its_own_in_the_log() {
    let name = RepositoryName::parse("a").unwrap();
    let shown = |user: &str| {
        let basis = Basis::new(Proof::Token, None);
        let lease = Lease::new(RegistryState::default().observe(), Duration::ZERO);
        Grant::new(&name, &name, Some(user.to_owned()), basis, lease).user()
    };
    assert_eq!(shown("alice").as_deref(), Some("alice"));
    assert_eq!(
        shown("a\nlinked\u{1b}").as_deref(),
        Some("a\\nlinked\\u{1b}")
    );
    assert_eq!(shown(&"x".repeat(1000)).unwrap().len(), LONGEST_NAME);
}

#[test]
fn it_ends_with_its_time_but_not_before_a_link_can_be_written() {
    let registry_state = RegistryState::default();
    assert!(Lease::new(registry_state.observe(), Duration::ZERO).is_valid(&registry_state));
    let lease = Lease::new(registry_state.observe(), LONG);
    let over = lease.clone().limited_to(Some(Instant::now()));
    assert!(lease.is_valid(&registry_state) && !over.is_valid(&registry_state));
    assert!(lease.limited_to(None).is_valid(&registry_state));
}

#[test]
fn its_last_moment_is_for_links_that_are_on_their_way() {
    let registry_state = RegistryState::default();
    let of_age = |age| Lease::new(registry_state.observe().older_by(age), LONG);
    let (half, old) = (of_age(LONG / 2), of_age(LONG * 9 / 10));
    assert!(half.has_time_left(&registry_state) && half.is_valid(&registry_state));
    assert!(!old.has_time_left(&registry_state) && old.is_valid(&registry_state));
    half.revoke();
    assert!(!half.has_time_left(&registry_state));
}

#[test]
fn it_ends_for_all_that_rest_on_it_when_it_is_withdrawn() {
    let registry_state = RegistryState::default();
    let lease = Lease::new(registry_state.observe(), LONG);
    let other = Lease::new(registry_state.observe(), LONG);
    let same = lease.clone().limited_to(None);
    lease.revoke();
    assert!(!same.is_valid(&registry_state) && other.is_valid(&registry_state));
}

#[test]
fn it_ends_with_the_registrys_standing() {
    let registry_state = RegistryState::default();
    let lease = Lease::new(registry_state.observe(), LONG);
    registry_state.record_write_refused();
    assert!(!lease.is_valid(&registry_state));
}
