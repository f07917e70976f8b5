# What the scripts of a release share. To be sourced, with set -euo pipefail; it changes into the
# top of the repository.
#
#   SOURCE_DATE_EPOCH   the time of every file that is made; by default that of the commit
#   MAINTAINER          who answers for the package; by default the author of the commit
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

# Where tests/cargo-tools.sh puts cargo's subcommands.
PATH=$PATH:${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}/bin

# git, also if another user owns the checkout, as in a container of the continuous integration.
git_here() {
  git -c "safe.directory=$PWD" "$@"
}

# The same commit gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git_here log -1 --format=%ct)}
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C
# What a script makes has the same permissions everywhere.
umask 022

# Cargo.toml's version is that of everything.
version() {
  sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml
}

# arch_of BINARY: the name that Debian and OCI have for its processor.
arch_of() {
  case $(od -An -j 18 -N 2 -t u2 "$1" | tr -d ' ') in
    62) echo amd64 ;;
    183) echo arm64 ;;
    *)
      echo "$1 is for a processor for which there is no release" >&2
      return 1
      ;;
  esac
}

# stage BINARY: what goes beside the binary into the packages, and which the binary prints itself.
stage() {
  stage=target/shipped/stage
  rm -rf "$stage"
  mkdir -p "$stage"/{man,completions}
  # Without line tables, which are most of its size.
  strip --strip-unneeded --remove-section=.comment -o "$stage/crossmount" "$1"
  "$1" man --out "$stage/man"
  "$1" completions bash >"$stage/completions/crossmount"
  "$1" completions zsh >"$stage/completions/_crossmount"
  "$1" completions fish >"$stage/completions/crossmount.fish"
}
