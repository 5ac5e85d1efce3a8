# What the real program does on a real driver. Each scene prints its name, the program's lines, its log and its exit code;
# judge.py, outside, says what is right. A scene ends when its lines say so, not after a time: emulation is slow.

vivid() { insmod /mods/vivid.ko n_devs=1 node_types=0x1 "$@" && while [ ! -e "${node:-/dev/video0}" ]; do sleep 0.1; done; }
control() { v4l2-ctl -d "${node:-/dev/video0}" -c "$1" >/dev/null 2>&1; }

# Starts the program on a camera, with little to compute for an emulated processor: start SCENE ARGUMENTS…
start() {
    scene=$1
    shift
    echo "@@ scene $scene"
    edge-rcnn run --model /model --scale 16 --proposals 1 --threads 1 --stats-every 600 --source "$@" >/tmp/out 2>/tmp/log &
    run=$!
}

# Waits until so many lines hold a text: lines TEXT COUNT
lines() {
    for _ in $(seq 1200); do
        [ "$(grep -c "$1" /tmp/out)" -ge "$2" ] && return
        kill -0 $run 2>/dev/null || return
        sleep 0.1
    done
    echo "@@ note: waited in vain for $2 lines with $1"
}
frames() { lines '"type":"frame"' "$1"; }
files() { echo "@@ files $(ls /proc/$run/fd | wc -l)"; }

# Ends the program and prints what it said.
finish() {
    kill -TERM $run 2>/dev/null
    wait $run
    code=$?
    cat /tmp/out
    sed 's/^/@@ log /' /tmp/log
    echo "@@ code $code"
}

vivid
echo "@@ scene cameras"
edge-rcnn cameras 2>&1 | sed 's/^/@@ text /'
edge-rcnn cameras --json
echo "@@ code $?"

for format in yuyv uyvy nv12 nv21 i420 rgb24 bgr24 gray; do
    start "format $format" /dev/video0 --format $format --size 320x180 --fps 15
    frames 2
    finish
done

start "refused format" /dev/video0 --format mjpeg
lines waiting 1
finish

start "padded size" /dev/video0 --size 648x366 --format nv12
frames 2
finish

# vivid gives each frame the time at which it ends, and hands it over before: a time in the future. From here on it is
# the time at which the frame begins.
start "times in the future" /dev/video0 --size 320x180 --fps 15
frames 3
finish
control timestamp_source=1

start "hundred frames" /dev/video0 --size 320x180 --fps 15
frames 100
finish

start busy /dev/video0 --size 320x180
frames 1
edge-rcnn run --model /model --source /dev/video0 --require-camera 2>&1 | sed 's/^/@@ second /'
finish

start "controls" /dev/video0 --size 320x180 --set brightness=77 --set Contrast=55
frames 1
v4l2-ctl -C brightness,contrast | sed 's/^/@@ text /'
finish

start "unknown control" /dev/video0 --set brihgtness=77
lines waiting 1
finish

start "fatal streaming error" /dev/video0 --size 320x180
frames 2
files
control inject_fatal_streaming_error=1
lines '"camera":"lost"' 1
lines '"camera":"streaming"' 2
sleep 1
files
finish

start "unplugged and replugged" /dev/video0 --size 320x180
frames 2
files
# The driver cannot be removed while it is open; the program closes it when it sees the disconnection.
for _ in $(seq 50); do
    control disconnect=1
    sleep 0.3
    rmmod vivid 2>/dev/null && break
done
lines '"reason":"ENOENT"' 1
vivid
lines '"camera":"streaming"' 2
sleep 1
files
finish

# The first start of the camera is refused, the second is not.
control inject_vidioc_streamon_error=1
start "start refused" /dev/video0 --size 320x180
lines '"camera":"waiting"' 1
frames 2
finish

