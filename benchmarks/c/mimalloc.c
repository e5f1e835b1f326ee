// The workloads of internal/worker on mimalloc, with threads for goroutines and
// the same work on each object's bytes. The driver compiles this with the lengths
// of internal/catalog as macros, writes a line for each cell
//
//	KIND OBJECTS ORDER SIZE ZEROED WORKERS ROUNDS TARGET_NS
//
// and reads {"ns":[...]}, ns a pair in each round.

#include <mimalloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INLINE static inline __attribute__((always_inline))
#define QUEUE 16

#define MEET_BARRIERS 8
#define MEET_QUICK_NS 20000
#define MEET_PATIENCE_NS 30000000

typedef struct worker worker;

// ops are the loops for one size and mode, compiled with both as constants.
typedef struct {
	void (*ping_pong)(worker *, long n);
	void (*get_all)(void **xs, long n);
	void (*put_all)(worker *, void **xs, const int *order, long n);
	void (*exchange)(worker *, long n);
	void (*larson)(worker *, void **xs, long n);
} ops;

// Threads live from first to last: a new one would begin with an empty heap.
struct worker {
	int id;
	uint64_t sum, rng;
	int64_t start, end;
	void **objects; // of a churn
} __attribute__((aligned(128)));

typedef struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void **items[QUEUE + 2];
	int head, cap;
	_Atomic int len;
} queue;

static struct {
	char kind[32];
	int workers, *order;
	long objects, n;
	const ops *ops;
	void **base, **extra; // of a burst
	void **arrays[THREADS];
	_Atomic(void **) inherit[THREADS];
	queue full, empty;
	int64_t took; // by bursts
	long pairs;
} cell;

static _Atomic(void *) table[TABLE_LEN];
static worker workers[THREADS];

static void *must(void *p) {
	if (!p) {
		fputs("mimalloc: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

INLINE uint64_t next_random(worker *w) {
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng;
}

INLINE void *get(size_t size, bool zeroed, uint64_t value) {
	uint64_t *x = mi_malloc(size);
	if (__builtin_expect(!x, 0)) must(x);
	if (zeroed) memset(x, 0, size);
	for (size_t k = 0; k < size / 8; k += 8) x[k] = value;
	return x;
}

INLINE uint64_t put(size_t size, void *p) {
	uint64_t *x = p, sum = 0;
	for (size_t k = 0; k < size / 8; k += 8) sum += x[k];
	mi_free(x);
	return sum;
}

#define VARIANT(SIZE, ZEROED) \
	static void ping_pong_##SIZE##_##ZEROED(worker *w, long n) { \
		for (long i = 0; i < n; i++) w->sum += put(SIZE, get(SIZE, ZEROED, i)); \
	} \
	static void get_all_##SIZE##_##ZEROED(void **xs, long n) { \
		for (long i = 0; i < n; i++) xs[i] = get(SIZE, ZEROED, i); \
	} \
	static void put_all_##SIZE##_##ZEROED(worker *w, void **xs, const int *order, long n) { \
		for (long i = 0; i < n; i++) w->sum += put(SIZE, xs[order[i]]); \
	} \
	static void exchange_##SIZE##_##ZEROED(worker *w, long n) { \
		for (long i = 0; i < n; i++) { \
			void *x = get(SIZE, ZEROED, i); \
			w->sum += put(SIZE, atomic_exchange(&table[next_random(w) % TABLE_LEN], x)); \
		} \
	} \
	static void larson_##SIZE##_##ZEROED(worker *w, void **xs, long n) { \
		for (long i = 0; i < n; i++) { \
			uint64_t k = next_random(w) % TABLE_LEN; \
			w->sum += put(SIZE, xs[k]); \
			xs[k] = get(SIZE, ZEROED, i); \
		} \
	}
