/* What DPDK takes for the same work, in one process without hugepages, root or a NIC: `beside ROUNDS`.
 *
 * hash/N   rte_hash_lookup_bulk, 64 keys a call, N keys of 8 bytes (a domain and a pod's address), all found
 * encap/N  the table stage of librte_pipeline: its hash table of 8-byte keys (rte_table_hash_key8_ext) looks up the
 *          destination of 64 packets, and rte_table_action puts VXLAN headers on (and takes one off the TTL). This is
 *          what rte_pipeline_run calls for a table; ports are left out. It parses nothing, checks no source, and sends
 *          one UDP source port a rule.
 *
 * Prints a line `NAME TICKS` a round: ticks of the time-stamp counter an item. Packets are 60 bytes in 4,096 mbufs, laid
 * anew before each pass, which is not timed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_pipeline.h>
#include <rte_table_action.h>
#include <rte_table_hash.h>
#include <rte_table_hash_func.h>

#define BURST 64
#define PACKETS 4096
#define PASSES 16
#define FRAME 60

static void *need(void *p, const char *what)
{
	if (p == NULL) {
		fprintf(stderr, "beside: %s failed\n", what);
		exit(1);
	}
	return p;
}

static void hold(int ok, const char *what)
{
	need(ok ? (void *)1 : NULL, what);
}

static uint64_t seed = 1;

static uint64_t draw(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* The address of pod n of 64 nodes with a /24 each, as a number. */
static uint32_t pod(uint32_t n)
{
	return (10u << 24) + (64u << 16) + (n % 64 << 8) + n / 64 + ((n / 16320) << 22);
}

static uint64_t bulk(struct rte_hash *table, const uint64_t *keys, uint32_t many)
{
	const void *asked[BURST];
	int32_t at[BURST];
	uint64_t before = rte_rdtsc_precise();
	for (uint32_t n = 0; n < many; n += BURST) {
		for (uint32_t i = 0; i < BURST; i++)
			asked[i] = &keys[n + i];
		rte_hash_lookup_bulk(table, asked, BURST, at);
		hold(at[0] >= 0 && at[BURST - 1] >= 0, "a lookup");
	}
	return rte_rdtsc_precise() - before;
}

struct lookups {
	struct rte_hash *table;
	uint64_t *keys;
	uint32_t asked;
};

static struct lookups lookups(const char *name, uint32_t many)
{
	struct rte_hash_parameters how = {
		.name = name, .entries = 2 * many, .key_len = 8, .hash_func = rte_hash_crc, .socket_id = 0,
	};
	struct lookups l = { need(rte_hash_create(&how), "rte_hash_create"), need(calloc(65536, 8), "memory"), 65536 };
	for (uint32_t n = 0; n < many; n++) {
		uint64_t key = 1ull << 63 | 1ull << 32 | pod(n);
		hold(rte_hash_add_key(l.table, &key) >= 0, "rte_hash_add_key");
	}
	for (uint32_t n = 0; n < l.asked; n++)
		l.keys[n] = 1ull << 63 | 1ull << 32 | pod(draw() % many);
	return l;
}

/* The destination address is the second half of the key; the first is masked. */
static uint8_t mask[8] = { 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };

struct stage {
	struct rte_pipeline *pipeline; /* for what the actions want dropped: nothing */
	void *table;
	struct rte_pipeline_table_params action;
	uint32_t pods;
};

#define DATA (sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM)