# A driver that is taken from its device and given back, as hubs do it that lose power.
start "unbound and bound" /dev/video0 --size 320x180
frames 2
files
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
lines '"reason":"ENOENT"' 1
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
lines '"camera":"streaming"' 2
sleep 1
files
finish
control timestamp_source=1

echo "@@ scene reader gone"
{
    edge-rcnn run --model /model --scale 16 --proposals 1 --threads 1 --source /dev/video0 --size 320x180 2>/tmp/log
    echo "@@ code $?" >/tmp/code
} | head -n 4
cat /tmp/code

mkdir -p /dev/v4l/by-id
ln -s ../../video0 /dev/v4l/by-id/usb-test-index0
start "another number behind the same link" /dev/v4l/by-id/usb-test-index0 --size 320x180
frames 1
for _ in $(seq 50); do
    control disconnect=1
    sleep 0.3
    rmmod vivid 2>/dev/null && break
done
lines '"reason":"ENOENT"' 1
node=/dev/video5
vivid vid_cap_nr=5
# What udev does.
ln -sfn ../../video5 /dev/v4l/by-id/usb-test-index0
lines '"camera":"streaming"' 2
finish
rmmod vivid
node=/dev/video0
vivid
control timestamp_source=1

start "exit on lost" /dev/video0 --size 320x180 --exit-on-lost
frames 1
control disconnect=1
wait $run
code=$?
cat /tmp/out
sed 's/^/@@ log /' /tmp/log
echo "@@ code $code"

control percentage_of_dropped_buffers=40
start "frames lost by the driver" /dev/video0 --size 320x180
frames 12
finish
control percentage_of_dropped_buffers=0

start "damaged buffers" /dev/video0 --size 320x180
frames 2
for _ in 1 2 3; do
    control inject_v4l2_buf_flag_error=1
    sleep 0.5
done
frames 4
finish

start "numbers that wrap" /dev/video0 --size 320x180 --set wrap_sequence_number=1
lines '"seq":4294967[3-9]' 2
finish
control wrap_sequence_number=0

start "times that wrap" /dev/video0 --size 320x180 --set wrap_timestamp=1
frames 6
finish
control wrap_timestamp=0

chmod 600 /dev/video0
echo "@@ scene not permitted"
start-stop-daemon -S -c nobody -x /bin/edge-rcnn -- run --model /model --source /dev/video0 --require-camera >/tmp/out 2>/tmp/log
code=$?
cat /tmp/out
sed 's/^/@@ log /' /tmp/log
echo "@@ code $code"

# vivid has no motion JPEG. This camera shows what is written to it, each write as a frame, and says that it is one from
# the first write on.
insmod /mods/v4l2loopback.ko video_nr=9 exclusive_caps=1 card_label=loop
v4l2-ctl -d /dev/video9 -c keep_format=1 -x width=512,height=512,pixelformat=MJPG >/dev/null

# Plays JPEG files for ever: play FILE…
play() {
    while :; do
        for frame in "$@"; do
            dd if="$frame" bs=1M 2>/dev/null
            sleep 0.1
        done
    done >/dev/video9 &
    film=$!
}
stop_playing() {
    kill $film
    wait $film 2>/dev/null
}

play /photo.jpg
start "motion jpeg" /dev/video9 --size 512x512
frames 5
finish
echo "@@ scene cameras with motion jpeg"
edge-rcnn cameras --json
echo "@@ code $?"
stop_playing

head -c 30000 /photo.jpg >/tmp/cut.jpg
echo "no picture" >/tmp/not.jpg
play /photo.jpg /tmp/cut.jpg /tmp/not.jpg
start "damaged jpegs" /dev/video9 --size 512x512
frames 6
finish
stop_playing

play /photo.jpg
start "nobody writes" /dev/video9 --size 512x512
frames 2
files
stop_playing
lines '"camera":"lost"' 1
play /photo.jpg
lines '"camera":"streaming"' 2
sleep 1
files
finish
stop_playing
