/* What training of small networks on a CPU spends its time on:

   Convolutions of 3x3 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications for 16 outputs where the
   definition takes 144. After Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015,
   arXiv:1509.09308. Step 1, padding 1. Maps are [pictures][height][width][channels], filters [9][in][out]. A map may be
   pooled: then it holds the largest of each 2x2 places, and `winners` which of the four it was.

   Batch norm and GELU, with nothing stored between them.

   Windows cut from mirrored pictures, whose bytes are moved and not computed with (windows.h).

   In float32; or with `halves`, where the processor can: maps are then bfloat16, what is transformed and multiplied is
   float16, brought by a power of 2 into the range that this has, and filters and sums over many tiles are float as ever.

   Results do not depend on the number of threads, but for the gradient of the filters, which is summed up in as many
   shares. arithmetic.py loads this; winograd.py, norm.py and windows.py call it. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define CEIL(a, b) (((a) + (b) - 1) / (b))
/* Numbers of one panel. One vector more than needed: where panels are a power of two apart, they share a cache set. */
#define PANEL(room) ((36L * (room) + 1) * LANES)
#define MOST_THREADS 64
/* Channels whose sums are added up side by side. */
#define SOME 64

typedef struct {
    void *data;
    uint8_t *winners; /* NULL: not pooled */
    int height, width, channels; /* before pooling */
    float scale; /* what its numbers are multiplied by as they are read or written */
} Map;

typedef struct {
    int across, tiles; /* tiles in a row; in a picture */
    long total;
} Grid;

typedef struct {
    Map in, out;
    Grid grid;
    float *weights, *sums, scale; /* scale: of the weights, as they are read or written */
    void *filters;
    const float *bias; /* NULL: none */
    int room, shares; /* tiles at a time; shares of the tiles that are summed apart */
    int *overflow; /* set where a number of the result is none */
} Job;

typedef struct {
    const void *x, *gradient;
    const float *scale, *bias;
    float *mean, *inverse, *offset, *slope, *sums;
    void *y;
    long rows, rows_at_once;
    int channels;
} Norm;

typedef void Work(const Job *, long item, void *scratch);
typedef void NormWork(const Norm *, long block, void *scratch);

typedef struct {
    int lanes, part, rows;
    Work *forward, *filters, *spread, *collect;
    NormWork *spread_of, *activate, *activate_back, *normalise_back;
} Kernel;

#include "instruction_sets.h"
#include "windows.h"

static int most_lanes = 16;

#if defined(HALVES)
/* Asked once: in a virtual machine the answer takes tens of microseconds. */
static int has_halves(void) {
    static int known = -1;
    int found = __atomic_load_n(&known, __ATOMIC_RELAXED);
    unsigned a, b, c, d;
    if (found < 0) {
        found = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512bf16") &&
            __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 23 & 1;
        __atomic_store_n(&known, found, __ATOMIC_RELAXED);
    }
    return found;
}
#endif

/* The widest that this processor has and that may be used; NULL where it has none that pays. */
static const Kernel *kernel(int halves) {
#if defined(HALVES)
    if (halves) return has_halves() ? &half_kernel : NULL;
#endif
    if (halves) return NULL;
#if defined(__x86_64__)
    if (most_lanes >= 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return &avx512_kernel;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2_kernel : NULL;
#else
    return &plain_kernel;
#endif
}

typedef struct {
    Work *work;
    const void *job;
    long items, *next;
    char *scratch;
} Shift;

static void *labour(void *given) {
    const Shift *shift = given;
    long item;
    while ((item = __atomic_fetch_add(shift->next, 1, __ATOMIC_RELAXED)) < shift->items)
        shift->work(shift->job, item, shift->scratch);
    return NULL;
}

/* Do every item, each on whichever thread is free; threads live for this call alone, which a fork cannot disturb. */
static void share(Work *work, const void *job, long items, int threads, void *scratch, long bytes_each) {
    pthread_t helpers[MOST_THREADS];
    Shift shifts[MOST_THREADS];
    long next = 0;
    int started = 0;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > items) threads = (int)items;
    for (int i = 0; i < threads; i++) shifts[i] = (Shift){work, job, items, &next, (char *)scratch + i * bytes_each};
    while (started < threads - 1 && !pthread_create(&helpers[started], NULL, labour, &shifts[started + 1])) started++;
    labour(&shifts[0]);
    for (int i = 0; i < started; i++) pthread_join(helpers[i], NULL);
}

static Grid divide(const Map *out, long pictures) {
    int height = out->winners ? out->height / 2 * 2 : out->height, width = out->winners ? out->width / 2 * 2 : out->width;
    int across = CEIL(width, 4), tiles = across * CEIL(height, 4);
    return (Grid){across, tiles, pictures * tiles};
}