static struct stage stage(const char *name, uint32_t pods)
{
	struct rte_pipeline_params whole = { .name = name, .socket_id = 0, .offset_port_id = 0 };
	struct stage s = { .pipeline = need(rte_pipeline_create(&whole), "a pipeline"), .pods = pods };
	struct rte_table_action_common_config common = { .ip_version = 1, .ip_offset = DATA + 14 };
	struct rte_table_action_encap_config encap = {
		.encap_mask = 1ull << RTE_TABLE_ACTION_ENCAP_VXLAN, .vxlan = { .data_offset = DATA, .ip_version = 1 },
	};
	struct rte_table_action_ttl_config ttl = { .drop = 1 };
	struct rte_table_action_profile *profile = need(rte_table_action_profile_create(&common), "a profile");
	hold(!rte_table_action_profile_action_register(profile, RTE_TABLE_ACTION_FWD, NULL), "the forward action");
	hold(!rte_table_action_profile_action_register(profile, RTE_TABLE_ACTION_TTL, &ttl), "the TTL action");
	hold(!rte_table_action_profile_action_register(profile, RTE_TABLE_ACTION_ENCAP, &encap), "the encap action");
	hold(!rte_table_action_profile_freeze(profile), "freezing the profile");
	struct rte_table_action *action = need(rte_table_action_create(profile, 0), "an action");
	hold(!rte_table_action_table_params_get(action, &s.action), "its handlers");
	struct rte_table_hash_params how = {
		.name = name, .key_size = 8, .key_offset = DATA + 26, .key_mask = mask, .n_keys = 2 * pods,
		.n_buckets = rte_align32pow2(pods), .f_hash = rte_table_hash_crc_key8, .seed = 0,
	};
	uint32_t size = sizeof(struct rte_pipeline_table_entry) + s.action.action_data_size;
	s.table = need(rte_table_hash_key8_ext_ops.f_create(&how, 0, size), "a hash table");
	struct rte_pipeline_table_entry *entry = need(rte_zmalloc(NULL, size, 64), "memory");
	for (uint32_t n = 0; n < pods; n++) {
		struct rte_table_action_fwd_params forward = { .action = RTE_PIPELINE_ACTION_PORT, .id = 0 };
		struct rte_table_action_ttl_params age = { .decrement = 1 };
		struct rte_table_action_encap_params outer = { .type = RTE_TABLE_ACTION_ENCAP_VXLAN };
		outer.vxlan.ipv4.sa = 0xc0000201;
		outer.vxlan.ipv4.da = 0xac100001 + n % 64;
		outer.vxlan.ipv4.ttl = 64;
		outer.vxlan.udp.sp = 49152;
		outer.vxlan.udp.dp = 8472;
		outer.vxlan.vxlan.vni = 1;
		hold(!rte_table_action_apply(action, entry, RTE_TABLE_ACTION_FWD, &forward), "a rule");
		hold(!rte_table_action_apply(action, entry, RTE_TABLE_ACTION_TTL, &age), "a rule");
		hold(!rte_table_action_apply(action, entry, RTE_TABLE_ACTION_ENCAP, &outer), "a rule");
		uint8_t key[8] = { 0 };
		uint32_t to = rte_cpu_to_be_32(pod(n));
		memcpy(key + 4, &to, 4);
		int found;
		void *at;
		hold(!rte_table_hash_key8_ext_ops.f_add(s.table, key, entry, &found, &at), "adding a key");
	}
	return s;
}

static void lay(struct rte_mbuf *m, uint32_t to)
{
	uint8_t frame[FRAME] = { 2, 0, 0, 0, 0, 0xa1, 2, 0, 0, 0, 0, 0xb1, 8, 0, 0x45, 0, 0, 46, 0, 7, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 2 };
	to = rte_cpu_to_be_32(to);
	memcpy(frame + 30, &to, 4);
	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->pkt_len = m->data_len = FRAME;
	memcpy(rte_pktmbuf_mtod(m, void *), frame, FRAME);
}

static uint64_t encap(struct stage *s, struct rte_mbuf **mbufs)
{
	struct rte_pipeline_table_entry *entries[BURST];
	for (uint32_t n = 0; n < PACKETS; n++)
		lay(mbufs[n], pod(draw() % s->pods));
	uint64_t before = rte_rdtsc_precise();
	for (uint32_t n = 0; n < PACKETS; n += BURST) {
		uint64_t hit = 0;
		rte_table_hash_key8_ext_ops.f_lookup(s->table, mbufs + n, UINT64_MAX, &hit, (void **)entries);
		s->action.f_action_hit(s->pipeline, mbufs + n, hit, entries, s->action.arg_ah);
		hold(hit == UINT64_MAX, "a hit");
	}
	uint64_t took = rte_rdtsc_precise() - before;
	hold(mbufs[7]->pkt_len == FRAME + 50 && rte_pktmbuf_mtod(mbufs[7], uint8_t *)[23] == 17, "encapsulating");
	return took;
}

int main(int argc, char **argv)
{
	char *eal[] = { argv[0], "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "512", "-l", "0", "--log-level", "4" };
	int rounds = argc > 1 ? atoi(argv[1]) : 5;
	hold(rte_eal_init(RTE_DIM(eal), eal) >= 0, "rte_eal_init");
	struct rte_mempool *pool =
		need(rte_pktmbuf_pool_create("packets", PACKETS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0), "packet memory");
	static struct rte_mbuf *mbufs[PACKETS];
	for (uint32_t n = 0; n < PACKETS; n++)
		mbufs[n] = need(rte_pktmbuf_alloc(pool), "a packet");
	struct { const char *name; struct lookups l; } hashes[] = {
		{ "hash/1k", lookups("1k", 1000) }, { "hash/64k", lookups("64k", 65536) },
	};
	struct { const char *name; struct stage s; } stages[] = {
		{ "encap/1k", stage("s1k", 1000) }, { "encap/10k", stage("s10k", 10000) },
	};
	for (int round = 0; round <= rounds; round++) {
		for (unsigned i = 0; i < RTE_DIM(hashes); i++) {
			uint64_t ticks = bulk(hashes[i].l.table, hashes[i].l.keys, hashes[i].l.asked);
			if (round > 0)
				printf("%s %.3f\n", hashes[i].name, (double)ticks / hashes[i].l.asked);
		}
		for (unsigned i = 0; i < RTE_DIM(stages); i++) {
			uint64_t ticks = 0;
			for (int pass = 0; pass < PASSES; pass++)
				ticks += encap(&stages[i].s, mbufs);
			if (round > 0)
				printf("%s %.3f\n", stages[i].name, (double)ticks / (PASSES * PACKETS));
		}
	}
	return 0;
}
