mod memory_flights;

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;

use self::memory_flights::MemoryFlights;
use super::*;
use crate::discovery::redis::FlightState;
use crate::discovery::uploads::tests::{Case, MINUTE, arrived, blob, name, now, wait};
use crate::oci::Digest;

fn replica(board: &Arc<MemoryFlights>) -> Case {
    let gauge = IntGauge::new("held", "HEADs").unwrap();
    let uploads = UploadsInFlight::new(MINUTE, gauge).unwrap();
    Case(Arc::new(uploads.sharing(board.clone()).unwrap()))
}

fn replicas() -> (Arc<MemoryFlights>, Case, Case) {
    let board = Arc::new(MemoryFlights {
        key: Some("key"),
        ..MemoryFlights::default()
    });
    let (one, other) = (replica(&board), replica(&board));
    (board, one, other)
}

/// A flight of a replica that writes whatever a test wants.
fn made_up(state: FlightState, repository: &str) -> Flight {
    Flight {
        state,
        beat: 1,
        age: Duration::from_secs(1),
        received: 10,
        length: None,
        is_token: false,
        login: None,
        repository: name(repository),
    }
}

fn digest(layer: &str) -> [u8; 32] {
    Digest::of(layer.as_bytes()).bytes()
}

/// One that is held polls each quarter of a second.
const SOON: Duration = Duration::from_millis(600);

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
async fn a_head_waits_for_a_claim_and_an_upload_through_another_replica() {
    let (board, one, other) = replicas();
    one.claim("a", "alice", "layer");
    assert_eq!(board.states("layer"), [FlightState::Claimed]);
    let mut head = other.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), None);
    drop(head);
    one.begin("a", "alice", "session");
    assert_eq!(board.states("layer"), [FlightState::Uploading]);
    let mut head = other.head("b", "bob", "layer");
    let (waited, ()) = tokio::join!(wait(&mut head), async {
        pause(50).await;
        assert_eq!(other.held(), 1);
        one.0.arrived(&blob("a", "layer"));
    });
    assert_eq!(waited, arrived("a"));
    // The arrival can be seen for a while, but is tried once.
    assert_eq!(board.states("layer"), [FlightState::Arrived]);
    assert_eq!(
        tokio::time::timeout(SOON, wait(&mut head)).await,
        Ok(Waited::Released)
    );
}

#[tokio::test]
async fn of_two_that_claim_at_the_same_moment_one_goes_on() {
    let (_, one, other) = replicas();
    let mut heads = [
        one.head("a", "alice", "layer"),
        other.head("b", "bob", "layer"),
    ];
    // Both have asked before either claims.
    for head in &mut heads {
        head.fetch_remote().await;
    }
    let [first, second] = &mut heads;
    assert_eq!(now(wait(first)), Some(Waited::Released));
    assert_eq!(now(wait(second)), None);
    assert_eq!(other.held(), 1);
    // Nor does the one that went on wait when it asks again.
    assert_eq!(
        now(wait(&mut one.head("a", "alice", "layer"))),
        Some(Waited::Released)
    );
}

#[tokio::test]
async fn when_an_upload_breaks_off_one_over_all_replicas_takes_its_place() {
    let (_, one, other) = replicas();
    one.claim("a", "alice", "layer");
    one.begin("a", "alice", "session");
    let request = one.request("session");
    let mut heads = [
        one.head("b", "bob", "layer"),
        one.head("c", "carol", "layer"),
        other.head("d", "dora", "layer"),
        other.head("e", "emil", "layer"),
    ];
    let ended = Mutex::new(Vec::new());
    let ends = async |head: &mut WaitingHead<'_>| {
        let waited = wait(head).await;
        ended.lock().push(waited);
    };
    let [b, c, d, e] = &mut heads;
    let all = async { tokio::join!(ends(b), ends(c), ends(d), ends(e)) };
    let (_, ()) = tokio::join!(tokio::time::timeout(3 * SOON, all), async {
        pause(50).await;
        assert_eq!(one.held() + other.held(), 4);
        drop(request);
    });
    assert_eq!(*ended.lock(), [Waited::Released]);
    drop(heads);
    assert_eq!(one.held() + other.held(), 0);
}

#[tokio::test]
async fn the_bytes_of_an_upload_are_told_each_second_and_its_silence_once() {
    let (board, one, _) = replicas();
    one.claim("a", "alice", "layer");
    one.begin("a", "alice", "session");
    let request = one.request("session");
    request.add(10);
    board.log();
    let tell = || one.0.table.lock().publish_all();
    tell();
    let told = board.flights.lock()[&digest("layer")][0].1.clone();
    assert_eq!((told.state, told.received), (FlightState::Uploading, 10));
    tell();
    let again = board.flights.lock()[&digest("layer")][0].1.clone();
    assert_ne!(told.beat, again.beat);
    pause(2100).await;
    board.log();
    tell();
    tell();
    assert_eq!(board.log(), ["record"]);
    assert_eq!(board.states("layer"), [FlightState::Silent]);
    pause(2100).await;
    tell();
    assert_eq!(board.log(), ["forget"]);
    assert_eq!(board.states("layer"), []);
    drop(request);
}

