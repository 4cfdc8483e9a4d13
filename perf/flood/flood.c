// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// Loads the flood's programs. `flood send` sends one trial and prints what it did as one line of JSON. `flood count`
// stays, and obeys lines on its standard input until that ends. Both act in the network namespace they are started in.

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <linux/if_link.h>
#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "flood.h"
#include "flood.skel.h"

// Calls of a paced trial that is late: each lasts 20 ms.
#define MOST_CALLS 100
// Frames between two flushes. A paced frame waits for the end of its batch, so that one is short.
#define BATCH_FAST 64
#define BATCH_PACED 4
// XDP takes no larger frame here: what a page holds beside headroom and skb.
#define LARGEST 3400

static const char usage[] =
"Usage: flood send --dev DEV --headers FILE --words N --base LEN --sizes A[,B...] --run TAG\n"
"                  [--encapsulated] [--seconds S] [--rate PPS] [--cpu N]\n"
"       flood count --dev DEV --stamp-at N [--expect-at N --expect-mask HEX --expect-value HEX]\n"
"\n"
"send   floods DEV's peer from inside the kernel (BPF_PROG_RUN with live frames) and prints one JSON object.\n"
"       FILE holds one record of 128 bytes a flow. The first N words (8 bytes each) of a record are the headers of its\n"
"       frames, with the length fields of a frame of --base bytes; a stamp of 12 bytes follows them in the frame.\n"
"       --sizes is the cycle of frame lengths, 12 at most. --rate 0, the default, is as fast as it can.\n"
"       --encapsulated: outer headers of 50 bytes come first. The upper half of TAG (hexadecimal) tells test frames\n"
"       from others, the lower half trials from one another.\n"
"count  counts and drops the test frames that arrive at DEV. Commands on standard input, a line of answer each:\n"
"       `run TAG`  forget everything and expect that run: `ok`\n"
"       `count`    the counters, and when they were read (CLOCK_MONOTONIC, ns): one JSON object\n"
"       `read`     the same, and the latency histogram as [upper bound in ns, frames]\n";

__attribute__((noreturn, format(printf, 1, 2)))
static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("flood: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static uint64_t number(const char *name, const char *text, int radix, uint64_t most)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, radix);
	if (errno || end == text || *end || value > most)
		fail("--%s %s: a number up to %llu is wanted", name, text, (unsigned long long)most);
	return value;
}

// All options of both commands; what a command does not use, it does not look at.
struct options {
	const char *dev, *headers;
	unsigned index, words, base, stamp_at, expect_at, expect_mask, expect_value, run;
	uint16_t sizes[SIZES];
	unsigned n_sizes, largest;
	int encapsulated, cpu;
	double seconds;
	uint64_t rate;
};

static void read_sizes(struct options *o, char *list)
{
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		if (o->n_sizes == SIZES)
			fail("--sizes: at most %d", SIZES);
		unsigned size = number("sizes", word, 10, LARGEST);
		o->sizes[o->n_sizes++] = size;
		o->largest = size > o->largest ? size : o->largest;
	}
	// a shorter list goes round
	for (unsigned i = o->n_sizes; o->n_sizes && i < SIZES; i++)
		o->sizes[i] = o->sizes[i % o->n_sizes];
}

static struct options read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "dev", 1, 0, 'd' }, { "headers", 1, 0, 'h' }, { "words", 1, 0, 'w' }, { "base", 1, 0, 'b' },
		{ "sizes", 1, 0, 's' }, { "run", 1, 0, 'r' }, { "encapsulated", 0, 0, 'e' }, { "seconds", 1, 0, 't' },
		{ "rate", 1, 0, 'p' }, { "cpu", 1, 0, 'c' }, { "stamp-at", 1, 0, '1' }, { "expect-at", 1, 0, '2' },
		{ "expect-mask", 1, 0, '3' }, { "expect-value", 1, 0, '4' }, { "help", 0, 0, '?' }, {},
	};
	struct options o = { .cpu = -1, .seconds = 1 };
	int c, at;

	while ((c = getopt_long(argc, argv, "", known, &at)) != -1) {
		switch (c) {
		case 'd': o.dev = optarg; break;
		case 'h': o.headers = optarg; break;
		case 'w': o.words = number("words", optarg, 10, MOST_WORDS); break;
		case 'b': o.base = number("base", optarg, 10, LARGEST); break;
		case 's': read_sizes(&o, optarg); break;
		case 'r': o.run = number("run", optarg, 16, UINT32_MAX); break;
		case 'e': o.encapsulated = 1; break;
		case 't': o.seconds = atof(optarg); break;
		case 'p': o.rate = number("rate", optarg, 10, 100000000); break;
		case 'c': o.cpu = number("cpu", optarg, 10, CPU_SETSIZE - 1); break;
		case '1': o.stamp_at = number("stamp-at", optarg, 10, 256); break;
		case '2': o.expect_at = number("expect-at", optarg, 10, 256); break;
		case '3': o.expect_mask = number("expect-mask", optarg, 16, UINT32_MAX); break;
		case '4': o.expect_value = number("expect-value", optarg, 16, UINT32_MAX); break;
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind < argc)
		fail("what is `%s`?", argv[optind]);
	if (!o.dev || !(o.index = if_nametoindex(o.dev)))
		fail("--dev %s: no such interface here", o.dev ? o.dev : "");
	return o;
}

