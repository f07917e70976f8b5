//! The text that `--help` prints below the flags.
//!
//! A line that ends with a colon is a heading, and lines below it are indented: the man pages have
//! a section for each.

/// `crossmount --help`
pub(super) const CROSSMOUNT: &str = "\
Examples:
  crossmount check --config /etc/crossmount.yaml
  crossmount serve --config /etc/crossmount.yaml
  crossmount report --root /var/lib/registry

Environment:
  CROSSMOUNT_UPSTREAM_URL, CROSSMOUNT_LISTEN_ADDRESS, ...
      Each single setting has a variable: CROSSMOUNT_ and the setting's path
      in capitals, joined by _. Variables win over the file.

Exit status:
  0   success; check found no fault
  1   the command failed, or check found a fault
  2   the command line is wrong
  64  the configuration cannot be used";

/// `crossmount serve --help`
pub(super) const SERVE: &str = "\
Examples:
  Settings from a file:
      crossmount serve --config /etc/crossmount.yaml
  Settings from flags, for a registry without access control:
      CROSSMOUNT_ACCESS_MODE=none crossmount serve --listen :5000 \\
          --upstream http://127.0.0.1:5010 --root /var/lib/registry

Signals:
  SIGTERM, SIGINT
      /readyz answers 503 at once. crossmount accepts requests for
      shutdown.drain_delay more. Then it closes the port and waits for requests
      in flight, until shutdown.timeout. A second signal ends the process at
      once.
  SIGHUP
      crossmount reads the file again. A new log.level takes effect.

Exit status:
  0   a signal ended the process
  1   crossmount could not start: a port, the store, a certificate or a file
      cannot be used
  2   the command line is wrong
  64  the configuration cannot be used";

/// `crossmount check --help`
pub(super) const CHECK: &str = "\
Examples:
  As the user of the service:
      sudo -u docker-registry crossmount check --config /etc/crossmount.yaml
  In a pipeline, without registry and store:
      crossmount check --offline --config crossmount.yaml
  Against the registry's own configuration:
      crossmount check --config /etc/crossmount.yaml \\
          --registry-config /etc/docker/registry/config.yml

Exit status:
  0   no fault; there may be warnings
  1   at least one fault
  2   the command line is wrong
  64  the configuration cannot be used";

/// `crossmount report --help`
pub(super) const REPORT: &str = "\
Examples:
  For people:
      crossmount report --root /var/lib/registry
  For programs:
      crossmount report --root /var/lib/registry --json | jq .sparable_bytes
  Of a registry on an object store:
      crossmount report --registry-config /etc/docker/registry/config.yml
      crossmount report --s3 images --s3-region eu-central-1

Exit status:
  0   the report is printed, even if it names damage
  1   there is no registry in the store, or it cannot be read
  2   the command line is wrong
  64  the registry's configuration or the bucket's settings cannot be used";

/// `crossmount completions --help`
pub(super) const COMPLETIONS: &str = "\
Examples:
  For this shell alone:
      source <(crossmount completions bash)
  For all users:
      crossmount completions bash \\
          > /usr/share/bash-completion/completions/crossmount
      crossmount completions zsh > /usr/share/zsh/site-functions/_crossmount
      crossmount completions fish \\
          > /usr/share/fish/vendor_completions.d/crossmount.fish

Exit status:
  0   the completions are printed
  1   they cannot be written
  2   the command line is wrong";

/// `crossmount man --help`
pub(super) const MAN: &str = "\
Examples:
  Read it:
      crossmount man | man -l -
  Install the page of each command:
      crossmount man --out /usr/share/man/man1

Exit status:
  0   the page is printed, or all pages are written
  1   they cannot be written
  2   the command line is wrong";