#[tokio::test]
async fn without_uploads_nothing_is_told() {
    let (board, one, _) = replicas();
    one.0.table.lock().publish_all();
    one.claim_tentatively("a", "alice", "layer");
    one.0.table.lock().publish_all();
    assert_eq!(board.log(), ["fetch"]);
}

#[tokio::test]
async fn a_replica_that_is_gone_is_waited_for_only_a_short_time() {
    let (board, one, _) = replicas();
    let id = FlightId::new([7; 8], 1);
    board.add(digest("layer"), id, made_up(FlightState::Uploading, "a"));
    let mut head = one.head("b", "bob", "layer");
    let began = Instant::now();
    assert_eq!(wait(&mut head).await, Waited::Released);
    let took = began.elapsed();
    let expected = Duration::from_millis(2900)..Duration::from_secs(5);
    assert!(expected.contains(&took), "{took:?}");
    assert!(
        !board.flights.lock()[&digest("layer")]
            .iter()
            .any(|it| it.0 == id)
    );
    board.add(digest("layer"), id, made_up(FlightState::Uploading, "a"));
    // Later HEADs do not wait at all; bob's own claim is of this replica.
    assert_eq!(
        now(wait(&mut one.head("b", "bob", "layer"))),
        Some(Waited::Released)
    );
}

#[tokio::test]
async fn who_may_not_pull_there_asks_and_tells_the_same_as_without_an_upload() {
    let (board, one, _) = replicas();
    let id = FlightId::new([7; 8], 1);
    let mut seen = Vec::new();
    for (layer, state) in [
        ("claimed", Some(FlightState::Claimed)),
        ("uploading", Some(FlightState::Uploading)),
        ("arrived", Some(FlightState::Arrived)),
        ("silent", Some(FlightState::Silent)),
        ("absent", None),
    ] {
        if let Some(state) = state {
            board.add(digest(layer), id, made_up(state, "secret"));
        }
        board.log();
        let mut head = one.head("b", "bob", layer);
        head.fetch_remote().await;
        for repository in head.undecided() {
            head.decide(repository, false);
        }
        assert_eq!(now(head.wait()), Some(Waited::Released), "{layer}");
        assert!(!head.is_held());
        seen.push(board.log());
    }
    assert!(
        seen.iter().all(|log| *log == ["fetch", "claim"]),
        "{seen:?}"
    );
}

#[tokio::test]
async fn who_may_not_pull_where_the_first_claims_goes_on_with_its_own_claim() {
    let (board, one, other) = replicas();
    let mut second = other.head("b", "bob", "layer");
    second.fetch_remote().await;
    one.claim("a", "alice", "layer");
    board.log();
    assert_eq!(now(second.wait()), Some(Waited::Undecided));
    assert_eq!(second.undecided(), [name("a")]);
    second.decide(name("a"), false);
    second.fetch_remote().await;
    assert_eq!(now(second.wait()), Some(Waited::Released));
    assert_eq!(board.log(), ["claim"]);
    assert_eq!(board.states("layer"), [FlightState::Claimed; 2]);
    // A third that may pull from the second's repository alone waits for it.
    let mut third = one.head("c", "carol", "layer");
    third.fetch_remote().await;
    third.decide(name("a"), false);
    third.decide(name("b"), true);
    assert_eq!(now(third.wait()), None);
}

#[tokio::test]
async fn a_board_that_is_down_leaves_the_local_behaviour() {
    let (board, one, other) = replicas();
    *board.is_down.lock() = true;
    one.claim("a", "alice", "layer");
    assert_eq!(now(wait(&mut one.head("b", "bob", "layer"))), None);
    other.claim("c", "carol", "layer");
    *board.is_down.lock() = false;
    // The uploads become known once it answers.
    one.begin("a", "alice", "session");
    let third = replica(&board);
    assert_eq!(now(wait(&mut third.head("d", "dora", "layer"))), None);
}

#[tokio::test]
async fn a_client_that_asks_twice_does_not_wait_for_itself_at_another_replica() {
    for key in [Some("key"), None] {
        let board = Arc::new(MemoryFlights {
            key,
            ..MemoryFlights::default()
        });
        let (one, other) = (replica(&board), replica(&board));
        one.claim("a", "alice", "layer");
        let mut again = other.head("a", "alice", "layer");
        assert_eq!(now(wait(&mut again)), Some(Waited::Released), "{key:?}");
        one.begin("a", "alice", "session");
        assert_eq!(now(wait(&mut other.head("a", "alice", "layer"))), None);
    }
}

