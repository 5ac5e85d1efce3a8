# Runs inside of the booted Debian, as root: installs the service, and checks what it does under this systemd.
# Prints a line for each check, and `done` at the end.

unit=edge-rcnn.service
# How many times as long everything may take: an emulated processor is slow.
patience=${PATIENCE:-1}
settings=/etc/edge-rcnn/edge-rcnn.toml

# check NAME COMMAND…: whether the command succeeds
check() {
    name=$1
    shift
    if "$@" >/tmp/said 2>&1; then echo "ok   $name"; else
        echo "FAILED $name: $(tail -n 3 /tmp/said | cut -c 1-300 | tr '\n' ' ')"
    fi
}
property() { systemctl show --value -p "$1" $unit; }
pid() { property MainPID; }
is() { [ "$1" = "$2" ] || { echo "$1 instead of $2"; false; }; }
differ() { [ "$1" != "$2" ] || { echo "still $1"; false; }; }
# within SECONDS COMMAND…: whether it succeeds in that time
within() {
    local end=$((SECONDS + $1 * patience))
    while [ $SECONDS -lt $end ]; do
        "${@:2}" >/dev/null 2>&1 && return
        sleep 0.1
    done
    "${@:2}"
}
# What the last start of the service has said: lines of JSON, and messages for people with their priority.
said() {
    # A stopped service has none: then it is the one before.
    invocation=$(property InvocationID)
    [ -z "$invocation" ] || echo "$invocation" >/tmp/invocation
    journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$(cat /tmp/invocation)" "$@"
}
# has TEXT: whether it has said that
has() { said | grep -qF -- "$1" || { news; false; }; }
# The last of what it and systemd have said of it, but for what it says all the time.
news() { journalctl -q -o cat -u $unit | grep -v -e '"type":"stats"' -e '"type":"frame"' | tail -n 4; }
last_is() { is "$(said | grep '^{' | tail -n 1 | cut -c 1-13)" "$1"; }
milliseconds() { date +%s%3N; }
# restarted OLD: whether another process than that one is active
restarted() { [ "$(property ActiveState)" = active ] && [ "$(pid)" != 0 ] && [ "$(pid)" != "$1" ]; }
status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(pid)/status"; }
fresh() { systemctl stop $unit; systemctl reset-failed $unit 2>/dev/null; }
# stops NAME: checks that the service stops in the time it should take
stops() {
    local before took limit=$((2 * patience))
    before=$(milliseconds)
    systemctl stop $unit
    took=$(($(milliseconds) - before))
    check "$1 it stops within $limit seconds ($took ms)" [ $took -lt $((limit * 1000)) ]
}
# And that it says so at the end.
stops_with_bye() {
    # A stopped service does not know any more which start it was: this keeps it.
    said >/dev/null
    stops "$1"
    check "and says bye" last_is '{"type":"bye"'
}

install_parts() {
    if [ -e /parts/edge-rcnn.deb ]; then
        dpkg -i /parts/edge-rcnn.deb
    else
        install -m 755 /parts/edge-rcnn /usr/local/bin/
        install -D -m 644 /parts/edge-rcnn.toml $settings
        install -m 644 /parts/edge-rcnn.service /etc/systemd/system/
    fi
    systemctl daemon-reload
}
# Small frames, so that checks are about the service and not about the network; patience in seconds instead of minutes.
write_settings() {
    printf '%s\n' 'source = "synthetic"' 'fps = 5' 'size = "160x120"' 'scale = 32' 'proposals = 5' 'threads = 1' \
        'stats_every = "1s"' 'snapshot_dir = "/var/lib/edge-rcnn"' 'min_score = 0' "$@" >$settings
    # On an emulated processor the network that the program carries takes longer for its first frame than the watchdog waits.
    [ ! -e /parts/model ] || echo 'model = "/parts/model"' >>$settings
}
impatient() {
    mkdir -p /etc/systemd/system/$unit.d
    printf '[Service]\nWatchdogSec=%s\nTimeoutStartSec=%s\nRestartSec=1\n' $((3 * patience)) $((60 * patience)) >/etc/systemd/system/$unit.d/impatient.conf
    systemctl daemon-reload
}

. /parts/package.sh
. /parts/camera.sh
files >/tmp/files-before
echo "$(systemctl --version | head -n 1)"
# What systemd itself says, too.
systemctl log-target journal
check "installs" install_parts
check "the settings that it brings are good" sh -c "edge-rcnn config --config $settings"
# Whole frames take minutes each on an emulated processor.
[ "$patience" = 1 ] || sed -i '1i scale = 32' $settings
check "starts with the settings that it brings" systemctl start $unit
fresh
write_settings
impatient

check "start waits until it is ready" systemctl start $unit
[ "$(pid)" != 0 ] || { said | tail -n 5; exit; }
check "is active" is "$(property ActiveState)" active
check "says hello before it is ready" has '{"type":"hello"'
check "frames come" within 10 has '{"type":"frame"'
has '{"type":"frame"' >/dev/null || systemctl status --no-pager -l -n 20 $unit
check "statistics come" within 10 has '{"type":"stats"'
check "tells systemd how it goes" within 10 sh -c "systemctl show --value -p StatusText $unit | grep -q 'frames a second'"
first=$(property WatchdogTimestampMonotonic)
pinged() { [ "$(property WatchdogTimestampMonotonic)" -gt "$first" ]; }
check "pings the watchdog" within 10 pinged
sleep $((4 * patience))
check "and lives longer than the watchdog's time" is "$(property NRestarts)" 0

