# Sourced by inside.sh at its end, where the service came as a Debian package: what upgrading, removing and purging it do.

version() { dpkg-query -W -f '${Version}' edge-rcnn; }
state() { dpkg-query -W -f '${db:Status-Status}' edge-rcnn; }
# What there is besides what systemd and dpkg keep for themselves, and these checks in /tmp, which may be part of the disk.
files() {
    find / -xdev \( -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /parts \
        -o -path /root -o -path /tmp \) -prune -o -print | LC_ALL=C sort
}
# left WANT…: whether that is all there is more than before the package was installed
left() {
    files >/tmp/files-now
    is "$(LC_ALL=C comm -13 /tmp/files-before /tmp/files-now | tr '\n' ' ')" "${*:+$* }"
}
enabled() { systemctl is-enabled -q $unit; }
upgraded() { dpkg -i /parts/edge-rcnn-next.deb </dev/null; }

package_checks() {
    rm -rf "$sandbox" /etc/systemd/system/$unit.d
    systemctl daemon-reload
    check "the manual is there" sh -c 'zcat /usr/share/man/man1/edge-rcnn.1.gz | grep -q "^\.SH SYNOPSIS"'
    check "and the completions" bash -c 'source /usr/share/bash-completion/completions/edge-rcnn && complete -p edge-rcnn'
    check "and the licence" grep -q "Permission is hereby granted" /usr/share/doc/edge-rcnn/copyright
    check "and those of crates and of the font" sh -c 'zcat /usr/share/doc/edge-rcnn/LICENSES.gz | grep -q "UBUNTU FONT LICENCE"'

    fresh
    write_settings
    systemctl start $unit
    within 20 kept
    cp $settings /tmp/settings
    old=$(pid)
    check "it is upgraded" upgraded
    check "to the next version" is "$(version)" "$(dpkg-deb -f /parts/edge-rcnn-next.deb Version)"
    check "a running service is started again by that" differ "$(pid)" "$old"
    check "and runs" is "$(property ActiveState)" active
    check "an upgrade keeps the settings" cmp $settings /tmp/settings
    check "and that it starts with the system" enabled
    systemctl stop $unit
    check "an upgrade does not start what was stopped" upgraded
    check "it stays so" is "$(property ActiveState)" inactive

    systemctl start $unit
    old=$(pid)
    check "it is removed" dpkg -r edge-rcnn
    check "the service has ended" [ ! -e "/proc/$old" ]
    check "systemd does not know it any more" is "$(property LoadState)" not-found
    check "settings and pictures are left" sh -c "cmp $settings /tmp/settings && ls /var/lib/private/edge-rcnn/*.jpg"

    rm -rf /var/lib/private/edge-rcnn
    dpkg -i /parts/edge-rcnn.deb >/dev/null 2>&1
    grep -v snapshot_dir /tmp/settings >$settings
    systemctl enable -q --now $unit
    within 10 has '{"type":"frame"'
    check "it is removed while it runs" dpkg -r edge-rcnn
    check "where no pictures were kept only the settings are left" left /etc/edge-rcnn $settings
    dpkg -i /parts/edge-rcnn.deb >/dev/null 2>&1
    write_settings
    systemctl start $unit
    within 20 kept
    check "it is purged" dpkg -P edge-rcnn
    check "nothing is left" left
    check "dpkg has forgotten it" sh -c '! dpkg-query -W edge-rcnn'
}
