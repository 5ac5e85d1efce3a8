#!/bin/bash
# Makes a Debian package of what cross/build.sh has built, building it first: cross/package.sh aarch64|armv7|x86_64
#
# In it: the program, its manual pages and completions (written by the program itself, foreign ones run in qemu-user), the
# service with its settings, a udev rule, the licences. The last line names the file. Needs dpkg-deb; runs lintian if it is
# installed and fails if lintian finds an error. What it takes to get the same bytes again stands in cross/README.md.
set -euo pipefail
# Folders and redirected files get their permissions from it.
umask 022

arch=${1:-}
. "$(dirname "$0")/target.sh"
cd "$root"
cross/build.sh "$arch"
program=${CARGO_TARGET_DIR:-target}/$target/dist/edge-rcnn
parts=cross/debian
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
who="${DEBFULLNAME:-edge-rcnn developers} <${DEBEMAIL:-edge-rcnn@packages.debian.org}>"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

out=target/package
tree=$out/$debian
rm -rf "$tree"
mkdir -p "$tree/DEBIAN"
put() { install -D -m "$1" "$2" "$tree/$3"; }
packed() { gzip -9nc "$1" >"$out/packed" && put 644 "$out/packed" "$2"; }

put 755 "$program" usr/bin/edge-rcnn
run=("$program")
[ "$arch" = "$(uname -m)" ] || {
    qemu=qemu-${arch%v7}-static
    command -v "$qemu" >/dev/null || { cross/toolchain.sh "$toolchain" qemu && qemu=$toolchain/bin/$qemu; }
    run=("$qemu" -cpu max "$program")
}
rm -rf "$out/manual"
"${run[@]}" manual "$out/manual"
for page in "$out"/manual/man/*.1; do
    packed "$page" "usr/share/man/man1/$(basename "$page").gz"
done
put 644 "$out/manual/completions/edge-rcnn.bash" usr/share/bash-completion/completions/edge-rcnn
put 644 "$out/manual/completions/_edge-rcnn" usr/share/zsh/vendor-completions/_edge-rcnn
put 644 "$out/manual/completions/edge-rcnn.fish" usr/share/fish/vendor_completions.d/edge-rcnn.fish

put 644 cross/systemd/edge-rcnn.toml etc/edge-rcnn/edge-rcnn.toml
# Packages do not write to /usr/local; how to install by hand does not concern them.
sed -e 's|/usr/local/bin/|/usr/bin/|' -e '/^#   /d' cross/systemd/edge-rcnn.service >"$out/unit"
put 644 "$out/unit" usr/lib/systemd/system/edge-rcnn.service
put 644 $parts/60-edge-rcnn.rules usr/lib/udev/rules.d/60-edge-rcnn.rules

doc=usr/share/doc/edge-rcnn
# The licence's paragraphs as the format wants them: indented by one, empty lines as a dot.
sed -e '1,/^$/d' -e 's/^$/./' -e 's/^/ /' LICENSE-MIT >"$out/mit"
sed -e "/^ @MIT@/{r $out/mit" -e 'd}' $parts/copyright >"$out/copyright"
put 644 "$out/copyright" $doc/copyright
cargo tree --locked --offline -e normal --target "$target" --prefix none -f '{p} {l}' | sed 's/ (\*)$//; s/ (proc-macro)//' |
    grep -v '^edge-rcnn ' | LC_ALL=C sort -u >"$out/crates.txt"
packed "$out/crates.txt" $doc/crates.txt.gz
cross/licences.sh "$target" "$out/crates.txt" >"$out/licences"
packed "$out/licences" $doc/LICENSES.gz
packed CHANGELOG.md $doc/NEWS.gz
printf 'edge-rcnn (%s) unstable; urgency=medium\n\n  * What is new in users'\'' terms is in NEWS.gz.\n\n -- %s  %s\n' \
    "$version" "$who" "$(date -uRd "@$SOURCE_DATE_EPOCH")" >"$out/changelog"
packed "$out/changelog" $doc/changelog.gz
put 644 cross/systemd/preview.conf $doc/examples/preview.conf
put 644 $parts/lintian-overrides usr/share/lintian/overrides/edge-rcnn

for script in postinst prerm postrm; do
    put 755 $parts/$script DEBIAN/$script
done
(cd "$tree" && find etc -type f -printf '/%p\n') >"$tree/DEBIAN/conffiles"
(cd "$tree" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) >"$tree/DEBIAN/md5sums"
# As Debian reckons it, whatever blocks the file system has: each file rounded up to KiB, and one for each folder.
installed=$(find "$tree" -path "$tree/DEBIAN" -prune -o -type f -printf '%s\n' -o -printf '1\n' |
    awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
cat >"$tree/DEBIAN/control" <<END
Package: edge-rcnn
Version: $version
Architecture: $debian
Maintainer: $who
Installed-Size: $installed
Section: video
Priority: optional
Suggests: ffmpeg, v4l-utils
Description: object detection with Faster R-CNN for devices
 Finds objects in pictures and in the frames of cameras, on the CPU of the
 device: one JSON line for each picture or frame. A model for the 20 classes
 of Pascal VOC is built in; Faster R-CNN models of Caffe can be imported.
 .
 The service is not started by installing it: systemctl enable --now edge-rcnn
END

package=$out/edge-rcnn_${version}_$debian.deb
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$package" >/dev/null
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error "$package"
fi
echo "$root/$package: $(($(stat -c %s "$package") >> 10)) KiB"
