//! A registry and a sidecar on a volume of their own, to which things can be done.

use crate::support::compare::{ComparableResponse, essence};
use crate::support::digest_of;
use crate::support::filesystems::MountedFilesystem;
use crate::support::raw_http::Answer;
use crate::support::registry::Registry;
use crate::support::registry_client::Client;
use crate::support::sidecar::{self, Sidecar, generous_time_budget};
use crate::support::version::version;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

pub const BLOB: &[u8] = b"a blob on a volume to which things are done";

/// What a mount may take: the usual budget, which is not needed where nothing hangs, and room for a
/// machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(2 + 6);

/// The disk goes before those who use it, so that none of them waits for it.
pub struct Volume {
    pub disk: Option<MountedFilesystem>,
    pub sidecar: Sidecar,
    pub registry: Registry,
    /// A blob in `source`.
    pub digest: String,
    /// Where mounts were asked for that the registry answered.
    asked: RefCell<Vec<String>>,
}

impl Volume {
    /// What `disk` gives is mounted where the registry's root is.
    pub fn on(disk: impl FnOnce(&Registry) -> MountedFilesystem) -> Self {
        let mut registry = Registry::prepared(|_| ());
        let disk = disk(&registry);
        registry.resume();
        let sidecar = Sidecar::with(&registry, patient);
        Self::of(Some(disk), registry, sidecar)
    }

    /// An ordinary folder, which belongs to the user as whom both run.
    pub fn of_user(user: u32) -> Self {
        let mut registry = Registry::prepared(|_| ());
        registry.user = Some(user);
        let home = registry.home().to_owned();
        fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(&registry.store.root).unwrap();
        chown(&registry.store.root, Some(user), Some(user)).unwrap();
        registry.resume();
        // Where the binary lies may be a place that this user cannot come to.
        let (binary, file) = (home.join("crossmount"), home.join("crossmount.yml"));
        fs::copy(sidecar::BINARY, &binary).unwrap();
        let mut config = sidecar::config(&registry.url(), &registry.store.root);
        patient(&mut config);
        fs::write(&file, config.to_string()).unwrap();
        let mut command = sidecar::command(&binary.to_string_lossy());
        command.uid(user).gid(user);
        command.args(["serve", "--config"]).arg(file);
        let sidecar = Sidecar::run(command);
        Self::of(None, registry, sidecar)
    }

    fn of(disk: Option<MountedFilesystem>, registry: Registry, sidecar: Sidecar) -> Self {
        sidecar.verify_store();
        Self {
            disk,
            digest: sidecar.client().upload("source", BLOB),
            sidecar,
            registry,
            asked: RefCell::default(),
        }
    }

    pub fn client(&self) -> Client {
        self.sidecar.client()
    }

    #[track_caller]
    pub fn mounts_itself(&self, target: &str) {
        let before = self.sidecar.mounted();
        let answer = self.client().mount(target, &self.digest, "source");
        answer.expect(201);
        assert_eq!(self.sidecar.mounted(), before + 1, "{target}");
        self.is_whole(target);
    }

    #[track_caller]
    fn is_whole(&self, target: &str) {
        let link = fs::read_to_string(self.registry.store.link(target, &self.digest)).unwrap();
        assert_eq!(link, self.digest, "{target}");
        for client in [self.client(), self.registry.client()] {
            assert_eq!(client.pull(target, &self.digest), BLOB, "{target}");
        }
    }

    /// A mount into a new repository is answered as by the registry alone, which is asked too, and
    /// counted for this reason.
    #[track_caller]
    pub fn is_left_to_the_registry(&self, below: &str, reason: &str) -> u16 {
        let (own, before) = (
            self.sidecar.mounted(),
            self.sidecar.mounts_with_reason(reason),
        );
        let alone = self.mount_new(below, &self.registry.client());
        let began = Instant::now();
        let behind = self.mount_new(below, &self.client());
        let took = began.elapsed();
        assert!(took < LIMIT, "{below}: {took:?}");
        assert_eq!(behind, alone);
        assert_eq!(self.sidecar.mounted(), own);
        let counted = self.sidecar.mounts_with_reason(reason);
        assert_eq!(counted, before + 1, "{:?}", self.sidecar.all_mounts());
        alone.status
    }

    fn mount_new(&self, below: &str, client: &Client) -> ComparableResponse {
        let target = format!("{below}/{:04}", self.asked.borrow().len());
        self.asked.borrow_mut().push(target.clone());
        let answer = client.mount(&target, &self.digest, "source");
        let named = |text: String| {
            let port = format!("127.0.0.1:{}", client.port);
            without_session(&text.replace(&target, "TARGET").replace(&port, "HOST"))
        };
        let ComparableResponse {
            status,
            headers,
            body,
        } = essence(&answer);
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name, named(value)));
        ComparableResponse {
            status,
            headers: headers.collect(),
            body: named(body),
        }
    }

    /// Pushes that failed are made again: by mounts of our own, where the registry has not linked.
    #[track_caller]
    pub fn all_are_mounted_at_last(&self) {
        for target in self.asked.take() {
            let answer = self.client().mount(&target, &self.digest, "source");
            answer.expect(201);
            self.is_whole(&target);
        }
        let store = &self.registry.store;
        for file in store.files() {
            if let Some(folder) = file.strip_suffix("/link")
                && let Some((_, digest)) = folder.split_once("/_layers/")
            {
                let content = fs::read_to_string(store.root.join(&file)).unwrap();
                assert_eq!(content, digest.replace('/', ":"), "{file}");
            }
        }
        self.nothing_is_left_beside_links();
    }

    /// What only passes is answered as by the registry alone.
    #[track_caller]
    pub fn others_do_not_notice(&self) {
        let targets = [
            "/v2/".to_owned(),
            "/v2/source/tags/list".to_owned(),
            format!("/v2/source/blobs/{}", self.digest),
            format!("/v2/source/blobs/{}", digest_of(b"missing")),
        ];
        for target in targets {
            let [alone, behind] = [self.registry.client(), self.client()]
                .map(|client| client.get(&target))
                .map(|answer: Answer| (answer.status, answer.body));
            assert_eq!(behind, alone, "{target}");
        }
    }

    #[track_caller]
    pub fn nothing_is_left_beside_links(&self) {
        let mut stray = self.registry.store.stray_files();
        if version().leaves_temporary_files() {
            stray.retain(|file| file.contains("crossmount"));
        }
        assert_eq!(stray, [""; 0]);
    }
}

/// What is refused is refused at once; a disk that stands still meanwhile is not looked at here.
fn patient(config: &mut Value) {
    generous_time_budget(config);
}

/// A session's name, which is in the path of a call that failed, is another one each time; so is
/// that of the temporary file in which distribution 3 writes.
fn without_session(text: &str) -> String {
    without_name(&without_name(text, "/_uploads/"), "/startedat.")
}

/// Without the uuid that stands behind `place`.
fn without_name(text: &str, place: &str) -> String {
    match text.split_once(place) {
        Some((before, rest)) if rest.len() > 36 => {
            format!("{before}{place}{}", rest.get(36..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}
