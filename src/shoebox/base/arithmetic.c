/* What training of small networks on a CPU spends its time on, in float32. Two things:

   Convolutions of 3x3 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications for 16 outputs where the
   definition takes 144. After Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015,
   arXiv:1509.09308. Step 1, padding 1. Maps are [pictures][height][width][channels], filters [9][in][out]. A map may be
   pooled: then it holds the largest of each 2x2 places, and `winners` which of the four it was.

   With `halves`, the numbers that are transformed and multiplied have 16 bits, brought by a power of 2 into the range
   that these have; maps, filters and sums over many tiles are float as ever.

   Batch norm and GELU, with nothing stored between them.

   Results do not depend on the number of threads, but for the gradient of the filters, which is summed up in as many
   shares. arithmetic.py loads this; winograd.py and norm.py call it. */

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

/* Each instruction set: its vectors, then everything that is computed with them. Vectors of floats are their own parts;
   those of half as many bits join two. */
#define REAL float
#define INTEGER int32_t
#define STORED float
#define FROM_MAP(from, count) NAME(load)(from, count)
#define TO_MAP(to, whole, count) NAME(store)(to, whole, count)
#define PART LANES
#define JOIN(parts, scale) ((parts)[0])
#define SPLIT(whole, parts, scale) ((parts)[0] = (whole))
#define PAIRS 1
#define TIMES(vector, from) ((vector) * *(from))
#define FOLD(to, to_other, vector, other) (*(VEC *)(to) = (vector), *(VEC *)(to_other) = (other))
#define EACH(from) (*(const VEC *)(from))
#define INTERLEAVE(vector) (vector)
#define EVERY(parts, h) ((parts)[0])
#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma")
#define LANES 16
#define ROWS 8
#define LOAD_FEW(from, count) _mm512_maskz_loadu_ps((1u << (count)) - 1, from)
#define STORE_FEW(to, whole, count) _mm512_mask_storeu_ps(to, (1u << (count)) - 1, (__m512)(whole))
#define FEW_BYTES(count) ((__mmask16)((count) < 16 ? (1u << (count)) - 1 : 0xffffu))
#define WIDEN(from, count) _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(FEW_BYTES(count), from))
#define NARROW(to, whole, count) _mm_mask_storeu_epi8(to, FEW_BYTES(count), _mm512_cvtepi32_epi8((__m512i)(whole)))
#define NAME(f) avx512_##f
#include "kernel.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LANES 8
#define ROWS 4
#define FEW(count) _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define LOAD_FEW(from, count) _mm256_maskload_ps(from, FEW(count))
#define STORE_FEW(to, whole, count) _mm256_maskstore_ps(to, FEW(count), (__m256)(whole))
#define WIDEN(from, count) \
    ((count) < 8 ? (__m256i)NAME(widen)(from, count) : _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(from))))
#define NARROW(to, whole, count) for (int l = 0; l < LANES && l < (count); l++) (to)[l] = (uint8_t)(whole)[l]
#define NAME(f) avx2_##f
#include "kernel.h"
#pragma GCC pop_options
#else
#define LANES 4
#define ROWS 4
#define LOAD_FEW(from, count) \
    (plain_vec){(count) > 0 ? (from)[0] : 0, (count) > 1 ? (from)[1] : 0, (count) > 2 ? (from)[2] : 0, \
                (count) > 3 ? (from)[3] : 0}
#define STORE_FEW(to, whole, count) for (int i = 0; i < (count); i++) (to)[i] = (whole)[i]
#define WIDEN(from, count) NAME(widen)(from, count)
#define NARROW(to, whole, count) for (int l = 0; l < LANES && l < (count); l++) (to)[l] = (uint8_t)(whole)[l]
#define NAME(f) plain_##f
#include "kernel.h"
#endif
#undef REAL
#undef INTEGER
#undef STORED
#undef FROM_MAP
#undef TO_MAP
#undef PART
#undef JOIN
#undef SPLIT
#undef PAIRS
#undef TIMES
#undef FOLD
#undef EACH
#undef INTERLEAVE
#undef EVERY

