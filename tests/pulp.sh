#!/usr/bin/env bash
# A real Pulp with a container registry on free ports of the loopback interface, for tests and
# benchmarks. Programs and database stay between runs; `rm -r` the two directories to start anew.
#
#   tests/pulp.sh install   PostgreSQL by apt-get, Pulp by pip, where they are missing
#   tests/pulp.sh serve     start all, print KEY=VALUE lines and `ready`, and end all at the end of
#                           standard input, even if the process that holds it was killed
#
# CROSSMOUNT_PULP_HASHING=real makes each login cost what it costs outside of tests.
# CROSSMOUNT_PULP_ADDRESS is where it listens for clients, 127.0.0.1 if left out.
set -euo pipefail

tools=${CROSSMOUNT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/crossmount-tools}
programs=$tools/pulp
# PostgreSQL does not run as root, and its own user cannot enter root's home.
state=${CROSSMOUNT_PULP_STATE:-/var/tmp/crossmount-pulp-$UID}
wanted=(pulp-container==2.30.0 pulpcore==3.123.1)
password=adminpass
address=${CROSSMOUNT_PULP_ADDRESS:-127.0.0.1}

postgres() {
  find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1
}

install() {
  if [[ -z $(postgres) ]]; then
    if ((EUID != 0)); then
      echo 'pulp.sh: PostgreSQL is missing; not root: install it with apt-get install postgresql'
      [[ -z ${CI-} ]]
      return
    fi
    # Debian's package would start a database of its own otherwise.
    mkdir -p /etc/postgresql-common
    [[ -e /etc/postgresql-common/createcluster.conf ]] ||
      echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql python3-venv >/dev/null
  fi
  if [[ $(cat "$programs/crossmount-wanted" 2>/dev/null) != "${wanted[*]}" ]]; then
    rm -rf "$programs"
    python3 -m venv "$programs"
    "$programs/bin/pip" install --quiet "${wanted[@]}"
    echo "${wanted[*]}" >"$programs/crossmount-wanted"
  fi
}

# As the user that the database runs as.
as_owner() {
  if ((EUID == 0)); then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}

free_ports() {
  python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    candidate = socket.socket()
    try:
        # Below the range that the kernel gives to outgoing connections.
        candidate.bind(("127.0.0.1", random.randrange(12000, 32000)))
        held.append(candidate)
    except OSError:
        pass
print(*(one.getsockname()[1] for one in held))
PYTHON
}

start_database() {
  local binaries
  binaries=$(postgres)
  mkdir -p "$state/database"
  ((EUID != 0)) || chown postgres "$state/database"
  if [[ ! -s $state/database/PG_VERSION ]]; then
    as_owner "$binaries/initdb" -D "$state/database" -E UTF8 --locale=C.UTF-8 -A trust >/dev/null
  fi
  # Nothing in it outlives a test, so nothing is synced.
  as_owner "$binaries/pg_ctl" -D "$state/database" -w -t 60 -l "$state/database/server.log" \
    -o "-h 127.0.0.1 -p $database_port -k $state/database -c fsync=off -c max_connections=100" \
    start >/dev/null
  local query=("$binaries/psql" -h 127.0.0.1 -p "$database_port" -U "$(as_owner id -un)" -d postgres -tAqc)
  [[ $("${query[@]}" "select 1 from pg_roles where rolname = 'pulp'") == 1 ]] ||
    "${query[@]}" "create role pulp login superuser"
  [[ $("${query[@]}" "select 1 from pg_database where datname = 'pulp'") == 1 ]] ||
    "${query[@]}" "create database pulp owner pulp"
}

stop_database() {
  [[ ! -s $state/database/postmaster.pid ]] ||
    as_owner "$(postgres)/pg_ctl" -D "$state/database" -m fast -w stop >/dev/null || true
}

make_keys() {
  local keys=$state/keys
  [[ ! -s $keys/public.pem ]] || return 0
  mkdir -p "$keys"
  openssl rand -base64 32 | tr '+/' '-_' >"$keys/database.key"
  openssl rand -hex 32 >"$keys/secret"
  openssl ecparam -genkey -name prime256v1 -noout -out "$keys/private.pem"
  openssl ec -in "$keys/private.pem" -pubout -out "$keys/public.pem" 2>/dev/null
}

