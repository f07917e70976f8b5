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
    let used = UsageHistory::new(ClaimsTrust::Read).unwrap();
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
        UsageHistory::new(ClaimsTrust::Read).unwrap(),
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
    let used = UsageHistory::new(ClaimsTrust::Read).unwrap();
    used.learn(&login(token), &name("c"), Use::Pulled).await;
    assert_eq!(
        used.pull_scope(&login(token)).await,
        PullScope::these(["a"])
    );
    let used = UsageHistory::new(ClaimsTrust::Ignored).unwrap();
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
        UsageHistory::new(ClaimsTrust::Read).unwrap(),
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
        UsageHistory::new(ClaimsTrust::Read).unwrap(),
        login("Basic YTpi"),
    );
    used.learn(&alice, &name("a"), Use::Pulled).await;
    assert!(!used.has_pushed(&alice).await);
    used.learn(&alice, &name("a"), Use::Pushed).await;
    assert!(used.has_pushed(&alice).await);
    assert!(!used.has_pushed(&login("Basic Yjpi")).await);
}
