// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// What the BPF programs of the flood and their loader agree on.
#ifndef FLOOD_H
#define FLOOD_H

// Bytes of a flow's record in the header file; what is not header is padding.
#define RECORD 128
// Most header words (8 bytes) copied into a frame.
#define MOST_WORDS 14
// Entries of the cycle of frame sizes: enough for IMIX, 7 : 4 : 1.
#define SIZES 12
// Histogram: 32 buckets an octave from 32 ns on (3 % wide), 1 ns each below; the last takes all above 2^41 ns.
#define SUB_BITS 5
#define SUB (1 << SUB_BITS)
#define BUCKETS ((41 - SUB_BITS + 1) * SUB)

struct record {
	__u8 bytes[RECORD];
};

// The test payload, right behind the header words. Network order is not needed: one machine writes and reads it.
struct stamp {
	__u32 run;   // which trial it belongs to
	__u64 due;   // intended time of sending, CLOCK_MONOTONIC in ns; 0 at maximum rate
} __attribute__((packed));

// What the sender counts.
struct sent {
	__u64 frames;  // handed to the device
	__u64 bytes;
	__u64 idle;    // runs in which no frame was due yet
	__u64 latest;  // largest delay against the intended time, ns
};

// What the counter counts, on each CPU.
struct counted {
	__u64 frames;  // of this run, and as expected
	__u64 bytes;
	__u64 wrong;   // of this run, but the expected word is another: not transformed as asked
	__u64 strange; // test frames of another run
	__u64 other;   // no test frames: left to the kernel
	__u64 latest;  // largest latency, ns
};

#endif