/* Of these functions and their arguments: arithmetic.py asks, since what is built may be older than it. */
int arithmetic_version(void) { return 3; }

/* Numbers in a vector here, of 16 bits with `halves`, else of 32; 0: this processor is not served. */
int arithmetic_lanes(int halves) { return kernel(halves) ? kernel(halves)->lanes : 0; }

/* From now on use vectors of at most so many floats: for trying out what narrower processors compute. */
void arithmetic_limit(int lanes) { most_lanes = lanes; }

/* 2 to the power of `wanted` less the exponent of a number, as its bits have it; 1 for zero. So bounded that the products
   and the inverses of two such powers are floats. */
static float power(int wanted, int biased_exponent, int nonzero) {
    int e = wanted + 127 - biased_exponent;
    return nonzero ? ldexpf(1, e > 60 ? 60 : e < -60 ? -60 : e) : 1;
}

/* The most of some bfloat16 without their sign, which are ordered as their bits are: of 1024 in `step`. */
static int most_of(const uint16_t *data, long count, long step) {
    int most = 0;
    for (long first = 0; first < count; first += step)
        for (long i = first; i < first + 1024 && i < count; i++) most = (data[i] & 0x7fff) > most ? data[i] & 0x7fff : most;
    return most;
}

/* What brings the largest number of a map to at least 2 to the power of `wanted`, and less than twice that. One in 17 is
   looked at, in steps that do not meet the same places of every picture; all, where these are 0. */
static float scale_to(int wanted, const uint16_t *data, long count) {
    int most = most_of(data, count, 17483);
    if (!most) most = most_of(data, count, 1024);
    return power(wanted, most >> 7, most);
}

/* The same of filters, all of which are looked at. */
static float scale_filters_to(int wanted, const float *data, long count) {
    uint32_t most = 0, bits;
    for (long i = 0; i < count; i++) {
        memcpy(&bits, data + i, 4);
        most = (bits & 0x7fffffff) > most ? bits & 0x7fffffff : most;
    }
    return power(wanted, (int)(most >> 23), most != 0);
}

static long numbers(const Map *map, long pictures) {
    long places = map->winners ? (long)(map->height / 2) * (map->width / 2) : (long)map->height * map->width;
    return pictures * places * map->channels;
}

/* out = the convolution of `in`, and the bias; with `winners`, of its maxima over 2x2. `in_winners`: `in` is the gradient
   of such maxima. Returns whether numbers of 16 bits did not do. scratch, of 32 bits or with `halves` of 16: `filters`
   36·⌈in⌉·⌈out⌉ numbers, then (⌈in⌉ + ⌈out⌉ vectors)·(36·room + 1)·lanes for each thread. */
int winograd_forward(
    void *in, uint8_t *in_winners, float *weights, const float *bias, void *out, uint8_t *winners, long pictures,
    int height, int width, int in_channels, int out_channels, int room, int halves, int threads, void *scratch) {
    const Kernel *k = kernel(halves);
    int lanes = k->lanes, wide = CEIL(out_channels, k->part), overflow = 0;
    long size = halves ? 2 : 4;
    Job job = {.in = {in, in_winners, height, width, in_channels, 1}, .out = {out, winners, height, width, out_channels, 1}};
    job.grid = divide(&job.out, pictures);
    job.weights = weights;
    job.scale = 1;
    if (halves) {
        job.in.scale = scale_to(2, in, numbers(&job.in, pictures));
        job.scale = scale_filters_to(2, weights, 9L * in_channels * out_channels);
        job.out.scale = 1 / (job.in.scale * job.scale);
    }
    job.bias = bias;
    job.filters = scratch;
    job.room = CEIL(room, k->rows) * k->rows;
    job.overflow = &overflow;
    share(k->spread, &job, wide, threads, NULL, 0);
    long each = (CEIL(in_channels, lanes) + CEIL(out_channels, lanes)) * (36L * job.room + 1) * lanes * size;
    share(k->forward, &job, CEIL(job.grid.total, job.room), threads,
        (char *)scratch + 36L * CEIL(in_channels, lanes) * lanes * wide * k->part * size, each);
    return overflow;
}

/* weights = the gradient of the filters, given `in` and the gradient of `out`. Returns whether numbers of 16 bits did not
   do. scratch, for each of `threads`, which are at most MOST_THREADS: 36·⌈in⌉·⌈out⌉ floats, (⌈in⌉ + ⌈out⌉ vectors)·(36·room
   + 1)·lanes numbers more. */
