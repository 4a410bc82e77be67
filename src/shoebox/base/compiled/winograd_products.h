/* Winograd's convolutions for one instruction set: the products of panels, and the three convolutions; included by
   kernel.h after winograd_tiles.h.

   Before it is included: ROWS, broadcasts that a product keeps sums for (even; it divides LANES / SPAN and TILES_WHOLE). A
   broadcast is of PAIRS numbers that lie side by side. AT_A_TIME, broadcasts of a row that are taken without a branch
   between them. Further
   ADD_TIMES(sum, vector, from): sum, and PART times PAIRS numbers, each times that of the PAIRS at `from` which stands in
   its place; where LANES is PART, sums hold those of PAIRS together;
   FOLD(to, to_other, vector, other): store the PART sums of PAIRS of the one and of the other;
   EACH(from): PART numbers, each SPAN times, or of PART channels TILES tiles each;
   WEAVE(parts, scale): PAIRS vectors of floats, each times `scale`, as PART times PAIRS;
   EVERY(parts, h): of SPAN vectors of floats, taken as PART times SPAN, those at h.
   Sums over many tiles are float, whatever REAL is. */

/* The one-dimensional transforms of filters, and of their gradients back. */
static inline void NAME(filter6)(const FLOATS *w, int s, FLOATS *g, int u) {
    FLOATS ends = w[0] + w[2 * s], ends2 = w[0] + 4 * w[2 * s];
    g[0] = w[0] * (1.f / 4);
    g[u] = (ends + w[s]) * (-1.f / 6);
    g[2 * u] = (ends - w[s]) * (-1.f / 6);
    g[3 * u] = (ends2 + 2 * w[s]) * (1.f / 24);
    g[4 * u] = (ends2 - 2 * w[s]) * (1.f / 24);
    g[5 * u] = w[2 * s];
}

static inline void NAME(filter3)(const FLOATS *g, int s, FLOATS *w, int u) {
    FLOATS sum = (g[s] + g[2 * s]) * (1.f / 6), sum2 = (g[3 * s] + g[4 * s]) * (1.f / 24);
    w[0] = g[0] * (1.f / 4) - sum + sum2;
    w[u] = (g[2 * s] - g[s]) * (1.f / 6) + (g[3 * s] - g[4 * s]) * (1.f / 12);
    w[2 * u] = 4 * sum2 - sum + g[5 * s];
}

/* To the sums, ROWS broadcasts that are `apart` times each of `columns` vectors. */
static inline __attribute__((always_inline)) void NAME(multiply)(
    VEC (*sum)[3], const HELD *a, long apart, const WIDE *right, const int columns) {
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < columns; j++) sum[i][j] = ADD_TIMES(sum[i][j], right[j], a + i * apart);
}

/* `columns` times PART outputs of ROWS tiles, from output vector `v` on: sums over the channels of what lies in panels.
   Meanwhile the filters at `next` are fetched, as many as those of one vector: all of them together fit no core's cache. */
static inline __attribute__((always_inline)) void NAME(across_some)(
    const HELD *a, const HELD *filters, const HELD *next, REAL *to, int depth, long panel, int v, const int columns) {
    long step = (long)CEIL(depth, PAIRS) * PART * PAIRS;
    VEC sum[ROWS][3];
    WIDE right[3];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < columns; j++) sum[i][j] = (VEC){0};
    for (int first = 0; first < depth; first += LANES, a += panel) {
        int last = depth - first < LANES ? depth - first : LANES, p = 0;
        for (; p + (AT_A_TIME - 1) * PAIRS < last; p += AT_A_TIME * PAIRS) {
#pragma GCC unroll 8
            for (int q = 0; q < AT_A_TIME; q++, filters += PART * PAIRS, next += PART * PAIRS) {
                if (q * PART * PAIRS * (int)sizeof(HELD) % 64 == 0) __builtin_prefetch(next, 0, 2);
                for (int j = 0; j < columns; j++) right[j] = *(const WIDE *)(filters + j * step);
                NAME(multiply)(sum, a + p + q * PAIRS, LANES, right, columns);
            }
        }
        for (; AT_A_TIME > 1 && p < last; p += PAIRS, filters += PART * PAIRS, next += PART * PAIRS) {
            for (int j = 0; j < columns; j++) right[j] = *(const WIDE *)(filters + j * step);
            NAME(multiply)(sum, a + p, LANES, right, columns);
        }
    }
#pragma GCC unroll 3
    for (int j = 0; j < columns; j++)
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i += 2) {
            REAL *here = to + (v + j) / SPAN * panel + (v + j) % SPAN * PART + i * LANES;
            FOLD(here, here + LANES, sum[i][j], sum[i + 1][j]);
        }
}

