// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// The catching program: hands the packets of a measurement to its AF_XDP sockets and passes everything else to the
// kernel, untouched. Compile with ./build-bpf, which keeps the checked-in object in step.
//
// It decides by destination alone, IPv4 or IPv6, and takes whatever MAC a frame is sent to: that a packet is not as it
// should be is what the receiver is there to find out.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// What became of a packet, in the order of `CatchCounters` in catch.rs.
enum catch_count {
	TAKEN,
	PASSED,
	NO_SOCKET,
	CATCH_COUNTS,
};

// IPv4 addresses are written as IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2).
struct vtep_key {
	__u8 addr[16];
	__be16 port;
	__u16 zero;
};

struct prefix_key {
	__u32 bits;
	__u8 addr[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 64);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct vtep_key);
	__type(value, __u8);
	__uint(max_entries, 65536);
} vteps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_key);
	__type(value, __u8);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, CATCH_COUNTS);
} counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &what);

	if (n)
		(*n)++;
}

static __always_inline int ours(const void *data, const void *end)
{
	const struct ethhdr *eth = data;
	struct prefix_key prefix = { .bits = 128 };
	struct vtep_key vtep = {};
	const struct udphdr *udp = 0;

	if ((const void *)(eth + 1) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = (const void *)(eth + 1);

		if ((const void *)(ip + 1) > end)
			return 0;
		prefix.addr[10] = prefix.addr[11] = 0xff;
		__builtin_memcpy(&prefix.addr[12], &ip->daddr, 4);
		if (ip->protocol == IPPROTO_UDP)
			udp = (const void *)ip + ip->ihl * 4;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = (const void *)(eth + 1);

		if ((const void *)(ip + 1) > end)
			return 0;
		__builtin_memcpy(prefix.addr, &ip->daddr, 16);
		if (ip->nexthdr == IPPROTO_UDP)
			udp = (const void *)(ip + 1);
	} else {
		return 0;
	}
	if (udp && (const void *)(udp + 1) <= end) {
		__builtin_memcpy(vtep.addr, prefix.addr, 16);
		vtep.port = udp->dest;
		if (bpf_map_lookup_elem(&vteps, &vtep))
			return 1;
	}
	return bpf_map_lookup_elem(&prefixes, &prefix) != 0;
}

SEC("xdp")
int selvedge_catch(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;

	if (!ours((const void *)(long)ctx->data, (const void *)(long)ctx->data_end)) {
		count(PASSED);
		return XDP_PASS;
	}
	if (!bpf_map_lookup_elem(&xsks, &queue)) {
		count(NO_SOCKET);
		return XDP_PASS;
	}
	count(TAKEN);
	return bpf_redirect_map(&xsks, queue, XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