int winograd_filters(
    void *in, float *weights, void *out, uint8_t *winners, long pictures, int height, int width, int in_channels,
    int out_channels, int room, int halves, int threads, void *scratch) {
    const Kernel *k = kernel(halves);
    int lanes = k->lanes, deep = CEIL(in_channels, lanes), wide = CEIL(out_channels, k->part), overflow = 0;
    Job job = {.in = {in, NULL, height, width, in_channels, 1}, .out = {out, winners, height, width, out_channels, 1}};
    job.grid = divide(&job.out, pictures);
    job.weights = weights;
    job.scale = 1;
    if (halves) {
        job.in.scale = scale_to(2, in, numbers(&job.in, pictures));
        job.out.scale = scale_to(-1, out, numbers(&job.out, pictures));
        job.scale = 1 / (job.in.scale * job.out.scale);
    }
    job.sums = scratch;
    job.room = room;
    job.shares = threads;
    job.overflow = &overflow;
    long sums = 36L * deep * lanes * wide * k->part * threads;
    long each = (deep + CEIL(out_channels, lanes)) * (36L * room + 1) * lanes * (halves ? 2 : 4);
    share(k->filters, &job, threads, threads, job.sums + sums, each);
    share(k->collect, &job, wide, threads, NULL, 0);
    return overflow;
}

static void share_blocks(NormWork *work, const Norm *norm, int threads) {
    share((Work *)work, norm, CEIL(norm->rows, norm->rows_at_once), threads, NULL, 0);
}

/* The means over the rows of some channels, from one of the two rows of sums that each block has. */
static void means_of(const Norm *norm, int which, int first, int count, double *means) {
    for (int c = 0; c < count; c++) means[c] = 0;
    for (long block = 0; block < CEIL(norm->rows, norm->rows_at_once); block++) {
        const float *sums = norm->sums + (2 * block + which) * norm->channels + first;
        for (int c = 0; c < count; c++) means[c] += sums[c];
    }
    for (int c = 0; c < count; c++) means[c] /= norm->rows;
}

/* Of some channels the mean over the blocks, weighted by their rows, of how far the mean of each is off, squared. */
static void spread_of_means(const Norm *norm, int first, int count, const double *means, double *spread) {
    for (int c = 0; c < count; c++) spread[c] = 0;
    for (long from = 0, block = 0; from < norm->rows; from += norm->rows_at_once, block++) {
        const float *sums = norm->sums + 2 * block * norm->channels + first;
        double rows = norm->rows - from < norm->rows_at_once ? norm->rows - from : norm->rows_at_once, each = 1 / rows;
        for (int c = 0; c < count; c++) {
            double apart = sums[c] * each - means[c];
            spread[c] += apart * apart * rows;
        }
    }
    for (int c = 0; c < count; c++) spread[c] /= norm->rows;
}

/* y = GELU(scale·x̂ + bias); mean and variance, and 1 / √(variance + epsilon), of each channel are written. sums: 2 rows
   of `channels` floats for each `rows_at_once` rows. */
void norm_forward(
    const void *x, const float *scale, const float *bias, float *mean, float *variance, float *inverse, void *y,
    long rows, long rows_at_once, int channels, double epsilon, int halves, int threads, float *sums) {
    const Kernel *k = kernel(halves);
    Norm norm = {x, NULL, scale, bias, mean, inverse, NULL, NULL, sums, y, rows, rows_at_once, channels};
    share_blocks(k->spread_of, &norm, threads);
    for (int first = 0; first < channels; first += SOME) {
        int count = channels - first < SOME ? channels - first : SOME;
        double middle[SOME], within[SOME], between[SOME];
        means_of(&norm, 0, first, count, middle);
        means_of(&norm, 1, first, count, within);
        spread_of_means(&norm, first, count, middle, between);
        for (int c = 0; c < count; c++) {
            mean[first + c] = (float)middle[c];
            variance[first + c] = (float)(within[c] + between[c]);
            inverse[first + c] = (float)(1 / sqrt(variance[first + c] + epsilon));
        }
    }
    share_blocks(k->activate, &norm, threads);
}

/* y = the gradient of x; offset = that of bias divided by the rows. */
void norm_backward(
    const void *x, const void *gradient, const float *scale, const float *bias, float *mean, float *inverse, void *y,
    float *offset, float *slope, long rows, long rows_at_once, int channels, int halves, int threads, float *sums) {
    const Kernel *k = kernel(halves);
    Norm norm = {x, gradient, scale, bias, mean, inverse, offset, slope, sums, y, rows, rows_at_once, channels};
    share_blocks(k->activate_back, &norm, threads);
    for (int first = 0; first < channels; first += SOME) {
        int count = channels - first < SOME ? channels - first : SOME;
        double means[SOME];
        means_of(&norm, 0, first, count, means);
        for (int c = 0; c < count; c++) offset[first + c] = (float)means[c];
        means_of(&norm, 1, first, count, means);
        for (int c = 0; c < count; c++) slope[first + c] = (float)means[c];
    }
    share_blocks(k->normalise_back, &norm, threads);
}
