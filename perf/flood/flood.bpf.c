// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// The two ends of a measurement, both in the kernel, so that they cost little beside what is measured:
//
//   flood_send   run by BPF_PROG_RUN with live frames: writes the next flow's headers into a frame and redirects it into
//                the interface, at a rate or as fast as it can
//   flood_count  at the far interface: counts test frames, checks them, takes their latency, and drops them
//
// One sender thread a loaded object: its counters are plain words.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "flood.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// Set by the loader before the program is verified, so that the compiler's branches on them cost nothing.
const volatile __u32 flows = 1;          // records in `headers`
const volatile __u32 words = 6;          // header words in front of the stamp
const volatile __u32 target = 0;         // interface index to send to
const volatile __u32 run = 0;            // of this trial
const volatile __u32 encapsulated = 0;   // 1: the frame begins with outer headers of 50 bytes
const volatile __u16 base = 60;          // the frame length that the lengths in `headers` are for
const volatile __u16 largest = 60;       // the length of the frames BPF_PROG_RUN offers
const volatile __u16 sizes[SIZES] = {};  // the cycle of frame lengths
const volatile __u64 interval_q16 = 0;   // nanoseconds between frames × 65536; 0: as fast as it can
const volatile __u64 total = ~0ULL;      // frames after which nothing more is sent

// Of the counting program, changed by the loader between trials.
volatile __u32 run_counted = 0;
const volatile __u32 stamp_at = 0;      // where the stamp is
const volatile __u32 expect_at = 0;     // where the expected word is
const volatile __u32 expect_mask = 0;   // network order
const volatile __u32 expect_value = 0;

__u64 start = 0; // of a paced trial: when its first frame was due, CLOCK_MONOTONIC in ns
struct sent sent = {};
__u32 next_flow = 0;
__u32 next_size = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); // the loader knows how many
	__type(key, __u32);
	__type(value, struct record);
} headers SEC(".maps");

// Delay of the sender against the intended time.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} late SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counted);
} counts SEC(".maps");

// From the intended time of sending to the counting program.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} latency SEC(".maps");

static __always_inline __u32 log2_of(__u64 v)
{
	__u32 n = 0;

	if (v >> 32) { v >>= 32; n += 32; }
	if (v >> 16) { v >>= 16; n += 16; }
	if (v >> 8) { v >>= 8; n += 8; }
	if (v >> 4) { v >>= 4; n += 4; }
	if (v >> 2) { v >>= 2; n += 2; }
	return n + (v >> 1);
}

static __always_inline void record_in(void *histogram, __u64 ns)
{
	__u32 bucket = ns, octave;
	__u64 *count;

	if (ns >= SUB) {
		octave = log2_of(ns);
		bucket = (octave - SUB_BITS + 1) * SUB + ((ns >> (octave - SUB_BITS)) & (SUB - 1));
	}
	if (bucket >= BUCKETS)
		bucket = BUCKETS - 1;
	count = bpf_map_lookup_elem(histogram, &bucket);
	if (count)
		*count += 1;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// Makes an IPv4 packet with UDP `more` bytes longer than its headers say; its UDP checksum is 0 (RFC 768: none).
static __always_inline void lengthen(void *ip, __u16 more)
{
	__be16 *length = ip + 2, *check = ip + 10, *udp_length = ip + 24;
	__u16 old = bpf_ntohs(*length), new = old + more;

	*length = bpf_htons(new);
	*udp_length = bpf_htons(bpf_ntohs(*udp_length) + more);
	// RFC 1624, equation 3
	*check = bpf_htons(~fold((__u16)~bpf_ntohs(*check) + (__u16)~old + new));
}

// False while no frame is due.
static __always_inline int due_now(__u64 *due)
{
	__u64 now;

	*due = 0;
	if (sent.frames >= total)
		return 0;
	if (!interval_q16)
		return 1;
	now = bpf_ktime_get_ns();
	if (!start)
		start = now;
	*due = start + (sent.frames * interval_q16 >> 16);
	if (now < *due)
		return 0;
	record_in(&late, now - *due);
	if (now - *due > sent.latest)
		sent.latest = now - *due;
	return 1;
}

SEC("xdp")
int flood_send(struct xdp_md *ctx)
{
	__u32 flow = next_flow, size = next_size;
	struct record *record;
	struct stamp *stamp;
	void *data, *end;
	__u16 length;
	__u64 due;

	if (!due_now(&due)) {
		sent.idle++;
		return XDP_DROP;
	}
	next_flow = flow + 1 < flows ? flow + 1 : 0;
	next_size = size + 1 < SIZES ? size + 1 : 0;
	length = sizes[size < SIZES ? size : 0];
	if (length < largest && bpf_xdp_adjust_tail(ctx, (int)length - (int)largest))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	record = bpf_map_lookup_elem(&headers, &flow);
	// every frame has room for all words and the stamp: the loader saw to it
	if (!record || data + words * 8 + sizeof(*stamp) > end || data + 58 > end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < MOST_WORDS; i++) {
		if (i >= words)
			break;
		if (data + (i + 1) * 8 > end)
			return XDP_ABORTED;
		((__u64 *)data)[i] = ((__u64 *)record->bytes)[i];
	}
	if (length != base) {
		lengthen(data + 14, length - base);
		if (encapsulated) {
			if (data + 108 > end)
				return XDP_ABORTED;
			lengthen(data + 64, length - base);
		}
	}
	stamp = data + words * 8;
	if ((void *)(stamp + 1) > end)
		return XDP_ABORTED;
	stamp->run = run;
	stamp->due = due;
	sent.frames++;
	sent.bytes += length;
	return bpf_redirect(target, 0);
}

SEC("xdp")
int flood_count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct stamp *stamp = data + stamp_at;
	__u32 *word = data + expect_at, zero = 0;
	struct counted *counted = bpf_map_lookup_elem(&counts, &zero);
	__u64 taken;

	if (!counted)
		return XDP_ABORTED;
	if ((void *)(stamp + 1) > end || (void *)(word + 1) > end || (stamp->run ^ run_counted) >> 16) {
		counted->other++;
		return XDP_PASS;
	}
	if (stamp->run != run_counted) {
		counted->strange++;
		return XDP_DROP;
	}
	if ((*word & expect_mask) != expect_value) {
		counted->wrong++;
		return XDP_DROP;
	}
	counted->frames++;
	counted->bytes += end - data;
	if (stamp->due) {
		taken = bpf_ktime_get_ns() - stamp->due;
		record_in(&latency, taken);
		if (taken > counted->latest)
			counted->latest = taken;
	}
	return XDP_DROP;
}
