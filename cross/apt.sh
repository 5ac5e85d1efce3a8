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
if [ "$ID" != debian ]; then
    echo "$(basename "$0"): this needs Debian's packages; elsewhere use rustup's targets" >&2
    exit 1
fi
# Images for clouds name theirs in a file of its own (mirror+file:).
if [ -z "$main" ]; then
    main=http://deb.debian.org/debian security=http://deb.debian.org/debian-security
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
# Makes what apt_of needs; lists that are older than a day, or of which one could not be fetched, are fetched again.
update() {
    local state=$dir/apt/$1
    [ -z "$(find "$state/fetched" -mtime -1 2>/dev/null)" ] || return 0
    if [ ! -e "$state/list" ]; then
        mkdir -p "$state"/{lists/partial,cache/archives/partial,parts}
        touch "$state/status"
        for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-backports"; do
            echo "deb [$signed] $main $suite main"
        done >"$state/list"
        [ -z "$security" ] || echo "deb [$signed] $security $VERSION_CODENAME-security main" >>"$state/list"
    fi
    refresh "$1"
}

# A list that cannot be fetched matters only if what it names is missing, which is noticed there.
refresh() {
    local state=$dir/apt/$1
    rm -f "$state/fetched"
    if apt_of "$1" apt-get update -o APT::Update::Error-Mode=any >"$state/log" 2>&1; then touch "$state/fetched"; fi
}

# Another release of Debian beside this one, for what need not run here: also ARCH RELEASE
also() {
    local state=$dir/apt/$1 line="deb [$signed] $main $2 main"
    grep -qxF "$line" "$state/list" && return
    echo "$line" >>"$state/list"
    refresh "$1"
}

# All versions of a package, the newest first.
versions() { apt_of "$1" apt-cache madison "$2" | awk -F'|' '/Packages/ { gsub(/ /, "", $2); print $2 }' | sort -rVu; }

# The newest package with a Linux for an architecture.
kernel_package() {
    local found
    found=$(apt_of "$1" apt-cache search --names-only "^linux-image-[0-9.]*-[0-9]*-$1\$" | cut -d' ' -f1 | sort -V | tail -n 1)
    [ -n "$found" ] || { echo "$(basename "$0"): apt offers no linux-image-…-$1 ($dir/apt/$1/log)" >&2; return 1; }
    echo "$found"
}

# Packages of an architecture as files in $dir/new: download ARCH PACKAGE…
download() {
    local arch=$1
    shift
    rm -rf "$dir/new"
    mkdir -p "$dir/new"
    (cd "$dir/new" && apt_of "$arch" apt-get download "$@" >>"$dir/apt/$arch/log" 2>&1)
}

# Unpacks packages of an architecture into a folder: unpack ARCH DIR PACKAGE…
unpack() {
    local arch=$1 into=$2 there
    shift 2
    # Lists may name what the mirror has replaced since.
    if ! download "$arch" "$@"; then
        refresh "$arch"
        download "$arch" "$@" || { tail -n 5 "$dir/apt/$arch/log" >&2; exit 1; }
    fi
    mkdir -p "$into"
    for there in "$dir"/new/*.deb; do
        dpkg-deb --fsys-tarfile "$there" | tar -x -C "$into" --exclude='./usr/share/doc*' --exclude='./usr/share/man*'
    done
    rm -rf "$dir/new"
}
