// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// A tunnel in tc BPF, the way Cilium builds its own: programs at the ingress of the ports pick the tunnel by a map, and
// hand the packet to the kernel's vxlan device in external mode, which writes the outer headers.

#include <linux/pkt_cls.h>
#include "routes.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// Sends a packet where its inner destination lives; its headers begin with Ethernet.
static __always_inline int forward(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_tunnel_key key = {};
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct route *route;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
		return TC_ACT_OK;
	route = route_to(ip->daddr);
	if (!route)
		return TC_ACT_OK;
	decrement_ttl(ip);
	if (!route->vtep) {
		set_macs(eth, bed.near, bed.own_access);
		return bpf_redirect(bed.access, 0);
	}
	set_macs(eth, route->to, route->from);
	key.tunnel_id = route->vni;
	key.remote_ipv4 = bpf_ntohl(route->vtep);
	key.tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return TC_ACT_SHOT;
	return bpf_redirect(bed.tunnels[route->overlay & 1], 0);
}

SEC("classifier")
int from_access(struct __sk_buff *skb)
{
	return forward(skb);
}

SEC("classifier")
int from_tunnel(struct __sk_buff *skb)
{
	return forward(skb);
}