#define OPS(SIZE, ZEROED) \
	{ ping_pong_##SIZE##_##ZEROED, get_all_##SIZE##_##ZEROED, put_all_##SIZE##_##ZEROED, \
	  exchange_##SIZE##_##ZEROED, larson_##SIZE##_##ZEROED }
#define SIZES(M, Z) M(16, Z) M(64, Z) M(256, Z) M(1024, Z)

SIZES(VARIANT, 0)
SIZES(VARIANT, 1)
#define CASE(SIZE, ZEROED) case SIZE * 2 + ZEROED: { static const ops o = OPS(SIZE, ZEROED); return &o; }

static const ops *find_ops(int size, int zeroed) {
	switch (size * 2 + zeroed) {
		SIZES(CASE, 0)
		SIZES(CASE, 1)
	}
	return NULL;
}

// Queues of batches, for producer and consumer.

static void queue_init(queue *q, int cap) {
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	q->cap = cap;
}

// while_len waits a little, as Go's scheduler does, before the kernel is asked to.
static void while_len(queue *q, int len) {
	for (int spins = 0; spins < 4000 && atomic_load(&q->len) == len; spins++) {}
}

static void push(queue *q, void **xs) {
	while_len(q, q->cap);
	pthread_mutex_lock(&q->lock);
	while (q->len == q->cap) pthread_cond_wait(&q->changed, &q->lock);
	q->items[(q->head + q->len++) % q->cap] = xs;
	pthread_cond_signal(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

static void **pop(queue *q) {
	while_len(q, 0);
	pthread_mutex_lock(&q->lock);
	while (q->len == 0) pthread_cond_wait(&q->changed, &q->lock);
	void **xs = q->items[q->head];
	q->head = (q->head + 1) % q->cap;
	q->len--;
	pthread_cond_signal(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return xs;
}

// The work of each worker in one run; cell.n is pairs, batches or rounds.

static void work_ping_pong(worker *w) { cell.ops->ping_pong(w, cell.n); }
static void work_exchange(worker *w) { cell.ops->exchange(w, cell.n); }

static void work_churn(worker *w) {
	for (long i = 0; i < cell.n; i++) {
		cell.ops->get_all(w->objects, cell.objects);
		cell.ops->put_all(w, w->objects, cell.order, cell.objects);
	}
}

static void work_producer_consumer(worker *w) {
	for (long i = 0; i < cell.n; i++) {
		void **xs = pop(w->id ? &cell.full : &cell.empty);
		if (w->id) cell.ops->put_all(w, xs, cell.order, BATCH_LEN);
		else cell.ops->get_all(xs, BATCH_LEN);
		push(w->id ? &cell.empty : &cell.full, xs);
	}
}

static void work_larson(worker *w) {
	for (long i = 0; i < cell.n; i++) {
		while (!atomic_load(&cell.inherit[w->id])) sched_yield();
		void **xs = atomic_exchange(&cell.inherit[w->id], NULL);
		cell.ops->larson(w, xs, LARSON_ROUND);
		_Atomic(void **) *heir = &cell.inherit[(w->id + 1) % cell.workers];
		while (atomic_load(heir)) sched_yield();
		atomic_store(heir, xs);
	}
}

static void work_burst(worker *w) {
	cell.took = cell.pairs = 0;
	for (long i = 0; i < cell.n; i++) {
		nanosleep(&(struct timespec){0, BURST_IDLE_NS}, NULL);
		int64_t start = now();
		cell.ops->get_all(cell.extra, BURST_LEN);
		cell.ops->put_all(w, cell.extra, cell.order, BURST_LEN);
		cell.took += now() - start;
		cell.pairs += BURST_LEN;
	}
}

// Before and after all runs of a cell, on worker 0.

static void work_set_up(worker *w) {
	(void)w;
	if (!strcmp(cell.kind, "exchange")) cell.ops->get_all((void **)table, TABLE_LEN);
	if (!strcmp(cell.kind, "burst-after-idle")) cell.ops->get_all(cell.base, BURST_BASE);
	if (!strcmp(cell.kind, "larson"))
		for (int k = 0; k < cell.workers; k++) cell.ops->get_all(cell.arrays[k], TABLE_LEN);
}

static void work_tear_down(worker *w) {
	if (!strcmp(cell.kind, "exchange")) cell.ops->put_all(w, (void **)table, cell.order, TABLE_LEN);
	if (!strcmp(cell.kind, "burst-after-idle")) cell.ops->put_all(w, cell.base, cell.order, BURST_BASE);
	if (!strcmp(cell.kind, "larson"))
		for (int k = 0; k < cell.workers; k++) cell.ops->put_all(w, (void **)cell.inherit[k], cell.order, TABLE_LEN);
}

static struct {
	pthread_barrier_t begin, end;
	int active;
	void (*work)(worker *);
	_Atomic long arrived;
	_Atomic bool quick;
} crew;

// meet returns when all active workers run at the same time, each on a processor:
// see internal/worker/team.go.
static void meet(worker *w) {
	long passed = 0;
	int64_t begin = now();
	for (bool quick = false; !quick;) {
		int64_t start = now();
		for (int i = 0; i <= MEET_BARRIERS; i++) {
			if (i == MEET_BARRIERS && w->id == 0)
				atomic_store(&crew.quick, now() - start < MEET_QUICK_NS || now() - begin > MEET_PATIENCE_NS);
			passed += crew.active;
			atomic_fetch_add(&crew.arrived, 1);
			while (atomic_load(&crew.arrived) < passed) {}
		}
		quick = atomic_load(&crew.quick);
	}
}

static void *thread_main(void *arg) {
	worker *w = arg;
	for (;;) {
		pthread_barrier_wait(&crew.begin);
		if (w->id < crew.active) {
			if (crew.active > 1 && crew.active <= PROCESSORS) meet(w);
			w->start = now();
			crew.work(w);
			w->end = now();
		}
		pthread_barrier_wait(&crew.end);
	}
	return NULL;
}

static void start_crew(int threads) {
	pthread_barrier_init(&crew.begin, NULL, threads + 1);
	pthread_barrier_init(&crew.end, NULL, threads + 1);
	for (int k = 0; k < threads; k++) {
		pthread_t t;
		workers[k].id = k;
		workers[k].rng = (k + 1) * 0x9e3779b97f4a7c15ULL;
		if (pthread_create(&t, NULL, thread_main, &workers[k])) exit(1);
	}
}

// together runs work on so many workers and returns the time from the first start
// to the last end.
static int64_t together(int active, void (*work)(worker *)) {
	crew.active = active;
	crew.work = work;
	atomic_store(&crew.arrived, 0);
	pthread_barrier_wait(&crew.begin);
	pthread_barrier_wait(&crew.end);
	int64_t start = workers[0].start, end = workers[0].end;
	for (int k = 1; k < active; k++) {
		if (workers[k].start < start) start = workers[k].start;
		if (workers[k].end > end) end = workers[k].end;
	}
	return end - start;
}

static long at_least_1(long n) { return n < 1 ? 1 : n; }

// run does about n pairs; it returns ns and sets *pairs.
static int64_t run(long n, long *pairs) {
	int k = cell.workers;
	if (!strcmp(cell.kind, "ping-pong") || !strcmp(cell.kind, "exchange")) {
		cell.n = at_least_1(n / k);
		*pairs = cell.n * k;
		return together(k, cell.kind[0] == 'p' ? work_ping_pong : work_exchange);
	}
	if (!strcmp(cell.kind, "churn")) {
		cell.n = (n + cell.objects * k - 1) / (cell.objects * k);
		*pairs = cell.n * cell.objects * k;
		return together(k, work_churn);
	}
	if (!strcmp(cell.kind, "producer-consumer")) {
		cell.n = (n + BATCH_LEN - 1) / BATCH_LEN;
		*pairs = cell.n * BATCH_LEN;
		return together(2, work_producer_consumer);
	}
	if (!strcmp(cell.kind, "larson")) {
		cell.n = at_least_1(n / (k * LARSON_ROUND));
		*pairs = cell.n * k * LARSON_ROUND;
		return together(k, work_larson);
	}
	cell.n = at_least_1(n / BURST_LEN);
	if (cell.n > BURST_REPEAT) cell.n = BURST_REPEAT;
	together(1, work_burst);
	*pairs = cell.pairs;
	return cell.took;
}

static long calibrate(int64_t target) {
	for (long n = 64;; n *= 4) {
		long pairs;
		int64_t took = INT64_MAX;
		for (int i = 0; i < 3; i++) { // one is interrupted now and then
			int64_t t = run(n, &pairs);
			if (t < took) took = t;
		}
		if (took > target / 8 || pairs < n) return at_least_1((double)pairs * target / took);
	}
}

static int *make_order(long n, const char *name) {
	int *order = must(malloc(n * sizeof *order));
	for (long i = 0; i < n; i++) order[i] = !strcmp(name, "lifo") ? n - 1 - i : i;
	if (!strcmp(name, "shuffled")) {
		worker w = {.rng = 1};
		for (long i = n - 1; i > 0; i--) {
			long j = next_random(&w) % (i + 1);
			int other = order[j];
			order[j] = order[i];
			order[i] = other;
		}
	}
	return order;
}

static void measure(int rounds, int64_t target) {
	long n = calibrate(target), pairs;
	printf("{\"ns\":[");
	for (int i = 0; i < rounds; i++) {
		run(n / 10 + 1, &pairs);
		int64_t took = run(n, &pairs);
		printf("%s%.4f", i ? "," : "", (double)took / pairs);
	}
	printf("]}\n");
	fflush(stdout);
}

static void make_arrays(void) {
	for (int k = 0; k < cell.workers; k++) {
		workers[k].objects = must(calloc(cell.objects + 1, sizeof(void *)));
		cell.arrays[k] = must(calloc(TABLE_LEN, sizeof(void *)));
		atomic_store(&cell.inherit[k], cell.arrays[k]);
	}
}

static void free_arrays(void) {
	for (int k = 0; k < cell.workers; k++) {
		free(workers[k].objects);
		free(cell.arrays[k]);
	}
	free(cell.order);
}

int main(void) {
	char order[16];
	int size, zeroed, rounds;
	long long target;
	cell.base = must(calloc(BURST_BASE, sizeof(void *)));
	cell.extra = must(calloc(BURST_LEN, sizeof(void *)));
	start_crew(THREADS);
	queue_init(&cell.full, QUEUE);
	queue_init(&cell.empty, QUEUE + 2);
	for (int i = 0; i < QUEUE + 2; i++) push(&cell.empty, must(calloc(BATCH_LEN, sizeof(void *))));
	while (scanf("%31s %ld %15s %d %d %d %d %lld", cell.kind, &cell.objects, order, &size, &zeroed, &cell.workers, &rounds, &target) == 8) {
		cell.ops = find_ops(size, zeroed);
		if (!cell.ops || cell.workers < 1) return 2;
		if (cell.workers > THREADS) return 2;
		cell.order = make_order(cell.objects ? cell.objects : BURST_BASE, order);
		make_arrays();
		together(1, work_set_up);
		measure(rounds, target);
		together(1, work_tear_down);
		free_arrays();
	}
	return 0;
}
