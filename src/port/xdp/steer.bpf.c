// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// The steering program: hands the gateway's packets to its AF_XDP sockets and passes everything else to the kernel,
// untouched. One instance an interface. Compile with ./build-bpf, which keeps the checked-in object in step.
//
// It decides by addresses only. Whether a packet is sound is the worker's business, which counts what it refuses by
// name; here a packet that is too short to tell is simply not ours.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// What became of a packet. Names and order are those of `SteerReason` in steer.rs; a test compares them.
enum steer_reason {
	REDIRECTED_UNDERLAY,
	REDIRECTED_ACCESS,
	PASS_NOT_IP,
	PASS_OTHER_MAC,
	PASS_NOT_OURS,
	PASS_FRAGMENT,
	PASS_TRUNCATED,
	PASS_NO_SOCKET,
	STEER_REASONS,
};

// Roles of the interface, as bits.
#define ROLE_UNDERLAY 1
#define ROLE_ACCESS 2

#define IP_OFFSET 0x1fff

// Destinations remembered on each CPU, a power of two: 32 KiB.
#define RECENT 4096

// 8 bytes, so that an update from user space is seen whole or not at all.
struct port_config {
	__u8 mac[ETH_ALEN];
	__u16 roles;
};

// IPv4 addresses are written as IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2).
struct vtep_key {
	__u8 addr[16];
	__be16 port;
	__u16 zero;
};

struct prefix4_key {
	__u32 bits;
	__u8 addr[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 64);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct port_config);
	__uint(max_entries, 1);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct vtep_key);
	__type(value, __u8);
	__uint(max_entries, 1024);
} vteps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix4_key);
	__type(value, __u8);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} prefixes4 SEC(".maps");

// What the trie said of a destination a moment ago: walking it costs more than all the rest. One word, so that it is
// written and read whole: the address, the generation it was looked up in, and in the lowest bit whether it is ours.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, RECENT);
} recent SEC(".maps");

// Even. Raised by user space after each change of the trie, whereupon nothing remembered counts any more.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} generation SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, STEER_REASONS);
} counters SEC(".maps");

static __always_inline void count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &reason);

	if (n)
		(*n)++;
}

static __always_inline int pass(__u32 reason)
{
	count(reason);
	return XDP_PASS;
}

// A queue without a socket is a mistake in the set-up that must be seen, not a packet that is not ours.
static __always_inline int redirect(struct xdp_md *ctx, __u32 reason)
{
	__u32 queue = ctx->rx_queue_index;

	if (!bpf_map_lookup_elem(&xsks, &queue))
		return pass(PASS_NO_SOCKET);
	count(reason);
	return bpf_redirect_map(&xsks, queue, XDP_PASS);
}

// The reason to redirect, or the reason to pass, of an underlay packet.
static __always_inline __u32 underlay(const struct iphdr *ip, const void *end)
{
	const struct udphdr *udp = (const void *)ip + ip->ihl * 4;
	struct vtep_key key = {};

	if (ip->protocol != IPPROTO_UDP)
		return PASS_NOT_OURS;
	// The first fragment has a UDP header and goes to the worker, which names it; the others cannot be told.
	if (ip->frag_off & bpf_htons(IP_OFFSET))
		return PASS_FRAGMENT;
	if ((const void *)(udp + 1) > end)
		return PASS_TRUNCATED;
	key.addr[10] = key.addr[11] = 0xff;
	__builtin_memcpy(&key.addr[12], &ip->daddr, 4);
	key.port = udp->dest;
	return bpf_map_lookup_elem(&vteps, &key) ? REDIRECTED_UNDERLAY : PASS_NOT_OURS;
}

// Whether the longest prefix that holds the address is one of ours. The host's own addresses stand in the trie, too,
// with a value of 0.
static __always_inline int ours(__be32 address)
{
	struct prefix4_key key = { .bits = 32 };
	const __u8 *take;

	__builtin_memcpy(key.addr, &address, 4);
	take = bpf_map_lookup_elem(&prefixes4, &key);
	return take && *take;
}

static __always_inline __u32 access(const struct iphdr *ip)
{
	// multiplicative hashing (Knuth): the upper bits of the product depend on all of the address
	__u32 zero = 0, slot = ip->daddr * 2654435769u >> 20;
	const __u32 *now = bpf_map_lookup_elem(&generation, &zero);
	__u64 *memory = bpf_map_lookup_elem(&recent, &slot);
	__u64 known, fresh;

	if (!now || !memory)
		return PASS_NOT_OURS;
	known = *memory;
	// The generation is read before the trie is: what an update overtakes is remembered as of before it, and void.
	fresh = (__u64)ip->daddr << 32 | *now;
	if ((known & ~1ULL) != fresh) {
		known = fresh | ours(ip->daddr);
		*memory = known;
	}
	return known & 1 ? REDIRECTED_ACCESS : PASS_NOT_OURS;
}

_Static_assert(RECENT == 1 << 12, "a slot is the upper 12 bits of 32");

static __always_inline int same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const __u16 *)a, *y = (const __u16 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

SEC("xdp")
int selvedge_steer(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data, *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = data;
	const struct iphdr *ip = (const void *)(eth + 1);
	const struct port_config *port;
	__u32 zero = 0, reason = PASS_NOT_OURS;

	if ((const void *)(eth + 1) > end)
		return pass(PASS_TRUNCATED);
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return pass(PASS_NOT_IP);
	port = bpf_map_lookup_elem(&config, &zero);
	if (!port)
		return XDP_PASS;
	if (!same_mac(eth->h_dest, port->mac))
		return pass(PASS_OTHER_MAC);
	if ((const void *)(ip + 1) > end || ip->ihl < 5)
		return pass(PASS_TRUNCATED);
	if (port->roles & ROLE_UNDERLAY)
		reason = underlay(ip, end);
	if (reason == REDIRECTED_UNDERLAY)
		return redirect(ctx, reason);
	if (port->roles & ROLE_ACCESS && access(ip) == REDIRECTED_ACCESS)
		return redirect(ctx, REDIRECTED_ACCESS);
	return pass(reason);
}

char LICENSE[] SEC("license") = "GPL";