static struct flood_bpf *open_for(int sending)
{
	struct flood_bpf *flood;

	libbpf_set_print(warnings);
	flood = flood_bpf__open();
	if (!flood)
		fail("opening the BPF object: %s", strerror(errno));
	bpf_program__set_autoload(flood->progs.flood_send, sending);
	bpf_program__set_autoload(flood->progs.flood_count, !sending);
	return flood;
}

// All buckets in one system call: a reading must not disturb what it reads.
static void print_histogram(const char *name, int map, int cpus)
{
	uint64_t *values = calloc(BUCKETS * cpus, sizeof(*values));
	uint32_t *keys = calloc(BUCKETS, sizeof(*keys)), next, read = BUCKETS;
	const char *comma = "";

	// the last batch ends with ENOENT: there is no more
	if (bpf_map_lookup_batch(map, NULL, &next, keys, values, &read, NULL) && errno != ENOENT)
		fail("reading a histogram: %s", strerror(errno));
	printf("\"%s\":[", name);
	for (uint32_t i = 0; i < read; i++) {
		uint64_t count = 0, bucket = keys[i], below = bucket + 1;

		for (int cpu = 0; cpu < cpus; cpu++)
			count += values[i * cpus + cpu];
		if (!count)
			continue;
		if (bucket >= SUB)
			below = (SUB + bucket % SUB + 1) << (bucket / SUB - 1);
		printf("%s[%llu,%llu]", comma, (unsigned long long)below - 1, (unsigned long long)count);
		comma = ",";
	}
	printf("]");
	free(values);
	free(keys);
}

static void fill_headers(struct bpf_map *map, FILE *file, unsigned flows)
{
	for (uint32_t flow = 0; flow < flows; flow++) {
		struct record record;

		if (fread(&record, sizeof(record), 1, file) != 1)
			fail("the header file ends early");
		if (bpf_map__update_elem(map, &flow, sizeof(flow), &record, sizeof(record), BPF_ANY))
			fail("storing headers: %s", strerror(errno));
	}
}

static struct flood_bpf *load_sender(const struct options *o)
{
	unsigned least = (o->words * 8 + sizeof(struct stamp) > 58) ? o->words * 8 + sizeof(struct stamp) : 58;
	FILE *file = o->headers ? fopen(o->headers, "r") : NULL;
	struct flood_bpf *flood = open_for(1);
	long flows;

	if (!file || fseek(file, 0, SEEK_END) || (flows = ftell(file) / RECORD) < 1)
		fail("--headers %s: a file with one record of %d bytes a flow is wanted", o->headers, RECORD);
	rewind(file);
	if (!o->n_sizes || !o->words || !o->base)
		fail("--words, --base and --sizes are wanted; see --help");
	for (int i = 0; i < SIZES; i++)
		if (o->sizes[i] < least || o->sizes[i] < o->base)
			fail("--sizes %u: %u bytes of headers and stamp do not fit, or it is below --base", o->sizes[i], least);
	if (o->encapsulated && o->words * 8 < 92)
		fail("--encapsulated needs --words 12");
	flood->rodata->flows = flows;
	flood->rodata->words = o->words;
	flood->rodata->target = o->index;
	flood->rodata->run = o->run;
	flood->rodata->encapsulated = o->encapsulated;
	flood->rodata->base = o->base;
	flood->rodata->largest = o->largest;
	memcpy((void *)flood->rodata->sizes, o->sizes, sizeof(o->sizes));
	if (o->rate) {
		flood->rodata->interval_q16 = (uint64_t)(1e9 * 65536 / o->rate);
		flood->rodata->total = (uint64_t)(o->rate * o->seconds);
	}
	bpf_map__set_max_entries(flood->maps.headers, flows);
	if (flood_bpf__load(flood))
		fail("loading the BPF object: %s", strerror(errno));
	fill_headers(flood->maps.headers, file, flows);
	fclose(file);
	return flood;
}

static void on_timer(int signal)
{
	(void)signal; // it has done its work: BPF_PROG_RUN ends with EINTR
}

// Interrupts BPF_PROG_RUN after some seconds, and then again and again, lest one hit the moment before it.
static void interrupt_after(double seconds)
{
	struct sigaction action = { .sa_handler = on_timer };
	struct itimerval timer = {
		.it_value = { (time_t)seconds, (seconds - (time_t)seconds) * 1e6 },
		.it_interval = { 0, 20000 },
	};

	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &timer, NULL))
		fail("setting a timer: %s", strerror(errno));
}

