/* Winograd's convolutions for one instruction set: the products of panels; included by kernel.h after vectors.h.

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
