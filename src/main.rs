//! The program: parses arguments, loads the configuration and runs a command.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use crossmount::cli::{self, Cli, Command, Settings, StorePlace};
use crossmount::config::Config;
use crossmount::report::{ReportError, ReportSource};
use crossmount::server::{self, ReloadSource};
use crossmount::{check, report, telemetry};
use tokio::runtime::{Builder, Runtime};

/// The exit code for a configuration that cannot be used (`EX_USAGE`).
const USAGE: u8 = 64;
/// The niceness of threads that work on the disk (nice(1)): about a tenth of the others' share.
const DISK_NICENESS: i32 = 10;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // The whole binary uses one crypto provider; a second call could only install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match command {
        Command::Serve { settings } => with(settings.clone(), |runtime, config| {
            let log = telemetry::init_log(config.log);
            let reload = ReloadSource {
                file: settings.file(),
                load: Box::new(move || settings.clone().load()),
                level: log.level(),
            };
            let ended = runtime.block_on(server::run(config, reload, log.dropped()));
            // The queued log lines are written before the last error.
            drop(log);
            ended.map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS)
        }),
        Command::Check {
            settings,
            offline,
            registry_config,
        } => with(settings, |runtime, config| {
            let registry_config = registry_config.as_deref();
            let findings = if offline {
                check::offline(&config, registry_config)
            } else {
                runtime.block_on(check::run(&config, registry_config))
            };
            let text = findings.lines().join("\n") + "\n";
            match print(text.as_bytes()) {
                Ok(()) => ExitCode::from(u8::from(!findings.is_ok())),
                Err(error) => fail(&error, 1),
            }
        }),
        Command::Report {
            place,
            s3_region,
            s3_endpoint,
            s3_root,
            json,
        } => match report_source(place, s3_region, s3_endpoint, s3_root) {
            Ok(source) => report(&source, json),
            Err(error) => fail(&error, USAGE),
        },
        Command::Completions { shell } => end(print(&cli::completions(shell))),
        Command::Man { out } => end(man(out)),
    }
}

/// Prints the manual page, or writes all of them.
fn man(out: Option<PathBuf>) -> io::Result<()> {
    match out {
        Some(directory) => cli::man_pages(&directory),
        None => print(&cli::man_page()?),
    }
}

fn report_source(
    place: StorePlace,
    region: Option<String>,
    endpoint: Option<String>,
    root: Option<String>,
) -> Result<ReportSource, ReportError> {
    let environment = || {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    };
    if let Some(file) = place.registry_config {
        return ReportSource::of_registry(&file, environment());
    }
    if let Some(bucket) = place.s3 {
        let variable = |wanted: &str| environment().find(|(name, _)| name == wanted);
        let region = region.or_else(|| {
            let found = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
            found.map(|(_, value)| value)
        });
        return ReportSource::s3(bucket, region, endpoint, root);
    }
    Ok(ReportSource::Directory(place.root.unwrap_or_default()))
}

fn report(source: &ReportSource, json: bool) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build();
    let report = match runtime.map(|runtime| runtime.block_on(report::report(source))) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return fail(&error, 1),
        Err(error) => return fail(&error, 1),
    };
    let text = if json {
        serde_json::to_string_pretty(&report).map(|text| text + "\n")
    } else {
        Ok(report.to_string())
    };
    end(text
        .map_err(io::Error::from)
        .and_then(|text| print(text.as_bytes())))
}

fn end(done: io::Result<()>) -> ExitCode {
    done.map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS)
}

/// A reader that closes the pipe early, as head(1) does, has got what it wanted.
fn print(text: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn with(settings: Settings, run: impl FnOnce(&Runtime, Config) -> ExitCode) -> ExitCode {
    let config = match settings.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, USAGE),
    };
    // Requests have threads of their own; the rest needs no more than one.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(step_back)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let code = run(&runtime, config);
    // A job on a hung filesystem must not keep the process alive.
    runtime.shutdown_background();
    code
}

/// Lowers the priority of threads that work on the disk: requests go first if processors are busy.
fn step_back() {
    // If this is refused, all threads have the same priority, as before.
    let _ = rustix::process::setpriority_process(None, DISK_NICENESS);
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("crossmount: {error}");
    ExitCode::from(code)
}