static int send_flood(const struct options *o)
{
	struct flood_bpf *flood = load_sender(o);
	unsigned char *frame = calloc(1, o->largest);
	cpu_set_t cpus;
	int error;

	CPU_ZERO(&cpus);
	CPU_SET(o->cpu < 0 ? 0 : o->cpu, &cpus);
	if (o->cpu >= 0 && sched_setaffinity(0, sizeof(cpus), &cpus))
		fail("--cpu %d: %s", o->cpu, strerror(errno));
	// One call for the whole trial: the end of a call waits for RCU, many milliseconds in which nothing is sent.
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = o->largest, .repeat = INT32_MAX,
		.batch_size = o->rate ? BATCH_PACED : BATCH_FAST, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	// at a rate every frame is sent, however late, within reason
	interrupt_after(o->seconds + (o->rate ? 0.02 : 0));
	for (int calls = 0; calls < MOST_CALLS; calls++) {
		error = bpf_prog_test_run_opts(bpf_program__fd(flood->progs.flood_send), &run);
		if (error && error != -EINTR)
			fail("BPF_PROG_RUN: %s", strerror(-error));
		if (!o->rate || flood->bss->sent.frames >= flood->rodata->total)
			break;
	}
	printf("{\"frames\":%llu,\"bytes\":%llu,\"idle\":%llu,\"latest_ns\":%llu,\"seconds\":%.6f,",
	       (unsigned long long)flood->bss->sent.frames, (unsigned long long)flood->bss->sent.bytes,
	       (unsigned long long)flood->bss->sent.idle, (unsigned long long)flood->bss->sent.latest, o->seconds);
	print_histogram("late", bpf_map__fd(flood->maps.late), 1);
	puts("}");
	flood_bpf__destroy(flood);
	free(frame);
	return 0;
}

static void zero(int map, unsigned entries, size_t value_size, int cpus)
{
	void *nothing = calloc(cpus, value_size);

	for (uint32_t i = 0; i < entries; i++)
		if (bpf_map_update_elem(map, &i, nothing, BPF_ANY))
			fail("clearing counters: %s", strerror(errno));
	free(nothing);
}

static void print_counts(struct flood_bpf *flood, int cpus, int with_latency)
{
	struct counted all[cpus], sum = {};
	uint32_t first = 0;
	uint64_t at = now_ns();

	if (bpf_map_lookup_elem(bpf_map__fd(flood->maps.counts), &first, all))
		fail("reading counters: %s", strerror(errno));
	for (int i = 0; i < cpus; i++) {
		sum.frames += all[i].frames;
		sum.bytes += all[i].bytes;
		sum.wrong += all[i].wrong;
		sum.strange += all[i].strange;
		sum.other += all[i].other;
		sum.latest = all[i].latest > sum.latest ? all[i].latest : sum.latest;
	}
	printf("{\"at_ns\":%llu,\"frames\":%llu,\"bytes\":%llu,\"wrong\":%llu,\"strange\":%llu,\"other\":%llu,"
	       "\"latest_ns\":%llu", (unsigned long long)at, (unsigned long long)sum.frames, (unsigned long long)sum.bytes, (unsigned long long)sum.wrong,
	       (unsigned long long)sum.strange, (unsigned long long)sum.other, (unsigned long long)sum.latest);
	if (with_latency) {
		printf(",");
		print_histogram("latency", bpf_map__fd(flood->maps.latency), cpus);
	}
	puts("}");
}

// An answer that waits for a core while systems under test fill them all would come when the flood is over.
static void go_first(void)
{
	struct sched_param priority = { .sched_priority = 3 };

	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority))
		fail("real-time priority: %s", strerror(errno));
}

static int count_flood(const struct options *o)
{
	struct flood_bpf *flood = open_for(0);
	int cpus = libbpf_num_possible_cpus();
	struct bpf_link *link;
	char line[64];
	unsigned run;

	flood->rodata->stamp_at = o->stamp_at;
	flood->rodata->expect_at = o->expect_at;
	flood->rodata->expect_mask = __builtin_bswap32(o->expect_mask);
	flood->rodata->expect_value = __builtin_bswap32(o->expect_value);
	if (flood_bpf__load(flood))
		fail("loading the BPF object: %s", strerror(errno));
	// by link: whatever becomes of this process, the interface is free again
	link = bpf_program__attach_xdp(flood->progs.flood_count, o->index);
	if (!link)
		fail("attaching to %s: %s", o->dev, strerror(errno));
	go_first();
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ok");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "run %x", &run) == 1) {
			zero(bpf_map__fd(flood->maps.counts), 1, sizeof(struct counted), cpus);
			zero(bpf_map__fd(flood->maps.latency), BUCKETS, sizeof(uint64_t), cpus);
			flood->bss->run_counted = run;
			puts("ok");
		} else if (!strcmp(line, "count\n") || !strcmp(line, "read\n")) {
			print_counts(flood, cpus, line[0] == 'r');
		} else {
			fail("commands are `run TAG`, `count` and `read`, not %s", line);
		}
	}
	bpf_link__destroy(link);
	flood_bpf__destroy(flood);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;

	if (argc < 2 || (strcmp(argv[1], "send") && strcmp(argv[1], "count"))) {
		fputs(usage, stderr);
		return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
	}
	o = read_options(argc - 1, argv + 1);
	return strcmp(argv[1], "send") ? count_flood(&o) : send_flood(&o);
}