/* The same products in 16 bits, twice as many at a time: AVX512-FP16, of which GCC knows since 12. */
#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 12
#define HALVES
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512fp16,avx512bf16,fma")
#define REAL _Float16
#define INTEGER int16_t
#define STORED uint16_t
#define PART 16
#define LANES 32
#define ROWS 8
static inline __m512h join_halves(const __m512 *parts, float scale) {
    __m256h low = _mm512_cvtxps_ph(parts[0] * scale), high = _mm512_cvtxps_ph(parts[1] * scale);
    return (__m512h)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)low), (__m256i)high, 1);
}
static inline void split_halves(__m512h whole, __m512 *parts, float scale) {
    parts[0] = _mm512_cvtxph_ps((__m256h)_mm512_castsi512_si256((__m512i)whole)) * scale;
    parts[1] = _mm512_cvtxph_ps((__m256h)_mm512_extracti64x4_epi64((__m512i)whole, 1)) * scale;
}
static inline __m512 from_bf16(const uint16_t *from, int count) {
    __mmask16 few = count < 16 ? (1u << count) - 1 : 0xffffu;
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(few, from)), 16);
}
static inline void to_bf16(uint16_t *to, __m512 whole, int count) {
    _mm256_mask_storeu_epi16(to, count < 16 ? (1u << count) - 1 : 0xffffu, (__m256i)_mm512_cvtneps_pbh(whole));
}
#define FROM_MAP(from, count) from_bf16(from, count)
#define TO_MAP(to, whole, count) to_bf16(to, (__m512)(whole), count)
/* A broadcast of 16 bits would keep one of the two units busy that multiply; one of 32 bits does not. */
static inline __m512h both(const _Float16 *from) {
    int32_t pair;
    memcpy(&pair, from, 4);
    return (__m512h)_mm512_set1_epi32(pair);
}
static inline void fold(_Float16 *to, _Float16 *to_other, __m512h pairs, __m512h other) {
    __m512i places = _mm512_set_epi16(
        62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4,
        2, 0);
    __m512i first = _mm512_permutex2var_epi16((__m512i)pairs, places, (__m512i)other);
    __m512i second = _mm512_permutex2var_epi16(
        (__m512i)pairs, _mm512_or_si512(places, _mm512_set1_epi16(1)), (__m512i)other);
    __m512i sums = (__m512i)_mm512_add_ph((__m512h)first, (__m512h)second);
    _mm256_store_si256((__m256i *)to, _mm512_castsi512_si256(sums));
    _mm256_store_si256((__m256i *)to_other, _mm512_extracti64x4_epi64(sums, 1));
}
static inline __m512h each_twice(const _Float16 *from) {
    __m512i places = _mm512_set_epi16(
        15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    __m512i half = _mm512_castsi256_si512(_mm256_load_si256((const __m256i *)from));
    return (__m512h)_mm512_permutexvar_epi16(places, half);
}
static inline __m512h interleave(__m512h whole) {
    __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256((__m512i)whole));
    __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64((__m512i)whole, 1));
    return (__m512h)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
static inline __m512 every_second(const __m512 *parts, int first) {
    __m512i places = _mm512_add_epi32(
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), _mm512_set1_epi32(first));
    return _mm512_permutex2var_ps(parts[0], places, parts[1]);
}
#define PAIRS 2
#define TIMES(vector, from) ((vector) * (VEC)both(from))
#define FOLD(to, to_other, vector, other) fold(to, to_other, (__m512h)(vector), (__m512h)(other))
#define EACH(from) ((VEC)each_twice(from))
#define INTERLEAVE(vector) ((VEC)interleave((__m512h)(vector)))
#define EVERY(parts, h) every_second(parts, h)
#define JOIN(parts, scale) join_halves(parts, scale)
#define SPLIT(whole, parts, scale) split_halves((__m512h)(whole), parts, scale)
#define LOAD_FEW(from, count) _mm512_maskz_loadu_ps((1u << (count)) - 1, from)
#define STORE_FEW(to, whole, count) _mm512_mask_storeu_ps(to, (1u << (count)) - 1, (__m512)(whole))
#define FEW_HALVES(count) ((__mmask32)((count) < 32 ? (1u << (count)) - 1 : 0xffffffffu))
#define WIDEN(from, count) _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(FEW_HALVES(count), from))
#define NARROW(to, whole, count) _mm256_mask_storeu_epi8(to, FEW_HALVES(count), _mm512_cvtepi16_epi8((__m512i)(whole)))
#define NAME(f) half_##f
#include "kernel.h"
#pragma GCC pop_options
#endif

