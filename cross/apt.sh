# Sourced by bash after setting `dir`: Debian's packages of any architecture, downloaded and unpacked instead of installed,
# by an apt that keeps its lists in $dir/apt and knows nothing of this machine but its mirrors.

. /etc/os-release
# Whatever mirrors this machine uses: one of the distribution, one of its security updates.
mirror() {
    local all
    all=$(grep -rhoE "https?://[^ ]*/$1/?( |\$)" /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null) || true
    echo "${all%%[[:space:]]*}"
}
main=$(mirror debian) security=$(mirror debian-security)
if [ "$ID" != debian ] || [ -z "$main" ]; then
    echo "$(basename "$0"): this needs Debian's packages; elsewhere use rustup's targets" >&2
    exit 1
fi

# apt for packages of one architecture, with a state of its own. A broken list then spoils that architecture only.
apt_of() {
    local arch=$1 state=$dir/apt/$1 tool=$2
    shift 2
    "$tool" -q -o Dir::Etc::SourceList="$state/list" -o Dir::Etc::SourceParts="$state/parts" \
        -o Dir::State::Lists="$state/lists" -o Dir::State::Status="$state/status" -o Dir::Cache="$state/cache" \
        -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

signed="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
update() {
    local state=$dir/apt/$1
    [ ! -e "$state/list" ] || return 0
    mkdir -p "$state"/{lists/partial,cache/archives/partial,parts}
    touch "$state/status"
    for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-backports"; do
        echo "deb [$signed] $main $suite main"
    done >"$state/list"
    [ -z "$security" ] || echo "deb [$signed] $security $VERSION_CODENAME-security main" >>"$state/list"
    # A list that cannot be fetched matters only if what it names is missing, which is noticed there.
    apt_of "$1" apt-get update >"$state/log" 2>&1 || true
}

# Another release of Debian beside this one, for what need not run here: also ARCH RELEASE
also() {
    local state=$dir/apt/$1 line="deb [$signed] $main $2 main"
    grep -qxF "$line" "$state/list" && return
    echo "$line" >>"$state/list"
    apt_of "$1" apt-get update >"$state/log" 2>&1 || true
}

# All versions of a package, the newest first.
versions() { apt_of "$1" apt-cache madison "$2" | awk -F'|' '/Packages/ { gsub(/ /, "", $2); print $2 }' | sort -rVu; }

# Unpacks packages of an architecture into a folder: unpack ARCH DIR PACKAGE…
unpack() {
    local arch=$1 into=$2 there
    shift 2
    rm -rf "$dir/new"
    mkdir -p "$dir/new" "$into"
    (cd "$dir/new" && apt_of "$arch" apt-get download "$@" >>"$dir/apt/$arch/log" 2>&1) ||
        { tail -n 5 "$dir/apt/$arch/log" >&2; exit 1; }
    for there in "$dir"/new/*.deb; do
        dpkg-deb --fsys-tarfile "$there" | tar -x -C "$into" --exclude='./usr/share/doc*' --exclude='./usr/share/man*'
    done
    rm -rf "$dir/new"
}
