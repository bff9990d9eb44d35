#!/usr/bin/env bash
# TCP through `kernel_forward` against a Linux bridge with veth, side by side: interleaved runs, median of each.
#
#   ffi/examples/kernel_forward.sh [ROUNDS [SECONDS [STREAMS]]]
#
# Client and server run on core 0, the forwarder on core 1 (CLIENT_CORES, SERVER_CORES, FORWARD_CORES say otherwise).
# Needs root, iperf3 and the release build of the example
# (`cargo build --release -p shunt-ffi --example kernel_forward`; KERNEL_FORWARD names another binary).
# Other work on the machine hurts the forwarder more than the bridge, which needs one core only. nice(1) does not reach
# beyond the session where the scheduler groups by session; this does:
#   setsid -w bash -c 'echo -20 >/proc/self/autogroup; exec ffi/examples/kernel_forward.sh'
# IPERF holds further iperf3 options; VERBOSE=1 shows the forwarder's counters.
# VARIANTS: what to compare, one per line: `bridge`, or arguments of kernel_forward up to the port kind (`veth`, `tap`).
set -euo pipefail

rounds=${1:-5} seconds=${2:-4} streams=${3:-1}
here=$(cd "$(dirname "$0")" && pwd)
forward=${KERNEL_FORWARD:-$here/../../target/release/examples/kernel_forward}
variants=${VARIANTS:-$'bridge\nveth\ntap'}
read -ra extra <<<"${IPERF:-}"
tag=kf$$
work=$(mktemp -d)

clean() {
    local pid name
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for name in a b s; do ip netns del "$tag$name" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT

pod() { # name address
    ip -n "$tag$1" addr add "$2/24" dev eth0
    ip -n "$tag$1" link set eth0 up
}

run() { # variant -> Gbit/s on stdout
    local words kind forwarder='' server
    read -ra words <<<"$1"
    kind=${words[-1]}
    rm -f "$work/forward"
    for name in a b s; do ip netns add "$tag$name"; done
    if [[ $kind == tap || $kind == tun ]]; then
        nice -n -20 taskset -c "${FORWARD_CORES:-1}" "$forward" "${words[@]}" "$tag"{a,b} >"$work/forward" 2>&1 &
        forwarder=$!
    else
        for name in a b; do ip -n "${tag}s" link add "host$name" type veth peer name eth0 netns "$tag$name"; done
        if [[ $kind == bridge ]]; then
            ip -n "${tag}s" link add br0 type bridge
            ip -n "${tag}s" link set br0 up
            for name in a b; do ip -n "${tag}s" link set "host$name" master br0 up; done
        else
            ip netns exec "${tag}s" nice -n -20 taskset -c "${FORWARD_CORES:-1}" "$forward" "${words[@]}" hosta hostb >"$work/forward" 2>&1 &
            forwarder=$!
        fi
    fi
    if [[ -n $forwarder ]]; then
        for _ in {1..100}; do grep -qs forwarding "$work/forward" && break; sleep 0.05; done
        grep -qs forwarding "$work/forward" || { cat "$work/forward" >&2; exit 1; }
    fi
    if [[ $kind != tap && $kind != tun ]]; then
        pod a 10.99.0.1
        pod b 10.99.0.2
    fi
    ip netns exec "${tag}b" nice -n -20 taskset -c "${SERVER_CORES:-0}" iperf3 -s -1 >/dev/null 2>&1 &
    server=$!
    for _ in {1..100}; do ip netns exec "${tag}b" ss -ltn 2>/dev/null | grep -q 5201 && break; sleep 0.05; done
    ip netns exec "${tag}a" nice -n -20 taskset -c "${CLIENT_CORES:-0}" iperf3 -J -c 10.99.0.2 -t "$seconds" -P "$streams" "${extra[@]}" >"$work/json" || { cat "$work/json" "$work/forward" >&2; }
    wait "$server" || true
    if [[ -n $forwarder ]]; then
        kill "$forwarder"
        wait "$forwarder" || true
        [[ -z ${VERBOSE:-} ]] || sed "s/^/    /" "$work/forward" >&2
    fi
    for name in a b s; do ip netns del "$tag$name"; done
    python3 -c 'import json,sys; end=json.load(open(sys.argv[1]))["end"]; print("%.2f %d" % (end["sum_received"]["bits_per_second"]/1e9, end["sum_sent"].get("retransmits", 0)))' "$work/json"
}

for ((round = 0; round < rounds; round++)); do
    while IFS= read -r variant; do
        result=$(run "$variant")
        echo "$variant: $result" >&2
        echo "${result% *}	$variant" >>"$work/all"
    done <<<"$variants"
done
python3 - "$work/all" <<'PYTHON'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    figure, name = line.rstrip("\n").split("\t")
    rows.setdefault(name, []).append(float(figure))
medians = {name: statistics.median(figures) for name, figures in rows.items()}
base = medians.get("bridge")
for name, median in medians.items():
    ratio = f"  {median / base:.2f} x bridge" if base else ""
    print(f"{name:30} median {median:6.2f} Gbit/s  min {min(rows[name]):.2f} max {max(rows[name]):.2f}{ratio}")
PYTHON
