/* What training of small networks on a CPU spends its time on:

   Convolutions of 3x3 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications for 16 outputs where the
   definition takes 144; or, in float32, F(6x6, 3x3): 64 for 36, where the sides of the maps suit it better. After Lavin
   and Gray, "Fast algorithms for convolutional neural networks", 2015, arXiv:1509.09308. Step 1, padding 1.
   Maps are [pictures][height][width][channels], filters [out][9][in]. A map may be pooled: then it holds the largest of
   each 2x2 places, and `winners` which of the four it was.

   Batch norm and GELU, with nothing stored between them.

   Windows cut from mirrored pictures, whose bytes are moved and not computed with (windows.h).

   In float32; or with `halves`, where the processor can: maps are then bfloat16, and filters and sums over many tiles are
   float as ever. What is transformed and multiplied is float16, brought by a power of 2 into the range that this has; or
   what is multiplied is bfloat16, and the rest float, where the processor multiplies only those.

   Results do not depend on the number of threads, but for the gradient of the filters, which is summed up in as many
   shares. arithmetic.py loads this; winograd.py, norm.py and windows.py call it. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define CEIL(a, b) (((a) + (b) - 1) / (b))
/* Inputs that a row of a tile of outputs reads; and numbers of a tile once it is transformed. */
#define SIDE (TILE + 2)
#define FREQUENCIES (SIDE * SIDE)
/* From the tiles of one frequency to those of the next, in tiles. */
#define PITCH(room) ((room) + EXTRA)
/* Numbers of one panel, held or of products. At least a line of the cache more than needed: where panels are a power of two
   apart, they share its sets. */
#define PANEL(room) ((long)FREQUENCIES * PITCH(room) * LANES + 64 / (long)sizeof(HELD))
/* Channels that lie side by side in one broadcast; and tiles, where it is these that are summed over. */
#define SPAN (LANES / PART)
#define TILES (PAIRS / SPAN)
/* What the tiles that are transformed at a time are a multiple of. */
#define TILES_WHOLE 8
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
    int turned; /* the weights are those of the way there: [in][9][out], the last of the 9 first */
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
    int tile; /* 0: there is none such */
    Work *forward, *filters, *spread, *collect;
} Tiling;

typedef struct {
    /* held, real: bytes of a number of what is multiplied, and of the products; extra: EXTRA */
    int lanes, part, held, real, extra;
    Tiling usual, large;
    NormWork *spread_of, *activate, *activate_back, *normalise_back;
} Kernel;

#include "instruction_sets.h"
#include "sixteen_bits.h"
#include "windows.h"

static int most_lanes = 32;

#if defined(SIXTEEN_BITS)
/* Sums in a vector where numbers of 16 bits are multiplied: 32 of float16, or 16 floats; 0 where they are not. Asked once:
   in a virtual machine the answer takes tens of microseconds. */
static int sixteen_bit_lanes(void) {
    static int known = -1;
    int found = __atomic_load_n(&known, __ATOMIC_RELAXED);
    unsigned a, b, c, d;
    if (found < 0) {
        found = !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
                !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bf16") ? 0
            : __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 23 & 1 ? 32 : 16;
        __atomic_store_n(&known, found, __ATOMIC_RELAXED);
    }
    return found < most_lanes ? found : most_lanes;
}
#endif

/* The widest that this processor has and that may be used; NULL where it has none that pays. */
static const Kernel *kernel(int halves) {
#if defined(FLOAT16)
    if (halves && sixteen_bit_lanes() == 32) return &fp16_kernel;
#endif
#if defined(SIXTEEN_BITS)
    if (halves && sixteen_bit_lanes() >= 16) return &bf16_kernel;
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

/* Of these functions and their arguments: arithmetic.py asks, since what is built may be older than it. */
int arithmetic_version(void) { return 7; }

/* Sums in a vector here: floats, or with `halves` 32 of float16, or 16 floats where what is multiplied is bfloat16; 0: this
   processor is not served. */
int arithmetic_lanes(int halves) { return kernel(halves) ? kernel(halves)->lanes : 0; }

/* From now on use vectors of at most so many numbers: for trying out what narrower processors compute. */
void arithmetic_limit(int lanes) { most_lanes = lanes; }

#include "winograd.h"
#include "batch_norm.h"
