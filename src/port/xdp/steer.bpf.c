// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// The steering program: hands the gateway's packets to its AF_XDP sockets and passes everything else to the kernel,
// untouched. One instance an interface. Compile with ./build-bpf, which keeps the checked-in object in step.
//
// It decides by addresses only. Whether a packet is sound is the worker's business, which counts what it refuses by
// name; here a packet that is too short to tell is simply not ours.

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// What became of a packet. Names and order are those of `SteerReason` in steer.rs; a test compares them.
enum steer_reason {
	REDIRECTED_UNDERLAY,
	REDIRECTED_ACCESS,
	REDIRECTED_NEIGHBOUR,
	PASS_NOT_IP,
	PASS_OTHER_VLAN,
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
#define ROLE_PROXY 4
// Not a role: its frames have the tags of `vlan`.
#define TAGGED 8

// The VLAN identifier within a tag (IEEE 802.1Q section 9.6); before it are priority and drop eligibility.
#define VLAN_ID 0x0fff
#define MAX_TAGS 2

#define IP_OFFSET 0x1fff
#define IP6_OFFSET 0xfff8

// RFC 4861 section 4.3: what a neighbour solicitation says it is, and the hop limit no router lets through.
#define ND_SOLICIT 135
#define ND_HOP_LIMIT 255

// Ethernet among ARP's hardware types, a request among its operations (RFC 826; numbers: RFC 5494). <linux/if_arp.h> has
// them, too, but brings headers of the C library, which nobody has for this target.
#define ARP_ETHERNET 1
#define ARP_REQUEST 1

// Destinations remembered on each CPU, a power of two: 32 KiB of IPv4, 96 KiB of IPv6.
#define RECENT 4096

// 8 bytes, so that an update from user space is seen whole or not at all.
struct port_config {
	__u8 mac[ETH_ALEN];
	__u16 roles;
};

// What stands in front of the EtherType of a frame with a tag, which takes its place.
struct vlan_tag {
	__be16 protocol;
	__be16 id;
};

// The tags of the port's frames, the outermost first.
struct vlan_config {
	__u32 count;
	struct vlan_tag tags[MAX_TAGS];
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

struct prefix6_key {
	__u32 bits;
	struct in6_addr addr;
};

// An ARP message about IPv4 on Ethernet (RFC 826), behind the Ethernet header.
struct arp_message {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 target_mac[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

// RFC 8200 section 4.5.
struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 identification;
};

// RFC 4861 section 4.3, less its options.
struct solicitation {
	struct icmp6hdr icmp;
	struct in6_addr target;
};

// What the trie said of an IPv6 address, and when: as a word of `recent`, less the address.
struct memory6 {
	__u64 high;
	__u64 low;
	__u64 known;
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

// Of no concern to a port that is not TAGGED.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct vlan_config);
	__uint(max_entries, 1);
} vlan SEC(".maps");

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

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix6_key);
	__type(value, __u8);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} prefixes6 SEC(".maps");

// What the trie said of a destination a moment ago: walking it costs more than all the rest. One word, so that it is
// written and read whole: the address, the generation it was looked up in, and in the lowest bit whether it is ours.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, RECENT);
} recent SEC(".maps");

// The same for IPv6. No word holds it, but nobody else writes or reads it either: it is this CPU's, and programs of one
// CPU run one after the other.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct memory6);
	__uint(max_entries, RECENT);
} recent6 SEC(".maps");

// Even. Raised by user space after each change of a trie, whereupon nothing remembered counts any more.
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

_Static_assert(RECENT == 1 << 12, "a slot is the upper 12 bits of 32, or of 64");

// The same for an IPv6 packet. The only extension header looked behind is the fragment header: the sender of a VXLAN
// packet has no use for another, and the kernel answers such a packet as it answers any UDP it has no socket for.
static __always_inline __u32 underlay6(const struct ipv6hdr *ip, const void *end)
{
	const struct fragment_header *fragment = (const void *)(ip + 1);
	const struct udphdr *udp = (const void *)(ip + 1);
	__u8 protocol = ip->nexthdr;
	struct vtep_key key = {};

	if (protocol == IPPROTO_FRAGMENT) {
		if ((const void *)(fragment + 1) > end)
			return PASS_TRUNCATED;
		protocol = fragment->next;
		udp = (const void *)(fragment + 1);
		if (protocol == IPPROTO_UDP && fragment->offset & bpf_htons(IP6_OFFSET))
			return PASS_FRAGMENT;
	}
	if (protocol != IPPROTO_UDP)
		return PASS_NOT_OURS;
	if ((const void *)(udp + 1) > end)
		return PASS_TRUNCATED;
	__builtin_memcpy(key.addr, &ip->daddr, 16);
	key.port = udp->dest;
	return bpf_map_lookup_elem(&vteps, &key) ? REDIRECTED_UNDERLAY : PASS_NOT_OURS;
}