static int most_lanes = 16;

#if defined(HALVES)
/* Asked once: in a virtual machine the answer takes tens of microseconds. */
static int has_halves(void) {
    static int known = -1;
    unsigned a, b, c, d;
    if (known < 0) known = __builtin_cpu_supports("avx512bw") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 23 & 1;
    return known;
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

/* Numbers in a vector here, of 16 bits with `halves`, else of 32; 0: this processor is not served. */
int arithmetic_lanes(int halves) { return kernel(halves) ? kernel(halves)->lanes : 0; }

/* From now on use vectors of at most so many floats: for trying out what narrower processors compute. */
void arithmetic_limit(int lanes) { most_lanes = lanes; }

static float from_bits(uint16_t bits) {
    uint32_t whole = (uint32_t)bits << 16;
    float number;
    memcpy(&number, &whole, 4);
    return number;
}

/* The power of 2 that brings the largest of some bfloat16, of which one in 16 is looked at, between `largest` and half of
   it. Without their sign, such numbers are ordered as their bits are. */
static float scale_to(float largest, const uint16_t *data, long count) {
    uint16_t bits = 0;
    int exponent;
    for (long first = 0; first < count; first += 16384)
        for (long i = first; i < first + 1024 && i < count; i++)
            bits = (data[i] & 0x7fff) > bits ? data[i] & 0x7fff : bits;
    float most = from_bits(bits);
    if (!(most > 0) || most > 1e30f) return 1;
    frexpf(largest / most, &exponent);
    return ldexpf(1, exponent < 100 ? exponent - 1 : 99);
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
    float most = 0;
    Job job = {.in = {in, in_winners, height, width, in_channels, 1}, .out = {out, winners, height, width, out_channels, 1}};
    job.grid = divide(&job.out, pictures);
    job.weights = weights;
    job.scale = 1;
    if (halves) {
        job.in.scale = scale_to(8, in, numbers(&job.in, pictures));
        for (long i = 0; i < 9L * in_channels * out_channels; i++) most = fmaxf(most, fabsf(weights[i]));
        job.scale = most > 0 && most < 1e30f ? ldexpf(1, 2 - ilogbf(most)) : 1;
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
        job.in.scale = scale_to(8, in, numbers(&job.in, pictures));
        job.out.scale = scale_to(1, out, numbers(&job.out, pictures));
        job.scale = 1 / (job.in.scale * job.out.scale);
    }
    job.sums = scratch;
    job.room = room;
    job.shares = threads;
    job.overflow = &overflow;
    long sums = 36L * deep * lanes * wide * k->part * threads;
    for (long i = 0; i < sums; i++) job.sums[i] = 0;
    long each = (deep + CEIL(out_channels, lanes)) * (36L * room + 1) * lanes * (halves ? 2 : 4);
    share(k->filters, &job, threads, threads, job.sums + sums, each);
    share(k->collect, &job, wide, threads, NULL, 0);
    return overflow;
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
    const void *x, const float *scale, const float *bias, float *mean, float *variance, float *inverse, void *y,
    long rows, long rows_at_once, int channels, double epsilon, int halves, int threads, float *sums) {
    const Kernel *k = kernel(halves);
    Norm norm = {x, NULL, scale, bias, mean, inverse, NULL, NULL, sums, y, rows, rows_at_once, channels};
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
    const void *x, const void *gradient, const float *scale, const float *bias, float *mean, float *inverse, void *y,
    float *offset, float *slope, long rows, long rows_at_once, int channels, int halves, int threads, float *sums) {
    const Kernel *k = kernel(halves);
    Norm norm = {x, gradient, scale, bias, mean, inverse, offset, slope, sums, y, rows, rows_at_once, channels};
    share_blocks(k->activate_back, &norm, threads);
    for (int c = 0; c < channels; c++) {
        offset[c] = (float)mean_of(&norm, 0, c);
        slope[c] = (float)mean_of(&norm, 1, c);
    }
    share_blocks(k->normalise_back, &norm, threads);
}