write_settings() {
  local hashing=''
  [[ ${CROSSMOUNT_PULP_HASHING-} == real ]] ||
    hashing='PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]'
  mkdir -p "$state"/{media,tmp,assets,log}
  cat >"$state/settings.py" <<PYTHON
SECRET_KEY = "$(cat "$state/keys/secret")"
DB_ENCRYPTION_KEY = "$state/keys/database.key"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "pulp", "USER": "pulp",
                         "HOST": "127.0.0.1", "PORT": "$database_port", "CONN_MAX_AGE": 0}}
DEPLOY_ROOT = "$state"
MEDIA_ROOT = "$state/media"
STATIC_ROOT = "$state/assets"
WORKING_DIRECTORY = FILE_UPLOAD_TEMP_DIR = "$state/tmp"
CONTENT_ORIGIN = "http://$address:$content_port"
ALLOWED_HOSTS = ["*"]
ANALYTICS = False
TOKEN_AUTH_DISABLED = False
TOKEN_SERVER = "http://$address:$public_port/token/"
TOKEN_SIGNATURE_ALGORITHM = "ES256"
PUBLIC_KEY_PATH = "$state/keys/public.pem"
PRIVATE_KEY_PATH = "$state/keys/private.pem"
$hashing
PYTHON
}

manage() {
  "$programs/bin/pulpcore-manager" "$@" >>"$state/log/manage.log" 2>&1
}

# Runs a program of Pulp's in a process group of its own, which `end` ends.
launch() {
  local name=$1
  shift
  setsid "$programs/bin/$name" "$@" >>"$state/log/$name.log" 2>&1 </dev/null &
  launched+=($!)
}

end() {
  local process
  for process in "${launched[@]}"; do
    kill -TERM -- "-$process" 2>/dev/null || true
  done
  for process in "${launched[@]}"; do
    for _ in {1..50}; do
      kill -0 -- "-$process" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$process" 2>/dev/null || true
  done
  stop_database
}

wait_for() {
  local url=$1 expression=$2
  for _ in {1..450}; do
    curl --silent --max-time 5 --include "$url" 2>/dev/null | grep -Eq "$expression" && return
    sleep 0.2
  done
  echo "pulp.sh: $url does not answer as expected; see $state/log" >&2
  return 1
}

serve() {
  mkdir -p "$state"
  # One at a time: there is one database.
  exec 9>"$state/lock"
  flock 9
  read -r database_port api_port content_port public_port < <(free_ports 4)
  launched=()
  export PULP_SETTINGS=$state/settings.py DJANGO_SETTINGS_MODULE=pulpcore.app.settings
  trap end EXIT
  make_keys
  write_settings
  # Of a run that was killed.
  stop_database
  start_database
  if [[ $(cat "$state/migrated" 2>/dev/null) != "${wanted[*]}" ]]; then
    manage migrate --noinput
    echo "${wanted[*]}" >"$state/migrated"
  fi
  manage reset-admin-password --password "$password"
  launch pulpcore-api --bind "$address:$api_port" --workers 2 --access-logfile -
  launch pulpcore-content --bind "$address:$content_port" --workers 1
  launch pulpcore-worker
  wait_for "http://$address:$api_port/pulp/api/v3/status/" '"online_workers":\[\{'
  wait_for "http://$address:$api_port/v2/" '^HTTP/1.1 401'
  # Not the list of all distributions: with those of many runs it takes longer than the wait.
  wait_for "http://$address:$content_port/pulp/content/none/" '^HTTP/1.1 404'
  printf '%s=%s\n' api "$api_port" content "$content_port" public "$public_port" \
    media "$state/media" log "$state/log/pulpcore-api.log" password "$password"
  echo ready
  # Until no process holds the other end.
  cat >/dev/null
}

case ${1-} in
  install | serve) "$1" ;;
  *)
    sed -n '2,12p' "$0"
    exit 64
    ;;
esac
