#!/usr/bin/env bash
# Linux pktgen: @SUMMARY@
#
# Written by `selvedge pktgen export`. Run it as root, on a kernel with CONFIG_NET_PKTGEN:
#
#   ./kernel-pktgen.sh IFACE              send
#   DRY_RUN=1 ./kernel-pktgen.sh IFACE    only say what would be done
#
# What this generator cannot express:
#   * payload: it writes a header of its own, so `selvedge pktgen` takes its packets for foreign ones: losses show in
#     the counters of the devices only, and there is no latency
#   * flows: addresses and ports are drawn independently, all alike: no Zipf, no seed, and about as many flows as asked
@LIMITS@
set -euo pipefail

if [ $# -ne 1 ]; then
	echo "usage: $0 IFACE" >&2
	exit 2
fi
iface=$1

# One command for a file of pktgen: its name, the command.
pg() {
	if [ -n "${DRY_RUN:-}" ]; then
		echo "pktgen $1: $2"
	else
		echo "$2" >"/proc/net/pktgen/$1"
	fi
}

run() {
	if [ -n "${DRY_RUN:-}" ]; then echo "$*"; else "$@"; fi
}

run modprobe pktgen

@DEVICES@

count=${#devices[@]}
threads=$(nproc)
for thread in $(seq 0 $((threads - 1))); do
	pg "kpktgend_$thread" "rem_device_all"
done

for i in "${!devices[@]}"; do
	device=${devices[$i]}
	pg "kpktgend_$((i % threads))" "add_device $device"
	while read -r command; do
		pg "$device" "$command"
	done <<-'COMMANDS'
@COMMANDS@
	COMMANDS
@RATE@
done

started=$SECONDS
if [ -z "${DRY_RUN:-}" ]; then
	# A run without a count is stopped from outside.
	(sleep @SECONDS@ && echo stop >/proc/net/pktgen/pgctrl) &
	stopper=$!
	trap 'kill "$stopper" 2>/dev/null || true' EXIT
fi
pg pgctrl start
for device in "${devices[@]}"; do
	[ -n "${DRY_RUN:-}" ] || grep -E 'pkts-sofar|Result|pps' "/proc/net/pktgen/$device"
done
@CLEANUP@
echo "done after $((SECONDS - started)) s"