// Multicast and link-local addresses mean something on their own link only, whatever prefix holds them (a default
// route holds them all).
static __always_inline int ours6(const struct in6_addr *address)
{
	struct prefix6_key key = { .bits = 128, .addr = *address };
	const __u8 *first = key.addr.in6_u.u6_addr8;
	const __u8 *take;

	if (first[0] == 0xff || (first[0] == 0xfe && (first[1] & 0xc0) == 0x80))
		return 0;
	take = bpf_map_lookup_elem(&prefixes6, &key);
	return take && *take;
}

static __always_inline __u32 access6(const struct ipv6hdr *ip)
{
	__u64 half[2];
	__u32 zero = 0, slot;
	const __u32 *now = bpf_map_lookup_elem(&generation, &zero);
	struct memory6 *memory;

	__builtin_memcpy(half, &ip->daddr, 16);
	slot = (half[0] * 31 ^ half[1]) * 11400714819323198485ULL >> 52;
	memory = bpf_map_lookup_elem(&recent6, &slot);
	if (!now || !memory)
		return PASS_NOT_OURS;
	// 1 << 32: what was never written is of no generation
	if ((memory->known & ~1ULL) != (1ULL << 32 | *now) || memory->high != half[0] || memory->low != half[1]) {
		memory->known = 1ULL << 32 | *now; // before the trie is asked, as above
		memory->known |= ours6(&ip->daddr);
		memory->high = half[0];
		memory->low = half[1];
	}
	return memory->known & 1 ? REDIRECTED_ACCESS : PASS_NOT_OURS;
}

