// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// A VXLAN gateway wholly in XDP: the ceiling of what this kernel and these interfaces can do. It does less than the
// gateway: no guard, no counters, no ICMP errors, no path MTU, no neighbours, /24 routes only.

#include "routes.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct vxlan {
	__be32 flags, vni;
};

struct outer {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct vxlan vxlan;
} __attribute__((packed));

// Kinds of packets on one flow have one source port (RFC 7348 §5), from the inner addresses and ports.
static __always_inline __be16 entropy(struct iphdr *ip, void *end)
{
	__u32 hash = ip->saddr ^ ip->daddr, *ports = (void *)(ip + 1);

	if ((void *)(ports + 1) <= end)
		hash ^= *ports;
	hash *= 0x9e3779b1;
	return bpf_htons(49152 | hash >> 18);
}

static __always_inline void write_outer(struct outer *o, struct route *route, __u16 inner_length, __be16 source)
{
	__u32 sum = 0;
	__u16 *words = (void *)&o->ip;

	set_macs(&o->eth, bed.far, bed.own_underlay);
	o->ip.version = 4;
	o->ip.ihl = 5;
	o->ip.tos = 0;
	o->ip.tot_len = bpf_htons(inner_length + sizeof(*o) - sizeof(o->eth));
	o->ip.id = 0;
	o->ip.frag_off = bpf_htons(0x4000);
	o->ip.ttl = 64;
	o->ip.protocol = IPPROTO_UDP;
	o->ip.check = 0;
	o->ip.saddr = bed.local;
	o->ip.daddr = route->vtep;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	o->ip.check = ~((sum & 0xffff) + (sum >> 16));
	o->udp.source = source;
	o->udp.dest = route->port;
	o->udp.len = bpf_htons(inner_length + sizeof(o->udp) + sizeof(o->vxlan));
	o->udp.check = 0;
	o->vxlan.flags = bpf_htonl(0x08000000);
	o->vxlan.vni = bpf_htonl(route->vni << 8);
}

SEC("xdp")
int from_access(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct route *route;
	struct outer *outer;
	__u16 length = end - data;
	__be16 source;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
		return XDP_PASS;
	route = route_to(ip->daddr);
	if (!route || !route->vtep)
		return XDP_PASS;
	decrement_ttl(ip);
	set_macs(eth, route->to, route->from);
	source = entropy(ip, end);
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*outer)))
		return XDP_DROP;
	outer = (void *)(long)ctx->data;
	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	write_outer(outer, route, length, source);
	return bpf_redirect(bed.underlay, 0);
}

SEC("xdp")
int from_underlay(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct outer *outer = data;
	struct ethhdr *eth = (void *)(outer + 1);
	struct iphdr *ip = (void *)(eth + 1);
	struct route *route;

	if ((void *)(ip + 1) > end || outer->eth.h_proto != bpf_htons(ETH_P_IP) || outer->ip.ihl != 5 ||
	    outer->ip.protocol != IPPROTO_UDP || outer->ip.daddr != bed.local ||
	    !(outer->vxlan.flags & bpf_htonl(0x08000000)) || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
		return XDP_PASS;
	route = route_to(ip->daddr);
	if (!route)
		return XDP_PASS;
	decrement_ttl(ip);
	if (route->vtep) {
		set_macs(eth, route->to, route->from);
		write_outer(outer, route, end - (void *)eth, entropy(ip, end));
		return bpf_redirect(bed.underlay, 0);
	}
	set_macs(eth, bed.near, bed.own_access);
	if (bpf_xdp_adjust_head(ctx, sizeof(*outer)))
		return XDP_DROP;
	return bpf_redirect(bed.access, 0);
}
