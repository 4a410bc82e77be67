/* What training of small networks on a CPU spends its time on, in float32. Two things:

   Convolutions of 3x3 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications for 16 outputs where the
   definition takes 144. After Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015,
   arXiv:1509.09308. Step 1, padding 1. Maps are [pictures][height][width][channels], filters [9][in][out]. A map may be
   pooled: then it holds the largest of each 2x2 places, and `winners` which of the four it was.

   Batch norm and GELU, with nothing stored between them.

   Results do not depend on the number of threads, but for the gradient of the filters, which is summed up in as many
   shares. arithmetic.py loads this; winograd.py and norm.py call it. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CEIL(a, b) (((a) + (b) - 1) / (b))
/* Floats of one panel. One vector more than needed: where panels are a power of two apart, they share a cache set. */
#define PANEL(room) ((36L * (room) + 1) * LANES)
/* Floats of one share of the gradient of the transformed filters. */
#define SUMS(in, out) (36L * (in) * (out) * LANES * LANES)
#define MOST_THREADS 64

typedef struct {
    float *data;
    uint8_t *winners; /* NULL: not pooled */
    int height, width, channels; /* before pooling */
} Map;

typedef struct {
    int across, tiles; /* tiles in a row; in a picture */
    long total;
} Grid;

typedef struct {
    Map in, out;
    Grid grid;
    float *weights, *filters, *sums;
    const float *bias; /* NULL: none */
    int room, shares; /* tiles at a time; shares of the tiles that are summed apart */
} Job;

typedef struct {
    const float *x, *gradient, *scale, *bias;
    float *mean, *inverse, *y, *offset, *slope, *sums;
    long rows, rows_at_once;
    int channels;
} Norm;

typedef void Work(const Job *, long item, float *scratch);
typedef void NormWork(const Norm *, long block, float *scratch);

typedef struct {
    int lanes, rows;
    Work *forward, *filters, *spread, *collect;
    NormWork *spread_of, *activate, *activate_back, *normalise_back;
} Kernel;

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma")
#define LANES 16
#define ROWS 8
#define LOAD_FEW(from, count) _mm512_maskz_loadu_ps((1u << (count)) - 1, from)
#define STORE_FEW(to, whole, count) _mm512_mask_storeu_ps(to, (1u << (count)) - 1, (__m512)(whole))
#define WIDEN(from) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(from)))
#define NARROW(to, whole) _mm_storeu_si128((__m128i *)(to), _mm512_cvtepi32_epi8((__m512i)(whole)))
#define NAME(f) avx512_##f
#include "winograd_kernel.h"
#include "norm_kernel.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LANES 8
#define ROWS 4
#define FEW(count) _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define LOAD_FEW(from, count) _mm256_maskload_ps(from, FEW(count))
#define STORE_FEW(to, whole, count) _mm256_maskstore_ps(to, FEW(count), (__m256)(whole))
#define WIDEN(from) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(from)))
#define NARROW(to, whole) for (int l = 0; l < LANES; l++) (to)[l] = (uint8_t)(whole)[l]
#define NAME(f) avx2_##f
#include "winograd_kernel.h"
#include "norm_kernel.h"
#pragma GCC pop_options
#else
#define LANES 4
#define ROWS 4
#define LOAD_FEW(from, count) \
    (plain_vec){(count) > 0 ? (from)[0] : 0, (count) > 1 ? (from)[1] : 0, (count) > 2 ? (from)[2] : 0, \
                (count) > 3 ? (from)[3] : 0}
#define STORE_FEW(to, whole, count) for (int i = 0; i < (count); i++) (to)[i] = (whole)[i]
#define WIDEN(from) (plain_mask){(from)[0], (from)[1], (from)[2], (from)[3]}
#define NARROW(to, whole) for (int l = 0; l < LANES; l++) (to)[l] = (uint8_t)(whole)[l]
#define NAME(f) plain_##f
#include "winograd_kernel.h"
#include "norm_kernel.h"
#endif

static int most_lanes = 16;

/* The widest that this processor has and that may be used; NULL where it has none that pays. */
static const Kernel *kernel(void) {
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
    float *scratch;
} Shift;

static void *labour(void *given) {
    const Shift *shift = given;
    long item;
    while ((item = __atomic_fetch_add(shift->next, 1, __ATOMIC_RELAXED)) < shift->items)
        shift->work(shift->job, item, shift->scratch);
    return NULL;
}

/* Do every item, each on whichever thread is free; threads live for this call alone, which a fork cannot disturb. */
static void share(Work *work, const void *job, long items, int threads, float *scratch, long scratch_each) {
    pthread_t helpers[MOST_THREADS];
    Shift shifts[MOST_THREADS];
    long next = 0;
    int started = 0;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > items) threads = (int)items;
    for (int i = 0; i < threads; i++) shifts[i] = (Shift){work, job, items, &next, scratch + i * scratch_each};
    while (started < threads - 1 && !pthread_create(&helpers[started], NULL, labour, &shifts[started + 1])) started++;
    labour(&shifts[0]);
    for (int i = 0; i < started; i++) pthread_join(helpers[i], NULL);
}

static Grid divide(const Map *out, long pictures) {
    int height = out->winners ? out->height / 2 * 2 : out->height, width = out->winners ? out->width / 2 * 2 : out->width;
    int across = CEIL(width, 4), tiles = across * CEIL(height, 4);
    return (Grid){across, tiles, pictures * tiles};
}