#[tokio::test]
async fn logins_are_told_only_with_a_key_that_replicas_share() {
    for key in [Some("key"), None] {
        let board = Arc::new(MemoryFlights {
            key,
            ..MemoryFlights::default()
        });
        replica(&board).claim("a", "alice", "layer");
        let login = board.flights.lock()[&digest("layer")][0].1.login;
        assert_eq!(login.is_some(), key.is_some());
    }
}

#[tokio::test]
async fn one_that_let_a_head_wait_in_vain_at_another_replica_is_not_waited_for_again() {
    for key in [Some("key"), None] {
        let board = Arc::new(MemoryFlights {
            key,
            ..MemoryFlights::default()
        });
        let one = replica(&board);
        let gauge = IntGauge::new("held", "HEADs").unwrap();
        let short = UploadsInFlight::new(Duration::from_millis(300), gauge).unwrap();
        let other = Case(Arc::new(short.sharing(board.clone()).unwrap()));
        one.claim("a", "alice", "layer");
        one.begin("a", "alice", "session");
        let mut head = other.head("b", "bob", "layer");
        assert_eq!(wait(&mut head).await, Waited::TimedOut, "{key:?}");
        // Bob's client uploads it now, through this replica.
        other.0.arrived(&blob("b", "layer"));
        one.claim("a", "alice", "another");
        one.begin("a", "alice", "session 2");
        other.claim("c", "carol", "another");
    }
}

#[tokio::test]
async fn a_silent_client_of_another_replica_is_not_waited_for_again() {
    let (board, one, _) = replicas();
    let id = FlightId::new([7; 8], 1);
    board.add(digest("layer"), id, made_up(FlightState::Uploading, "a"));
    let mut head = one.head("b", "bob", "layer");
    let (waited, ()) = tokio::join!(wait(&mut head), async {
        pause(50).await;
        let silent = Flight {
            beat: 2,
            ..made_up(FlightState::Silent, "a")
        };
        board.add(digest("layer"), id, silent);
    });
    assert_eq!(waited, Waited::Released);
    let second = FlightId::new([7; 8], 2);
    board.add(
        digest("other"),
        second,
        made_up(FlightState::Uploading, "a"),
    );
    one.claim("c", "carol", "other");
}

#[tokio::test]
async fn made_up_arrivals_are_tried_a_few_times() {
    let (board, one, _) = replicas();
    for number in 0..100 {
        let id = FlightId::new([7; 8], number);
        let repository = format!("made/up{number}");
        board.add(
            digest("layer"),
            id,
            made_up(FlightState::Arrived, &repository),
        );
    }
    let mut head = one.head("b", "bob", "layer");
    let mut tried = 0;
    while let Waited::Arrived(_) = wait(&mut head).await {
        tried += 1;
        head.remote.is_stale = true;
    }
    assert_eq!(tried, MOST_TRIED);
}

#[tokio::test]
async fn an_upload_elsewhere_that_cannot_be_in_time_is_not_waited_for() {
    let (board, one, _) = replicas();
    one.0.table.lock().record_rate(1000, Duration::from_secs(1));
    let whole = |length| Flight {
        length: Some(length),
        ..made_up(FlightState::Uploading, "a")
    };
    let id = FlightId::new([7; 8], 1);
    board.add(digest("small"), id, whole(50_000));
    board.add(digest("large"), id, whole(70_000));
    assert_eq!(now(wait(&mut one.head("b", "bob", "small"))), None);
    one.claim("b", "bob", "large");
}

#[tokio::test]
async fn a_slow_upload_elsewhere_lets_one_through() {
    let (board, one, _) = replicas();
    for _ in 0..3 {
        one.0.table.lock().record_rate(1000, Duration::from_secs(1));
    }
    let id = FlightId::new([7; 8], 1);
    board.add(digest("layer"), id, made_up(FlightState::Uploading, "a"));
    let mut heads = [
        one.head("b", "bob", "layer"),
        one.head("c", "carol", "layer"),
    ];
    let [b, c] = &mut heads;
    let ended = tokio::select! {
        waited = wait(b) => waited,
        waited = wait(c) => waited,
        () = tokio::time::sleep(2 * SOON) => panic!("none went on"),
    };
    assert_eq!(ended, Waited::Released);
    assert_eq!(board.states("layer").len(), 2);
    // A later one waits.
    let mut third = one.head("d", "dora", "layer");
    assert!(tokio::time::timeout(SOON, wait(&mut third)).await.is_err());
}