check "is nobody in particular" [ "$(status Uid | cut -f 1)" -ge 61184 ]
check "has no capabilities" is "$(status CapEff)$(status CapBnd)" 00000000000000000000000000000000
check "can get no privileges" is "$(status NoNewPrivs)" 1
check "has its system calls filtered" is "$(status Seccomp)" 2
check "has a network of its own" differ "$(readlink "/proc/$(pid)/ns/net")" "$(readlink /proc/1/ns/net)"
exposure() { systemd-analyze security --no-pager --threshold=10 $unit; }
check "systemd-analyze security: at most 1.0" exposure
check "memory is limited" is "$(property MemoryMax)" 1073741824
kept() { ls /var/lib/private/edge-rcnn/edge-rcnn-*.jpg; }
check "keeps snapshots in its state folder" within 20 kept

old=$(pid)
# Process 0 would be all of us.
[ "$old" = 0 ] || kill -STOP "$old"
check "stopped in its tracks, it is ended by the watchdog and started again" within 20 restarted "$old"
check "the journal says why" sh -c "journalctl -q -o cat -u $unit | grep -q 'Watchdog timeout'"
check "and it streams again" within 10 has '{"type":"frame"'

old=$(pid)
write_settings 'classes = ["cat"]'
check "reload is accepted" systemctl reload $unit
check "new settings are taken over" within 15 has '"reloaded":true'
check "by the same process" is "$(pid)" "$old"
write_settings 'min_scor = 0.5'
systemctl reload $unit
check "bad settings are refused with the nearest key" within 15 has 'did you mean \"min_score\"?'
check "and the old ones stay in force" is "$(pid)" "$old"
check "an error has the priority of one" sh -c "journalctl -q -p 3..3 -o cat -u $unit | grep -q 'did you mean \"min_score\"'"
check "what is only said has another" sh -c "journalctl -q -p 6..6 -o cat -u $unit | grep -q 'looking with'"
check "prefixes do not reach the reader" sh -c "! journalctl -q -o cat -u $unit | grep -q '^<[0-7]>'"

write_settings
stops_with_bye "told to,"
check "because of sigterm" has '"reason":"sigterm"'
check "exit code 0" is "$(property Result) $(property ExecMainStatus)" "success 0"

fresh
systemctl start --no-block $unit
starting() { [ "$(property MainPID)" != 0 ]; }
within 5 starting
stops "while it loads"
check "with a good end" is "$(property Result) $(property ExecMainStatus)" "success 0"

fresh
write_settings 'min_scor = 0.5'
systemctl start $unit 2>/dev/null
sleep $((3 * patience))
check "with settings that are no good it does not start" is "$(property ActiveState) $(property ExecMainStatus)" "failed 78"
check "nor is it tried again" is "$(property NRestarts)" 0

fresh
write_settings 'preview = "127.0.0.1:8080"'
systemctl start $unit 2>/dev/null
check "without a network there is no preview, and it says what to do" has 'cross/systemd/preview.conf'
fresh
preview=/usr/share/doc/edge-rcnn/examples/preview.conf
[ -e /parts/edge-rcnn.deb ] || preview=/parts/preview.conf
install -D -m 644 $preview /etc/systemd/system/$unit.d/preview.conf
systemctl daemon-reload
check "with the drop-in for it, it starts" systemctl start $unit
page() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080 && printf "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" >&3 && cat <&3' | grep -q '^<title>edge-rcnn\|<title>edge-rcnn'; }
check "and the page is there" within 10 page
fresh
rm /etc/systemd/system/$unit.d/preview.conf

# The same sandbox around a process that tries what ours never does.
sandbox=/etc/systemd/system/edge-rcnn-probe.service
sed -e 's/^Type=.*/Type=oneshot/' -e 's|^ExecStart=.*|ExecStart=bash /parts/probe.sh|' -e '/^ExecReload=/d' -e '/^Restart=/d' \
    -e '/^WatchdogSec=/d' "$(property FragmentPath)" >$sandbox
systemctl daemon-reload
[ ! -e /dev/video0 ] || check "by its permissions everybody may read a device" open_disk
check "the sandbox takes another program" systemctl start edge-rcnn-probe
could=$(journalctl -q -o cat -u edge-rcnn-probe | grep '^could ' | cut -d ' ' -f 2 | tr '\n' ' ')
want="write-state write-tmp read-settings read-processors "
[ ! -e /dev/video0 ] || want="${want}open-camera "
check "which can do what it needs and nothing else" is "$could" "$want"
[ ! -e /dev/video0 ] || camera_checks

check "can be switched on for every start" systemctl enable $unit
check "systemd-analyze verify has nothing to say about it" sh -c "! systemd-analyze verify --man=no $unit 2>&1 | grep edge-rcnn"
[ ! -e /parts/edge-rcnn.deb ] || package_checks
echo done