/* Floats in a vector here; 0: this processor is not served. */
int arithmetic_lanes(void) { return kernel() ? kernel()->lanes : 0; }

/* From now on use vectors of at most so many floats: for trying out what narrower processors compute. */
void arithmetic_limit(int lanes) { most_lanes = lanes; }

/* out = the convolution of `in`, and the bias; with `winners`, of its maxima over 2x2. `in_winners`: `in` is the gradient
   of such maxima. scratch: `filters` 36·in·⌈out⌉ floats, then (⌈in⌉ + ⌈out⌉ vectors)·(36·room + 1)·lanes for each thread. */
void winograd_forward(
    float *in, uint8_t *in_winners, float *weights, const float *bias, float *out, uint8_t *winners, long pictures,
    int height, int width, int in_channels, int out_channels, int room, int threads, float *scratch) {
    const Kernel *k = kernel();
    int lanes = k->lanes, wide = CEIL(out_channels, lanes);
    Job job = {.in = {in, in_winners, height, width, in_channels}, .out = {out, winners, height, width, out_channels}};
    job.grid = divide(&job.out, pictures);
    job.weights = weights;
    job.bias = bias;
    job.filters = scratch;
    job.room = CEIL(room, k->rows) * k->rows;
    share(k->spread, &job, wide, threads, NULL, 0);
    long each = (CEIL(in_channels, lanes) + wide) * (36L * job.room + 1) * lanes;
    share(k->forward, &job, CEIL(job.grid.total, job.room), threads, scratch + 36L * in_channels * wide * lanes, each);
}

/* weights = the gradient of the filters, given `in` and the gradient of `out`. scratch, for each of `threads`, which are
   at most MOST_THREADS: 36·⌈in⌉·⌈out⌉ floats, (⌈in⌉ + ⌈out⌉ vectors)·(36·room + 1)·lanes more. */
void winograd_filters(
    float *in, float *weights, float *out, uint8_t *winners, long pictures, int height, int width, int in_channels,
    int out_channels, int room, int threads, float *scratch) {
    const Kernel *k = kernel();
    int lanes = k->lanes, deep = CEIL(in_channels, lanes), wide = CEIL(out_channels, lanes);
    Job job = {.in = {in, NULL, height, width, in_channels}, .out = {out, winners, height, width, out_channels}};
    job.grid = divide(&job.out, pictures);
    job.weights = weights;
    job.sums = scratch;
    job.room = room;
    job.shares = threads;
    long sums = 36L * deep * wide * lanes * lanes * threads;
    for (long i = 0; i < sums; i++) job.sums[i] = 0;
    share(k->filters, &job, threads, threads, scratch + sums, (deep + wide) * (36L * room + 1) * lanes);
    share(k->collect, &job, wide, threads, NULL, 0);
}

static void share_blocks(NormWork *work, const Norm *norm, int threads) {
    share((Work *)work, norm, CEIL(norm->rows, norm->rows_at_once), threads, NULL, 0);
}

/* The sum over the blocks of one of the two rows of sums that each has, divided by the rows. */
static double mean_of(const Norm *norm, int which, int channel) {
    double sum = 0;
    for (long block = 0; block < CEIL(norm->rows, norm->rows_at_once); block++)
        sum += norm->sums[(2 * block + which) * norm->channels + channel];
    return sum / norm->rows;
}

/* y = GELU(scale·x̂ + bias); mean and variance, and 1 / √(variance + epsilon), of each channel are written. sums: 2 rows
   of `channels` floats for each `rows_at_once` rows. */
void norm_forward(
    const float *x, const float *scale, const float *bias, float *mean, float *variance, float *inverse, float *y,
    long rows, long rows_at_once, int channels, double epsilon, int threads, float *sums) {
    const Kernel *k = kernel();
    Norm norm = {x, NULL, scale, bias, mean, inverse, y, NULL, NULL, sums, rows, rows_at_once, channels};
    share_blocks(k->spread_of, &norm, threads);
    for (int c = 0; c < channels; c++) {
        double middle = mean_of(&norm, 0, c), spread = mean_of(&norm, 1, c);
        for (long first = 0, block = 0; first < rows; first += rows_at_once, block++) {
            long count = rows - first < rows_at_once ? rows - first : rows_at_once;
            double apart = sums[2 * block * channels + c] / (double)count - middle;
            spread += apart * apart * count / rows;
        }
        mean[c] = (float)middle;
        variance[c] = (float)spread;
        inverse[c] = (float)(1 / sqrt(variance[c] + epsilon));
    }
    share_blocks(k->activate, &norm, threads);
}

/* y = the gradient of x; offset = that of bias divided by the rows. */
void norm_backward(
    const float *x, const float *gradient, const float *scale, const float *bias, float *mean, float *inverse, float *y,
    float *offset, float *slope, long rows, long rows_at_once, int channels, int threads, float *sums) {
    const Kernel *k = kernel();
    Norm norm = {x, gradient, scale, bias, mean, inverse, y, offset, slope, sums, rows, rows_at_once, channels};
    share_blocks(k->activate_back, &norm, threads);
    for (int c = 0; c < channels; c++) {
        offset[c] = (float)mean_of(&norm, 0, c);
        slope[c] = (float)mean_of(&norm, 1, c);
    }
    share_blocks(k->normalise_back, &norm, threads);
}
