#!/bin/bash
# Makes a Debian or Ubuntu machine ready for the course: Go, the kernel's
# features, the engine, and its service. Run as root; may be run again.
#
#   provision.sh [TREE [CLASSROOM]]
#
# TREE is the repository. CLASSROOM, made by `make classroom`, holds Go and the
# modules: with it nothing is fetched from anywhere.
set -euo pipefail

tree=${1:-/drydock}
classroom=${2:-/classroom}
course=/usr/local/src/drydock # a copy on this machine's own disk: `go test` of the host puts its tree here, too
say() { printf 'drydock: %s\n' "$*"; }
fail() { printf 'drydock: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "provision.sh installs programs, for which it needs root: sudo $0 $*"
[ -f "$tree/go.work" ] || fail "$tree is not the repository: it has no go.work; give its path as the first argument"
case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) fail "the architecture $(uname -m) is not one of x86_64, aarch64" ;;
esac
version=$(sed -n 's/^go \([0-9.]*\).*/\1/p' "$tree/go.work")
[ -n "$version" ] || fail "$tree/go.work names no Go version: want a line as in \"go 1.26.0\""

# The Go command's own distribution is a module like any other: its sum is that
# of the checksum database, and stands in toolchain.sum beside this script.
module=golang.org/toolchain@v0.0.1-go$version.linux-$arch
sums=$tree/vagrant/toolchain.sum

# dirhash DIR prints the h1 sum of a module's tree (golang.org/x/mod/sumdb/dirhash).
# No file of a module may be called go.mod: two have that name only when installed.
dirhash() {
  local hex
  hex=$(cd "$1" && find . -type f -print0 | xargs -0 sha256sum | sed "s|  \./|  $module/|; s|/\(src\(/cmd\)\?\)/go\.mod$|/\1/_go.mod|" \
    | LC_ALL=C sort -k2 | sha256sum | cut -d' ' -f1)
  printf 'h1:%s\n' "$(printf '%b' "$(printf %s "$hex" | sed 's/../\\x&/g')" | base64)"
}

install_go() {
  local new=/usr/local/go.new archive want got
  rm -rf "$new" && mkdir "$new"
  archive=$classroom/go/go$version.linux-$arch.tar.gz
  if [ -f "$archive" ]; then
    say "Go $version from the classroom folder"
    tar -xzf "$archive" -C "$new" --strip-components=1
  else
    say "Go $version from the module mirror"
    if ! command -v unzip >/dev/null || ! command -v curl >/dev/null; then
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl unzip ca-certificates >/dev/null
    fi
    curl -fsSL --retry 3 -o "$new.zip" "${GOPROXY_URL:-https://proxy.golang.org}/golang.org/toolchain/@v/${module#*@}.zip"
    unzip -q "$new.zip" -d "$new.unzipped" && rm "$new.zip"
    rm -rf "$new" && mv "$new.unzipped/$module" "$new" && rm -rf "$new.unzipped"
  fi
  want=$(awk -v m="${module%@*}" -v v="${module#*@}" '$1 == m && $2 == v { print $3 }' "$sums")
  got=$(dirhash "$new")
  [ "$got" = "$want" ] || { rm -rf "$new"; fail "Go $version has the sum $got, and $sums says ${want:-nothing of it}: it is not what was released"; }
  chmod 755 "$new"/bin/* "$new"/pkg/tool/*/* # a module's archive has no modes
  for m in src src/cmd; do [ -f "$new/$m/go.mod" ] || mv "$new/$m/_go.mod" "$new/$m/go.mod"; done
  rm -rf /usr/local/go && mv "$new" /usr/local/go
}

if [ "$(head -n 1 /usr/local/go/VERSION 2>/dev/null)" = "go$version" ]; then
  say "Go $version is here"
else
  install_go
fi
ln -sf ../go/bin/go ../go/bin/gofmt /usr/local/bin/
# For every user: this very version, and first the modules that are at hand.
sed -i '/^GOTOOLCHAIN=/d; /^GOPROXY=/d' /usr/local/go/go.env
proxy=https://proxy.golang.org,direct
[ ! -d "$classroom/modules" ] || proxy=file://$classroom/modules,$proxy
printf 'GOTOOLCHAIN=local\nGOPROXY=%s\n' "$proxy" >> /usr/local/go/go.env

say "kernel $(uname -r)"
features=(overlay bridge veth nf_tables nf_nat nft_masq br_netfilter macvlan tun)
for m in "${features[@]}"; do modprobe -q "$m" 2>/dev/null || true; done # what is built in has no module; doctor looks, below
[ ! -d /etc/modules-load.d ] || printf '%s\n' "${features[@]}" > /etc/modules-load.d/drydock.conf

say "the engine's programs"
if [ "$(realpath "$tree")" != "$course" ]; then
  rm -rf "$course.new" && mkdir -p "$course.new"
  tar -C "$tree" --exclude=./.git --exclude=./.vagrant --exclude=./bin --exclude=./classroom -cf - . | tar -C "$course.new" --no-same-owner -xf -
  rm -rf "$course" && mv "$course.new" "$course"
fi
# The classroom folder has them for the tree that it was made with.
tree_sum=$(cd "$course" && find . \( -name '*.go' -o -name go.mod -o -name go.sum \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
if [ "$tree_sum" = "$(cat "$classroom/programs/tree.sum" 2>/dev/null)" ]; then
  rm -rf "${course:?}/bin" && cp -r "$classroom/programs/linux-$arch" "$course/bin"
else
  (
    cd "$course"
    export CGO_ENABLED=0 HOME=/root
    go build -trimpath -ldflags='-s -w' -o 07-runtime/builtin/bin/ ./07-runtime/builtin/cmd/...
    go build -trimpath -ldflags='-s -w' -o bin/ ./07-runtime/cmd/...
  )
fi
changed=
for program in "$course"/bin/*; do
  to=/usr/local/bin/$(basename "$program")
  cmp -s "$program" "$to" && continue
  install -m 755 "$program" "$to.new" && mv "$to.new" "$to" # a program that runs is replaced, not overwritten
  changed=yes
done

# Who is in this group may use the daemon's socket, and is root by it.
getent group drydock >/dev/null || groupadd --system drydock
for user in vagrant "${SUDO_USER:-}"; do
  [ -z "$user" ] || [ "$user" = root ] || ! id "$user" >/dev/null 2>&1 || usermod -aG drydock "$user"
done

if [ -d /run/systemd/system ]; then
  cmp -s "$course/vagrant/drydockd.service" /etc/systemd/system/drydockd.service \
    || { install -m 644 "$course/vagrant/drydockd.service" /etc/systemd/system/ && systemctl daemon-reload; changed=yes; }
  systemctl enable -q --now drydockd
  [ -z "$changed" ] || systemctl restart drydockd
  say "the daemon runs, as the service drydockd"
fi
if [ -d /usr/share/bash-completion ]; then
  mkdir -p /usr/share/bash-completion/completions
  drydock completion bash > /usr/share/bash-completion/completions/drydock
fi

# What this kernel cannot do is said, and does not end the set-up.
drydock doctor || say "doctor found something, above; most of the course works without it"

cat <<'NEXT'

The machine is ready. On your own machine, in the repository:
  go test ./...                 every chapter's tests, in this machine
  drydock run --rm hello        a first container (the client: go install ./07-runtime/cmd/drydock)
In the machine (vagrant ssh, or limactl shell drydock):
  cd /drydock && sudo go run ./01-chroot/cmd/jail --help
NEXT
