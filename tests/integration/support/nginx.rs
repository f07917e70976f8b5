//! A real nginx as a proxy in front of a port.

use super::{free_port, raw_http, tools, wait_until};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Nginx {
    pub port: u16,
    process: Child,
    home: TempDir,
}

impl Nginx {
    /// Passes everything on to `upstream`, with these directives for the location; without any it
    /// speaks HTTP/1.0 and buffers requests.
    pub fn before(upstream: u16, directives: &str) -> Self {
        Self::start(upstream, "", directives)
    }

    /// The same over TLS, with `cert.pem` and `key.pem` of this folder.
    pub fn over_tls(files: &Path, upstream: u16, directives: &str) -> Self {
        let files = files.display();
        let tls = format!(
            "ssl;\n    ssl_certificate {files}/cert.pem;\n    ssl_certificate_key {files}/key.pem"
        );
        Self::start(upstream, &tls, directives)
    }

    fn start(upstream: u16, tls: &str, directives: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let folder = home.path().display();
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths.map(|name| format!("  {name}_temp_path {folder}/{name};\n"));
        let paths = paths.concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/errors;\n\
             events {{}}\nhttp {{\n\
             log_format short '$connection $request_method';\n  access_log {folder}/access short;\n\
             {paths}  server {{\n    listen 127.0.0.1:{port} {tls};\n    client_max_body_size 0;\n    location / {{\n\
             proxy_pass http://127.0.0.1:{upstream};\n{directives}\n    }}\n  }}\n}}\n"
        );
        let file = home.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let process = Command::new(tools::find("nginx").unwrap())
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Self {
            port,
            process,
            home,
        };
        wait_until("nginx listens", || {
            let ended = nginx.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", nginx.errors());
            raw_http::Connection::to(port).is_ok()
        });
        nginx
    }

    /// The number of the connection and the method of each request.
    pub fn requests(&self) -> Vec<(u64, String)> {
        let log = fs::read_to_string(self.home.path().join("access")).unwrap();
        let fields = log.lines().filter_map(|line| line.split_once(' '));
        fields
            .map(|(connection, method)| (connection.parse().unwrap(), method.to_owned()))
            .collect()
    }

    /// What it had to complain about.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.home.path().join("errors")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- nginx: {}", self.errors());
        }
    }
}