static __always_inline int same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const __u16 *)a, *y = (const __u16 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

static __always_inline int is_broadcast(const __u8 *mac)
{
	const __u16 *x = (const __u16 *)mac;

	return (x[0] & x[1] & x[2]) == 0xffff;
}

// RFC 2464 section 7 of a solicited-node address (RFC 4291 section 2.7.1), less its last three octets.
static __always_inline int is_solicited(const __u8 *mac)
{
	return mac[0] == 0x33 && mac[1] == 0x33 && mac[2] == 0xff;
}

// Somebody on the link asks for the MAC address of a pod.
static __always_inline int asks_arp(const struct arp_message *arp, const void *end)
{
	return (const void *)(arp + 1) <= end && arp->hardware == bpf_htons(ARP_ETHERNET) &&
	       arp->protocol == bpf_htons(ETH_P_IP) && arp->hardware_len == ETH_ALEN && arp->protocol_len == 4 &&
	       arp->operation == bpf_htons(ARP_REQUEST) && ours(arp->target);
}

// The same question in IPv6. What comes from beyond the link has a lower hop limit.
static __always_inline int asks_nd(const struct ipv6hdr *ip, const void *end)
{
	const struct solicitation *nd = (const void *)(ip + 1);

	return ip->nexthdr == IPPROTO_ICMPV6 && ip->hop_limit == ND_HOP_LIMIT && (const void *)(nd + 1) <= end &&
	       nd->icmp.icmp6_type == ND_SOLICIT && nd->icmp.icmp6_code == 0 && ours6(&nd->target);
}

// What becomes of a frame whose payload, behind the EtherType, is `message`.
static __always_inline __u32 arp(const struct port_config *port, const struct ethhdr *eth, const void *message,
				 const void *end)
{
	int addressed = is_broadcast(eth->h_dest) || same_mac(eth->h_dest, port->mac);

	if (port->roles & ROLE_PROXY && addressed && asks_arp(message, end))
		return REDIRECTED_NEIGHBOUR;
	return PASS_NOT_IP;
}

static __always_inline __u32 ipv6(const struct port_config *port, const struct ethhdr *eth, const struct ipv6hdr *ip,
				  const void *end)
{
	int mine = same_mac(eth->h_dest, port->mac), proxy = port->roles & ROLE_PROXY;
	__u32 reason = PASS_NOT_OURS;

	if (!mine && !(proxy && is_solicited(eth->h_dest)))
		return PASS_OTHER_MAC;
	if ((const void *)(ip + 1) > end)
		return PASS_TRUNCATED;
	if (proxy && asks_nd(ip, end))
		return REDIRECTED_NEIGHBOUR;
	if (!mine)
		return PASS_OTHER_MAC;
	if (port->roles & ROLE_UNDERLAY)
		reason = underlay6(ip, end);
	if (reason != REDIRECTED_UNDERLAY && port->roles & ROLE_ACCESS && access6(ip) == REDIRECTED_ACCESS)
		return REDIRECTED_ACCESS;
	return reason;
}

static __always_inline __u32 ipv4(const struct port_config *port, const struct ethhdr *eth, const struct iphdr *ip,
				  const void *end)
{
	__u32 reason = PASS_NOT_OURS;

	if (!same_mac(eth->h_dest, port->mac))
		return PASS_OTHER_MAC;
	if ((const void *)(ip + 1) > end || ip->ihl < 5)
		return PASS_TRUNCATED;
	if (port->roles & ROLE_UNDERLAY)
		reason = underlay(ip, end);
	if (reason != REDIRECTED_UNDERLAY && port->roles & ROLE_ACCESS && access(ip) == REDIRECTED_ACCESS)
		return REDIRECTED_ACCESS;
	return reason;
}

static __always_inline int act(struct xdp_md *ctx, __u32 reason)
{
	return reason < PASS_NOT_IP ? redirect(ctx, reason) : pass(reason);
}

// A frame with a tag, out of the way of those without. On a port without tags it is nobody's business here, on one with
// tags only the frames with all of them are, and no others. Priority and drop eligibility say nothing about whose.
static __noinline int tagged(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data, *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = data;
	const struct vlan_tag *tag = data + 2 * ETH_ALEN;
	const struct port_config *port;
	const struct vlan_config *own;
	const __be16 *type;
	__u32 zero = 0;

	port = bpf_map_lookup_elem(&config, &zero);
	own = bpf_map_lookup_elem(&vlan, &zero);
	if (!port || !own)
		return XDP_PASS;
	if (!(port->roles & TAGGED))
		return pass(PASS_NOT_IP);
#pragma unroll
	for (__u32 n = 0; n < MAX_TAGS; n++) {
		if (n >= own->count)
			break;
		if ((const void *)(tag + 1) > end)
			return pass(PASS_TRUNCATED);
		if (tag->protocol != own->tags[n].protocol || (tag->id & bpf_htons(VLAN_ID)) != own->tags[n].id)
			return pass(PASS_OTHER_VLAN);
		tag++;
	}
	type = (const void *)tag;
	if ((const void *)(type + 1) > end)
		return pass(PASS_TRUNCATED);
	switch (bpf_ntohs(*type)) {
	case ETH_P_IP:
		return act(ctx, ipv4(port, eth, (const void *)(type + 1), end));
	case ETH_P_IPV6:
		return act(ctx, ipv6(port, eth, (const void *)(type + 1), end));
	case ETH_P_ARP:
		return act(ctx, arp(port, eth, (const void *)(type + 1), end));
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		return pass(PASS_OTHER_VLAN);
	default:
		return pass(PASS_NOT_IP);
	}
}

// Whatever is not IPv4, out of the way of what is.
static __always_inline int others(struct xdp_md *ctx, const struct ethhdr *eth, const void *end)
{
	const struct port_config *port;
	__u32 zero = 0;

	if (eth->h_proto == bpf_htons(ETH_P_8021Q) || eth->h_proto == bpf_htons(ETH_P_8021AD))
		return tagged(ctx);
	if (eth->h_proto != bpf_htons(ETH_P_IPV6) && eth->h_proto != bpf_htons(ETH_P_ARP))
		return pass(PASS_NOT_IP);
	port = bpf_map_lookup_elem(&config, &zero);
	if (!port)
		return XDP_PASS;
	if (port->roles & TAGGED)
		return pass(PASS_OTHER_VLAN);
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return act(ctx, arp(port, eth, eth + 1, end));
	return act(ctx, ipv6(port, eth, (const void *)(eth + 1), end));
}

static __always_inline int steer(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data, *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = data;
	const struct port_config *port;
	__u32 zero = 0;

	if ((const void *)(eth + 1) > end)
		return pass(PASS_TRUNCATED);
	if (__builtin_expect(eth->h_proto != bpf_htons(ETH_P_IP), 0))
		return others(ctx, eth, end);
	port = bpf_map_lookup_elem(&config, &zero);
	if (!port)
		return XDP_PASS;
	if (__builtin_expect(port->roles & TAGGED, 0))
		return pass(PASS_OTHER_VLAN);
	return act(ctx, ipv4(port, eth, (const void *)(eth + 1), end));
}

SEC("xdp")
int selvedge_steer(struct xdp_md *ctx)
{
	return steer(ctx);
}

// The same for packets in several buffers, of which it sees the first: all headers lie there. Kernels before 5.18 do not
// load it.
SEC("xdp.frags")
int selvedge_steer_sg(struct xdp_md *ctx)
{
	return steer(ctx);
}

char LICENSE[] SEC("license") = "GPL";