/* The sums of ROWS times SPAN channels and `columns` times PART outputs over some tiles; unless these are the `first`, to
   those there are. */
static inline __attribute__((always_inline)) void NAME(along_some)(
    const HELD *a, const HELD *back, float *sums, int tiles, int first, long panel, long step, int v,
    const int columns) {
    VEC sum[ROWS][3];
    WIDE right[3];
    const HELD *b[3];
    int t = 0;
    for (int j = 0; j < columns; j++) b[j] = back + (v + j) / SPAN * panel + (v + j) % SPAN * PART;
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < columns; j++) {
            sum[i][j] = (VEC){0};
            for (int h = 0; h < SPAN; h++) __builtin_prefetch(sums + j * step + i * LANES + h * PART, 1);
        }
    for (; t + (AT_A_TIME - 1) * TILES < tiles; t += AT_A_TIME * TILES)
#pragma GCC unroll 8
        for (int q = 0; q < AT_A_TIME; q++) {
            for (int j = 0; j < columns; j++) right[j] = EACH(b[j] + (t + q * TILES) * LANES);
            NAME(multiply)(sum, a + (t + q * TILES) * LANES, PAIRS, right, columns);
        }
    for (; AT_A_TIME > 1 && t < tiles; t += TILES) {
        for (int j = 0; j < columns; j++) right[j] = EACH(b[j] + t * LANES);
        NAME(multiply)(sum, a + t * LANES, PAIRS, right, columns);
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < columns; j++) {
            FLOATS parts[SPAN];
            SPLIT(sum[i][j], parts, 1.f);
            for (int h = 0; h < SPAN; h++) {
                FLOATS *to = (FLOATS *)(sums + j * step + i * LANES + h * PART);
                *to = first ? parts[h] : *to + parts[h];
            }
        }
}

/* How many of the vectors that are left to take at a time: three, but no single one after three. */
static inline int NAME(columns)(int left) { return left == 4 ? 2 : left < 3 ? left : 3; }

static __attribute__((noinline)) void NAME(across)(
    const HELD *a, const HELD *filters, const HELD *next, REAL *to, int depth, long panel, int v, int columns) {
    switch (columns) {
    case 1: NAME(across_some)(a, filters, next, to, depth, panel, v, 1); break;
    case 2: NAME(across_some)(a, filters, next, to, depth, panel, v, 2); break;
    default: NAME(across_some)(a, filters, next, to, depth, panel, v, 3);
    }
}

static __attribute__((noinline)) void NAME(along)(
    const HELD *a, const HELD *back, float *sums, int tiles, int first, long panel, long step, int v,
    int columns) {
    switch (columns) {
    case 1: NAME(along_some)(a, back, sums, tiles, first, panel, step, v, 1); break;
    case 2: NAME(along_some)(a, back, sums, tiles, first, panel, step, v, 2); break;
    default: NAME(along_some)(a, back, sums, tiles, first, panel, step, v, 3);
    }
}

/* Outputs of some tiles: transform, 36 products, transform back. */
static void NAME(forward)(const Job *job, long item, void *scratch) {
    int in = CEIL(job->in.channels, LANES), out = CEIL(job->out.channels, PART);
    int depth = job->in.channels, room = job->room;
    long first = item * room, left = job->grid.total - first, panel = PANEL(room);
    int count = left < room ? (int)left : room;
    HELD *panels = scratch;
    REAL *products = (REAL *)(panels + in * panel);
    NAME(transform_maps)(&job->in, &job->grid, first, count, room, panels);
    for (int f = 0; f < 36; f++)
        for (int v = 0, columns; v < out; v += columns) {
            columns = NAME(columns)(out - v);
            long step = (long)CEIL(depth, PAIRS) * PART * PAIRS;
            const HELD *filters = (const HELD *)job->filters + ((long)f * out + v) * step, *next = filters + columns * step;
            for (int t = f * PITCH(room), end = t + count; t < end; t += ROWS, next += step)
                NAME(across)(panels + t * LANES, filters, next, products + t * LANES, depth, panel, v, columns);
        }
    for (int f = 0; out % SPAN && f < 36; f++)
        for (int t = f * PITCH(room), end = t + count; t < end; t++)
            for (int l = PART; l < LANES; l++) products[out / SPAN * panel + t * LANES + l] = 0;
    NAME(write)(products, job, first, count, room);
}

