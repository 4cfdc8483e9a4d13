// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// What both BPF peers forward by: a table of /24 networks, and the addresses of the bed. Filled by peers/bpf.rs, which
// knows the layout by the byte.
#ifndef ROUTES_H
#define ROUTES_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Where a /24 is: behind a VTEP, or (vtep 0) in the native network.
struct route {
	__be32 vtep;
	__u32 vni;
	__be16 port;
	__u8 overlay; // 0 blue, 1 green
	__u8 zero;
	__u8 to[ETH_ALEN];   // inner destination MAC
	__u8 from[ETH_ALEN]; // inner source MAC: ours
};

struct bed {
	__u32 access, underlay;   // interface indices
	__u32 tunnels[2];         // of the kernel's vxlan devices, where used
	__be32 local;             // our VTEP
	__u8 near[ETH_ALEN], far[ETH_ALEN];
	__u8 own_access[ETH_ALEN], own_underlay[ETH_ALEN];
};

const volatile struct bed bed = {};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, struct route);
} routes SEC(".maps");

static __always_inline struct route *route_to(__be32 address)
{
	__be32 network = address & bpf_htonl(0xffffff00);

	return bpf_map_lookup_elem(&routes, &network);
}

// RFC 1624 for a TTL one less.
static __always_inline void decrement_ttl(struct iphdr *ip)
{
	__u32 sum = ip->check + bpf_htons(0x0100);

	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
}

static __always_inline void set_macs(struct ethhdr *eth, const volatile __u8 *to, const volatile __u8 *from)
{
	for (int i = 0; i < ETH_ALEN; i++) {
		eth->h_dest[i] = to[i];
		eth->h_source[i] = from[i];
	}
	eth->h_proto = bpf_htons(ETH_P_IP);
}

#endif
