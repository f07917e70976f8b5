//! The image and the chart's pod, for real.

use crate::support;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::image::Image;
use support::pod::Pod;
use support::podman::{CROSSMOUNT, can_run, engine};
use support::raw_http;
use support::{bytes_from, wait_until};

/// Requests that begin so shortly before the port closes may meet its end.
const CLOSING: Duration = Duration::from_millis(500);

#[test]
fn the_image_is_the_binary_and_nothing_else() {
    if !can_run() {
        return;
    }
    let engine = engine();
    let said = |format: &str| engine.say(CROSSMOUNT, format);
    assert_eq!(said("{{.Config.User}}"), "65532:65532");
    assert_eq!(
        said("{{.Config.Entrypoint}} {{.Config.Cmd}}"),
        "[/crossmount] [serve]"
    );
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("image.tar");
    let container = "crossmount-tests-files";
    engine.try_podman(&["rm", "--force", container]);
    engine.podman(&["create", "--name", container, CROSSMOUNT]);
    let output = ["export", "--output", archive.to_str().unwrap(), container];
    engine.podman(&output);
    engine.podman(&["rm", container]);
    let listed = support::tools::run(std::process::Command::new("tar").arg("-tf").arg(&archive));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<_> = listed.lines().filter(|name| !name.ends_with('/')).collect();
    assert_eq!(files, ["crossmount"], "{listed}");
    let version = engine.podman(&[
        "run",
        "--rm",
        "--read-only",
        "--cap-drop=all",
        "--network=none",
        CROSSMOUNT,
        "--version",
    ]);
    let version = String::from_utf8(version.stdout).unwrap();
    let wanted = concat!("crossmount ", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.trim(), wanted);
}

/// Every file and folder below, with its owner.
fn owners(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        found.push((path.display().to_string(), about.uid()));
        if about.is_dir() {
            owners(&path, found);
        }
    }
}

fn mounted(pod: &Pod) -> u64 {
    let metrics = raw_http::get(pod.admin, "/metrics").expect(200).text();
    let line = "crossmount_mounts_total{outcome=\"mounted\",reason=\"none\"} ";
    let value = metrics.lines().find_map(|text| text.strip_prefix(line));
    value.unwrap().parse().unwrap()
}

/// Calls `work` again and again until it fails; gives the time at which the failing call began.
fn until_it_fails(began: Instant, mut work: impl FnMut(usize) -> Result<(), String>) -> Failure {
    for turn in 0.. {
        let at = began.elapsed();
        if let Err(what) = work(turn) {
            return Failure { at, what };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    unreachable!("a pod serves for ever");
}

struct Failure {
    at: Duration,
    what: String,
}

/// One request on a connection of its own: `Err` where the connection was refused or broke.
fn ask(request: &raw_http::Request, port: u16, wanted: u16) -> Result<raw_http::Answer, String> {
    let answer = request.try_send(port).map_err(|error| error.to_string())?;
    assert_eq!(answer.status, wanted, "{answer:?}");
    Ok(answer)
}

#[test]
fn the_pod_takes_an_image_mounts_it_and_ends_under_load_without_a_failed_request() {
    if !can_run() {
        return;
    }
    let pod = Pod::play();
    for (container, user) in [("registry", "1000:1000"), ("crossmount", "1000:1000")] {
        let format = "{{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{.EffectiveCaps}} \
                      {{.HostConfig.SecurityOpt}}";
        let said = pod.say(container, format);
        assert_eq!(
            said,
            format!("true {user} [] [no-new-privileges]"),
            "{container}"
        );
    }
    let client = pod.client();
    let image = Image::of(&["one", "two"], 100_000);
    image.push(&client, "team/base", "v1");
    for blob in image.blobs() {
        client
            .mount("team/app", &blob.digest, "team/base")
            .expect(201);
    }
    let manifest = &image.manifest.bytes;
    client.put_manifest("team/app", "v1", manifest).expect(201);
    image.pull(&client, "team/app", "v1");
    assert_eq!(mounted(&pod), 3);
    let mut found = Vec::new();
    owners(&pod.root(), &mut found);
    found.retain(|(_, owner)| *owner != 1000);
    assert_eq!(found, []);
    ends_under_load(&pod, &image.blobs().next().unwrap().digest);
}

/// Pulls, mounts and an upload are under way while the pod is told to end.
fn ends_under_load(pod: &Pod, digest: &str) {
    let (client, port) = (&pod.client(), pod.port);
    let told = Mutex::new(None);
    let (is_told, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = Instant::now();
    let failures: Vec<Failure> = std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|number| {
                let turns = &turns;
                scope.spawn(move || {
                    until_it_fails(began, |turn| {
                        turns.fetch_add(1, Ordering::Relaxed);
                        ask(&client.request("GET", "/v2/"), port, 200)?;
                        let target = format!("new/{number}/{turn}");
                        let path =
                            support::registry_client::mount_target(&target, digest, "team/base");
                        ask(&client.request("POST", &path), port, 201)?;
                        let path = format!("/v2/{target}/blobs/{digest}");
                        ask(&client.request("GET", &path), port, 200).map(drop)
                    })
                })
            })
            .collect();
        wait_until("there is load", || turns.load(Ordering::Relaxed) > 40);
        let upload = scope.spawn(|| slow_upload(pod, &is_told));
        wait_until("the upload is on its way", || {
            in_flight(pod) > 0 && turns.load(Ordering::Relaxed) > 60
        });
        *told.lock().unwrap() = Some(began.elapsed());
        is_told.store(true, Ordering::Release);
        let registry = scope.spawn(|| pod.end_registry());
        let start = Instant::now();
        pod.end_crossmount();
        assert!(start.elapsed() < Pod::TIMEOUT, "{:?}", start.elapsed());
        assert_eq!(pod.say("crossmount", "{{.State.ExitCode}}"), "0");
        upload.join().unwrap();
        registry.join().unwrap();
        load.into_iter().map(|load| load.join().unwrap()).collect()
    });
    let told = told.into_inner().unwrap().unwrap();
    for Failure { at, what } in failures {
        assert!(
            at + CLOSING > told + Pod::DRAIN_DELAY,
            "{what} at {at:?}, and it was told to end at {told:?}"
        );
    }
}

fn in_flight(pod: &Pod) -> u64 {
    let metrics = raw_http::get(pod.admin, "/metrics").expect(200).text();
    let name = "crossmount_requests_in_flight ";
    let value = metrics.lines().find_map(|text| text.strip_prefix(name));
    value.unwrap().parse().unwrap()
}

/// An upload that goes on for two seconds after the port has closed, and succeeds.
fn slow_upload(pod: &Pod, is_told: &AtomicBool) {
    let client = pod.client();
    let bytes = bytes_from("slow", 4 << 20);
    let opened = client.begin("team/slow").expect(202);
    let path = support::registry_client::closing(&opened, &support::digest_of(&bytes));
    let request = client.request("PUT", &path).body(&bytes).bytes(pod.port);
    let mut connection = client.connect();
    let (first, rest) = request.split_at(request.len() / 2);
    connection.write(first).unwrap();
    wait_until("the pod is told to end", || is_told.load(Ordering::Acquire));
    wait_until("the port is closed", || {
        raw_http::Connection::to(pod.port).is_err()
    });
    std::thread::sleep(Duration::from_secs(2));
    connection.write(rest).unwrap();
    connection.answer("PUT").unwrap().expect(201);
}
