use http::HeaderValue;

use super::*;

fn login(text: &'static str) -> Credentials {
    Credentials::new(Some(&HeaderValue::from_static(text)))
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

#[tokio::test]
async fn a_login_is_tried_for_the_repositories_that_it_used_and_no_others() {
    let used = UsageHistory::new(PullEvidence::TokenClaims).unwrap();
    let (alice, bob) = (login("Basic YTpi"), login("Basic Yjpi"));
    used.learn(&alice, &name("a"), Use::Pulled).await;
    used.learn(&alice, &name("b"), Use::Pulled).await;
    assert_eq!(used.pull_scope(&alice).await, PullScope::these(["a", "b"]));
    assert_eq!(used.pull_scope(&bob).await, PullScope::these([]));
    let anonymous = Credentials::new(None);
    used.learn(&anonymous, &name("a"), Use::Pulled).await;
    assert_eq!(used.pull_scope(&anonymous).await, PullScope::these([]));
}

#[tokio::test]
async fn of_many_repositories_the_last_are_kept() {
    let (used, alice) = (
        UsageHistory::new(PullEvidence::TokenClaims).unwrap(),
        login("Basic YTpi"),
    );
    for number in 0..=REPOSITORIES {
        used.learn(&alice, &name(&format!("r{number}")), Use::Pulled)
            .await;
    }
    let pullable = used.pull_scope(&alice).await;
    assert!(!pullable.includes(&name("r0")));
    assert!(pullable.includes(&name("r1")));
    assert!(pullable.includes(&name(&format!("r{REPOSITORIES}"))));
}

#[tokio::test]
async fn a_token_is_tried_where_it_names_pull_itself() {
    // {"access":[{"type":"repository","name":"a","actions":["pull"]},
    //            {"type":"repository","name":"b","actions":["push"]}]}
    let token = "Bearer e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6ImEiLCJhY3Rpb25zIjpbInB1bGwiXX0seyJ0eXBlIjoicmVwb3NpdG9yeSIsIm5hbWUiOiJiIiwiYWN0aW9ucyI6WyJwdXNoIl19XX0.c2ln";
    let used = UsageHistory::new(PullEvidence::TokenClaims).unwrap();
    used.learn(&login(token), &name("c"), Use::Pulled).await;
    assert_eq!(
        used.pull_scope(&login(token)).await,
        PullScope::these(["a"])
    );
    let used = UsageHistory::new(PullEvidence::SeenUse).unwrap();
    assert_eq!(used.pull_scope(&login(token)).await, PullScope::these([]));
    used.learn(&login(token), &name("c"), Use::Pulled).await;
    assert_eq!(
        used.pull_scope(&login(token)).await,
        PullScope::these(["c"])
    );
}

#[tokio::test]
async fn an_hour_is_each_repositorys_own() {
    let (used, alice) = (
        UsageHistory::new(PullEvidence::TokenClaims).unwrap(),
        login("Basic YTpi"),
    );
    for repository in ["a", "b"] {
        used.learn(&alice, &name(repository), Use::Pulled).await;
    }
    let known = used.history_of(&alice).await.unwrap();
    let an_hour_ago = Instant::now().checked_sub(REMEMBERED_FOR).unwrap();
    known.lock().names[0].1 = an_hour_ago;
    assert_eq!(used.pull_scope(&alice).await, PullScope::these(["b"]));
    used.learn(&alice, &name("a"), Use::Pulled).await;
    assert_eq!(used.pull_scope(&alice).await, PullScope::these(["a", "b"]));
    used.forget(&alice, &name("b")).await;
    assert_eq!(used.pull_scope(&alice).await, PullScope::these(["a"]));
}

#[tokio::test]
async fn who_has_pushed_is_known() {
    let (used, alice) = (
        UsageHistory::new(PullEvidence::TokenClaims).unwrap(),
        login("Basic YTpi"),
    );
    used.learn(&alice, &name("a"), Use::Pulled).await;
    assert!(!used.has_pushed(&alice).await);
    used.learn(&alice, &name("a"), Use::Pushed).await;
    assert!(used.has_pushed(&alice).await);
    assert!(!used.has_pushed(&login("Basic Yjpi")).await);
}

#[tokio::test]
async fn behind_a_password_file_every_user_is_tried_everywhere_and_no_other_caller() {
    let used = UsageHistory::new(PullEvidence::AnyUser).unwrap();
    let everything = PullScope::Everything;
    assert_eq!(used.pull_scope(&login("Basic YTpi")).await, everything);
    // An empty name is no user.
    for other in ["Bearer e30.e30.c2ln", "Basic Og==", "Digest a"] {
        assert_eq!(used.pull_scope(&login(other)).await, PullScope::these([]));
    }
    let anonymous = Credentials::new(None);
    assert_eq!(used.pull_scope(&anonymous).await, PullScope::these([]));
}

#[tokio::test]
async fn an_open_registry_is_tried_everywhere_for_every_client() {
    let used = UsageHistory::new(PullEvidence::OpenRegistry).unwrap();
    for caller in [
        Credentials::new(None),
        login("Basic YTpi"),
        login("Bearer x"),
    ] {
        assert_eq!(used.pull_scope(&caller).await, PullScope::Everything);
    }
}

#[tokio::test]
async fn who_may_push_is_shown_by_a_token_a_password_file_or_a_push() {
    // {"access":[{"type":"repository","name":"a","actions":["pull"]},
    //            {"type":"repository","name":"b","actions":["push"]}]}
    let token = "Bearer e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6ImEiLCJhY3Rpb25zIjpbInB1bGwiXX0seyJ0eXBlIjoicmVwb3NpdG9yeSIsIm5hbWUiOiJiIiwiYWN0aW9ucyI6WyJwdXNoIl19XX0.c2ln";
    let (token, alice) = (login(token), login("Basic YTpi"));
    for (evidence, caller, repository, shown) in [
        (
            PullEvidence::TokenClaims,
            &token,
            "a",
            PushEvidence::NotListed,
        ),
        (PullEvidence::TokenClaims, &token, "b", PushEvidence::Shown),
        (
            PullEvidence::TokenClaims,
            &alice,
            "b",
            PushEvidence::Unknown,
        ),
        (PullEvidence::SeenUse, &token, "b", PushEvidence::Unknown),
        (PullEvidence::AnyUser, &alice, "b", PushEvidence::Shown),
        (PullEvidence::AnyUser, &token, "b", PushEvidence::Unknown),
        (PullEvidence::OpenRegistry, &token, "b", PushEvidence::Shown),
    ] {
        let used = UsageHistory::new(evidence).unwrap();
        let repository = name(repository);
        used.learn(caller, &repository, Use::Pulled).await;
        let before = used.push_evidence(caller, &repository).await;
        assert_eq!(before, shown, "{evidence:?} {repository}");
        used.learn(caller, &repository, Use::Pushed).await;
        let after = used.push_evidence(caller, &repository).await;
        let is_shown = after == PushEvidence::Shown;
        assert_eq!(is_shown, shown != PushEvidence::NotListed, "{evidence:?}");
    }
}