/* The gradient of the transformed filters, summed over one share of the tiles, `room` of them at a time. */
static void NAME(filters)(const Job *job, long item, void *scratch) {
    int in = CEIL(job->in.channels, LANES), out = CEIL(job->out.channels, PART), room = job->room;
    long panel = PANEL(room), each = CEIL(job->grid.total, job->shares), first = item * each;
    long end = first + each < job->grid.total ? first + each : job->grid.total;
    long step = (long)in * LANES / SPAN * LANES;
    float *sums = job->sums + item * 36 * out * step;
    HELD *panels = scratch, *back = panels + in * panel;
    if (first >= end) memset(sums, 0, 36 * out * step * sizeof(float));
    for (long start = first; first < end; first += room) {
        int count = end - first < room ? (int)(end - first) : room;
        NAME(transform_beside)(&job->in, &job->grid, first, count, room, panels);
        NAME(transform_gradients)(&job->out, &job->grid, first, count, room, back);
        for (int f = 0; f < 36; f++)
            for (int v = 0, columns; v < out; v += columns) {
                columns = NAME(columns)(out - v);
                for (int channel = 0; channel < job->in.channels; channel += ROWS * SPAN)
                    NAME(along)(
                        panels + channel / LANES * panel + f * PITCH(room) * LANES + channel % LANES * TILES,
                        back + f * PITCH(room) * LANES,
                        sums + ((long)f * out + v) * step + channel / SPAN * LANES, count, first == start, panel, step, v,
                        columns);
            }
    }
}

/* Filters [out][9][in], or turned ones, of PART of out to panels [36][out / PART][in / PAIRS][PART][PAIRS]. */
static void NAME(spread)(const Job *job, long v, void *scratch) {
    (void)scratch;
    int in = job->in.channels, out = job->out.channels, vectors = CEIL(out, PART), left = out - (int)v * PART;
    long apart = job->turned ? 1 : 9L * in, row = job->turned ? 9L * out : 1, place = job->turned ? -out : in;
    const float *first = job->weights + (job->turned ? 8L * out : 0) + v * PART * apart;
    FLOATS w[9], half[18], g[36], parts[36][PAIRS];
    for (int c = 0; c < in; c += PAIRS) {
        for (int h = 0; h < PAIRS; h++) {
            for (int k = 0; k < 9; k++)
                w[k] = NAME(gather)(first + (c + h) * row + k * place, apart, c + h < in ? left : 0);
            for (int j = 0; j < 3; j++) NAME(filter6)(w + j, 3, half + j, 3);
            for (int i = 0; i < 6; i++) NAME(filter6)(half + 3 * i, 1, g + 6 * i, 1);
            for (int f = 0; f < 36; f++) parts[f][h] = g[f];
        }
        for (int f = 0; f < 36; f++)
            *(WIDE *)((HELD *)job->filters + (((long)f * vectors + v) * CEIL(in, PAIRS) + c / PAIRS) * PART * PAIRS) =
                WEAVE(parts[f], job->scale);
    }
}

/* The way back: sums [36][out / PART][in / SPAN][PART][SPAN] to gradients [out][9][in]. */
static void NAME(collect)(const Job *job, long v, void *scratch) {
    (void)scratch;
    int in = job->in.channels, out = job->out.channels, vectors = CEIL(out, PART), left = out - (int)v * PART;
    long rows = CEIL(in, LANES) * LANES / SPAN, share = 36 * vectors * rows * LANES;
    FLOATS g[SPAN][36], half[18], w[9], wrong = {0};
    for (int c = 0; c < in; c += SPAN) {
        for (int f = 0; f < 36; f++) {
            const float *sum = job->sums + ((f * vectors + v) * rows + c / SPAN) * LANES;
            FLOATS parts[SPAN];
            for (int h = 0; h < SPAN; h++) {
                parts[h] = *(const FLOATS *)(sum + h * PART);
                for (int i = 1; i < job->shares; i++) parts[h] += *(const FLOATS *)(sum + i * share + h * PART);
            }
            for (int h = 0; h < SPAN; h++) g[h][f] = EVERY(parts, h);
        }
        for (int h = 0; h < SPAN && c + h < in; h++) {
            for (int j = 0; j < 6; j++) NAME(filter3)(g[h] + j, 6, half + j, 6);
            for (int i = 0; i < 3; i++) NAME(filter3)(half + 6 * i, 1, w + 3 * i, 1);
            for (int k = 0; k < 9; k++) {
                if (sizeof(REAL) < 4) wrong += w[k] * 0;
                NAME(scatter)(job->weights + (v * PART * 9 + k) * in + c + h, 9L * in, w[k] * job->scale, left);
            }
        }
    }
    if (sizeof(REAL) < 4)
        for (int l = 0; l < PART; l++)
            if (wrong[l] != 0) __atomic_store_n(job->overflow, 1, __ATOMIC_RELAXED);
}
