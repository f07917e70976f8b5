//! Real buildah and podman, with a store of their own, and the images that the tests make.

use super::helm::project;
use super::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The image of this checkout.
pub const CROSSMOUNT: &str = "localhost/crossmount-tests/crossmount";
/// What the chart calls the registry's image.
pub const REGISTRY: &str = "docker.io/library/registry:2.8.3";
const BASE: &str = "localhost/crossmount-tests/base";
const RUST: &str = "localhost/crossmount-tests/rust";

/// Debian's registry under the name of the official image's command.
const REGISTRY_FILE: &str = "FROM localhost/crossmount-tests/base\n\
     RUN ln -s docker-registry /usr/bin/registry\n";
/// Where the official image has Rust; crates come from the machine's own cache.
const RUST_FILE: &str = "FROM localhost/crossmount-tests/base\n\
     ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
     ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true CARGO_PROFILE_DEV_DEBUG=false\n";

/// Buildah and podman.
pub struct Engine {
    settings: PathBuf,
}

/// Whether images can be made and run here; says why not.
pub fn can_run() -> bool {
    if !tools::have(&["buildah", "podman", "runc", "helm3", "helm4"]) {
        return false;
    }
    if !tools::is_root() || !base().is_file() {
        tools::skip("images need root and what tests/base-image.sh makes");
        return false;
    }
    true
}

/// The one engine of this process, with all images made.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let engine = Engine::new();
        engine.make_images();
        engine
    })
}

fn base() -> PathBuf {
    tools::folder().join("base.tar")
}

impl Engine {
    fn new() -> Self {
        let settings = tools::folder().join("containers");
        fs::create_dir_all(&settings).unwrap();
        let ulimits = "[\"nofile=20000:20000\", \"nproc=4096:4096\"]";
        let text = format!(
            "[containers]\ndefault_ulimits = {ulimits}\n[engine]\nruntime = \"runc\"\n\
             cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
        );
        fs::write(settings.join("containers.conf"), text).unwrap();
        let place = |name: &str| settings.join(name).display().to_string();
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            place("storage"),
            place("run")
        );
        fs::write(settings.join("storage.conf"), text).unwrap();
        Self { settings }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("CONTAINERS_CONF", self.settings.join("containers.conf"))
            .env(
                "CONTAINERS_STORAGE_CONF",
                self.settings.join("storage.conf"),
            );
        command
    }

    /// Runs podman and wants it to succeed.
    #[track_caller]
    pub fn podman(&self, arguments: &[&str]) -> Output {
        tools::run(self.command("podman").args(arguments))
    }

    /// What podman says of something, in this form.
    #[track_caller]
    pub fn say(&self, what: &str, format: &str) -> String {
        let output = self.podman(&["inspect", "--format", format, what]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs podman, and does not care how that ends.
    pub fn try_podman(&self, arguments: &[&str]) {
        let _ = self.command("podman").args(arguments).output();
    }

    fn has(&self, image: &str) -> bool {
        let mut command = self.command("podman");
        command.args(["image", "exists", image]);
        command.status().unwrap().success()
    }

    fn make_images(&self) {
        if !self.has(BASE) {
            self.podman(&["import", base().to_str().unwrap(), BASE]);
        }
        for (image, text) in [(REGISTRY, REGISTRY_FILE), (RUST, RUST_FILE)] {
            if !self.has(image) {
                let file = self.settings.join("Containerfile");
                fs::write(&file, text).unwrap();
                let context = tempfile::tempdir().unwrap();
                self.build(image, &file, context.path(), &[]);
            }
        }
        self.make_crossmount();
    }

    /// Every step of the project's own file, on the machine's Rust and its cache of crates.
    fn make_crossmount(&self) {
        let rust = Command::new("rustc").args(["--print", "sysroot"]).output();
        let rust = String::from_utf8(rust.unwrap().stdout).unwrap();
        let cargo = std::env::var("CARGO_HOME")
            .unwrap_or_else(|_| std::env::var("HOME").unwrap() + "/.cargo");
        let target = self.settings.join("target");
        fs::create_dir_all(&target).unwrap();
        let volumes = [
            format!("{}:/usr/local/rust:ro", rust.trim()),
            format!("{cargo}:/usr/local/cargo"),
            format!("{}:/src/target", target.display()),
        ];
        let mut arguments = vec!["--build-arg", "PROFILE=dev"];
        let argument = format!("RUST={RUST}");
        arguments.extend(["--build-arg", &argument]);
        for volume in &volumes {
            arguments.extend(["--volume", volume]);
        }
        let file = project("deploy/Dockerfile");
        self.build(CROSSMOUNT, &file, &project("."), &arguments);
    }

    fn build(&self, image: &str, file: &Path, context: &Path, arguments: &[&str]) {
        let mut command = self.command("buildah");
        command.args(["bud", "--isolation", "chroot", "--pull-never"]);
        command.args(arguments).arg("--file").arg(file);
        tools::run(command.args(["--tag", image]).arg(context));
    }
}
