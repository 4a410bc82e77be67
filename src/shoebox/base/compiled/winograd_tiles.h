/* Winograd's convolutions for one instruction set: maps to panels and back; included by kernel.h after vectors.h.

   A batch is cut in tiles of 4x4 outputs, numbered picture by picture and row by row; each reads 6x6 inputs. Everything
   that is transformed lies in panels: [channels / LANES][36 frequencies][tiles][LANES]; where it is tiles that are summed over
   and TILES of them that are multiplied together, [channels / LANES][36 frequencies][tiles / TILES][LANES][TILES].

   Before it is included: EXTRA, tiles more than there are for which a frequency has room, so that those of one tile do not
   share sets of the cache; HOLD(to, vector, second, beside), store one tile's LANES numbers of a frequency; with `beside` those
   of TILES tiles, as [LANES][TILES]. UNROLL, the pragma before a loop over the rows or columns of a tile: where a tile
   fits no registers anyway, a loop costs less than addresses that do not fit either. */

/* `count` channels, LANES at most, of the square of `side` places from (top, left), 0 outside the map. A pooled map stands
   for its gradient: each place has the pooled one's where it was the largest of its four, else 0; `top` and `left` are
   odd for a side of 6, else even. */
static inline __attribute__((always_inline)) void NAME(square)(
    const Map *map, long picture, int top, int left, const int side, int channel, int count, VEC *out) {
    static const STORED nothing[LANES];
    const STORED *data = map->data;
    int channels = map->channels;
    if (!map->winners) {
        const STORED *from = data + ((picture * map->height + top) * map->width + left) * channels + channel;
        long down = (long)map->width * channels;
        int within = top >= 0 && left >= 0 && top + side <= map->height && left + side <= map->width;
        if (within) {
#pragma GCC unroll 6
            for (int i = 0; i < side; i++)
#pragma GCC unroll 6
                for (int j = 0; j < side; j++)
                    out[i * side + j] = NAME(read)(from + i * down + j * channels, count, map->scale);
            return;
        }
#pragma GCC unroll 6
        for (int i = 0; i < side; i++) {
            int inside = (unsigned)(top + i) < (unsigned)map->height;
#pragma GCC unroll 6
            for (int j = 0; j < side; j++) {
                const STORED *at = from + i * down + j * channels;
                at = inside & ((unsigned)(left + j) < (unsigned)map->width) ? at : nothing;
                out[i * side + j] = NAME(read)(at, count, map->scale);
            }
        }
        return;
    }
    const int odd = side == 6, cells = side / 2 + odd;
    int height = map->height / 2, width = map->width / 2, row = (top + odd) / 2 - odd, column = (left + odd) / 2 - odd;
#pragma GCC unroll 4
    for (int i = 0; i < cells; i++)
#pragma GCC unroll 4
        for (int j = 0; j < cells; j++) {
            int y = row + i, x = column + j;
            VEC value = {0};
            NAME(mask) winner = {0};
            if (y >= 0 && y < height && x >= 0 && x < width) {
                long at = ((picture * height + y) * width + x) * channels + channel;
                value = NAME(read)(data + at, count, map->scale);
                winner = (NAME(mask))WIDEN(map->winners + at, count);
            }
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                int down = 2 * i - odd + k / 2, right = 2 * j - odd + k % 2;
                if (down >= 0 && down < side && right >= 0 && right < side)
                    out[down * side + right] = (VEC)((winner == (INTEGER)k) & (NAME(mask))value);
            }
        }
}

/* Have the cache fetch the part of a map that some tile after this one needs: a tile's places lie in many rows, which
   the processor does not foresee. */
static inline void NAME(foresee)(const Map *map, const Grid *grid, long tile, int v, int vectors) {
    long places = map->winners ? (long)(map->height / 2) * (map->width / 2) : (long)map->height * map->width;
    long numbers = places * map->channels, bytes = CEIL(numbers * (long)sizeof(STORED), grid->tiles * (long)vectors);
    long at = (tile + 2 * grid->across + 1) * numbers / grid->tiles;
    const char *data = (const char *)map->data + at * (long)sizeof(STORED) + v * bytes;
    for (long i = 0; i < bytes; i += 64) __builtin_prefetch(data + i, 0, 2);
    if (map->winners)
        for (long i = 0; i * (long)sizeof(STORED) < bytes; i += 64)
            __builtin_prefetch(map->winners + at + v * bytes / (long)sizeof(STORED) + i, 0, 2);
}

/* The one-dimensional transforms for the points 0, 1, -1, 2, -2 and infinity; `s` is the step between elements. */
static inline void NAME(input6)(const VEC *d, long s, VEC *t, long u) {
    VEC even = d[4 * s] - 4 * d[2 * s], odd = d[3 * s] - 4 * d[s];
    VEC near = d[4 * s] - d[2 * s], far = 2 * (d[3 * s] - d[s]);
    t[0] = 4 * d[0] - 5 * d[2 * s] + d[4 * s];
    t[u] = even + odd;
    t[2 * u] = even - odd;
    t[3 * u] = near + far;
    t[4 * u] = near - far;
    t[5 * u] = 4 * d[s] - 5 * d[3 * s] + d[5 * s];
}

static inline void NAME(output4)(const VEC *m, long s, VEC *y, long u) {
    VEC sum = m[s] + m[2 * s], difference = m[s] - m[2 * s];
    VEC sum2 = m[3 * s] + m[4 * s], difference2 = m[3 * s] - m[4 * s];
    y[0] = m[0] + sum + sum2;
    y[u] = difference + 2 * difference2;
    y[2 * u] = sum + 4 * sum2;
    y[3 * u] = difference + 8 * difference2 + m[5 * s];
}

static inline void NAME(gradient6)(const VEC *y, long s, VEC *m, long u) {
    VEC even = y[0] + y[2 * s], odd = y[s] + y[3 * s];
    VEC even2 = y[0] + 4 * y[2 * s], odd2 = 2 * y[s] + 8 * y[3 * s];
    m[0] = y[0];
    m[u] = even + odd;
    m[2 * u] = even - odd;
    m[3 * u] = even2 + odd2;
    m[4 * u] = even2 - odd2;
    m[5 * u] = y[3 * s];
}

/* One tile; or `beside` each other, TILES of which the first `tiles` are there and the others 0. */
static inline __attribute__((always_inline)) void NAME(transform_some)(
    const Map *map, const Grid *grid, long tile, int tiles, int channel, int count, long room, const int gradient,
    const int beside, HELD *to) {
    const int most = beside ? TILES : 1, side = gradient ? 4 : 6;
    VEC square[36], half[TILES][36], last[TILES][6];
    for (int h = 0; h < most; h++) {
        if (h && h >= tiles) {
            for (int j = 0; j < 6 * side; j++) half[h][j] = (VEC){0};
            continue;
        }
        long picture = (tile + h) / grid->tiles, place = (tile + h) % grid->tiles;
        int row = place / grid->across * 4, column = place % grid->across * 4;
        if (gradient) {
            NAME(square)(map, picture, row, column, 4, channel, count, square);
            UNROLL
            for (int j = 0; j < 4; j++) NAME(gradient6)(square + j, 4, half[h] + j, 4);
        } else {
            NAME(square)(map, picture, row - 1, column - 1, 6, channel, count, square);
            UNROLL
            for (int j = 0; j < 6; j++) NAME(input6)(square + j, 6, half[h] + j, 6);
        }
    }
    UNROLL
    for (int i = 0; i < 6; i++) {
        for (int h = 0; h < most; h++)
            if (gradient) NAME(gradient6)(half[h] + 4 * i, 1, last[h], 1);
            else NAME(input6)(half[h] + 6 * i, 1, last[h], 1);
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) HOLD(to + (6 * i + j) * PITCH(room) * LANES, last[0][j], last[most - 1][j], beside);
    }
}

/* `count` tiles of a map, from `first` on, to panels for `room` tiles; the rest of these is left as it is. */
static inline __attribute__((always_inline)) void NAME(transform)(
    const Map *map, const Grid *grid, long first, int count, int room, const int gradient, const int beside, HELD *to) {
    int whole = map->channels / LANES, rest = map->channels % LANES, vectors = whole + (rest > 0);
    const int most = beside ? TILES : 1;
    for (int t = 0; t < count; t += most) {
        long tile = first + t;
        for (int v = 0; v < whole; v++) {
            for (int h = 0; h < most; h++) NAME(foresee)(map, grid, tile + h, v, vectors);
            NAME(transform_some)(
                map, grid, tile, count - t, v * LANES, LANES, room, gradient, beside, to + v * PANEL(room) + t * LANES);
        }
        if (!rest) continue;
        for (int h = 0; h < most; h++) NAME(foresee)(map, grid, tile + h, whole, vectors);
        NAME(transform_some)(
            map, grid, tile, count - t, whole * LANES, rest, room, gradient, beside,
            to + whole * PANEL(room) + t * LANES);
    }
}

static __attribute__((noinline)) void NAME(transform_maps)(
    const Map *map, const Grid *grid, long first, int count, int room, HELD *to) {
    NAME(transform)(map, grid, first, count, room, 0, 0, to);
}

static __attribute__((noinline)) void NAME(transform_beside)(
    const Map *map, const Grid *grid, long first, int count, int room, HELD *to) {
    NAME(transform)(map, grid, first, count, room, 0, 1, to);
}

static __attribute__((noinline)) void NAME(transform_gradients)(
    const Map *map, const Grid *grid, long first, int count, int room, HELD *to) {
    NAME(transform)(map, grid, first, count, room, 1, 1, to);
}

/* Panels of products to tiles of the output map, pooled where it has winners. */
static void NAME(write)(const REAL *from, const Job *job, long first, int count, int room) {
    const Map *map = &job->out;
    const Grid *grid = &job->grid;
    const float *bias = job->bias;
    int vectors = CEIL(map->channels, LANES), pooled = map->winners != 0;
    VEC half[24], y[16], wrong = {0};
    for (int t = 0; t < count; t++) {
        long tile = first + t, picture = tile / grid->tiles;
        int row = tile % grid->tiles / grid->across * 4, column = tile % grid->tiles % grid->across * 4;
        for (int v = 0; v < vectors; v++) {
            const VEC *panel = (const VEC *)(from + v * PANEL(room)) + t;
            int channel = v * LANES, left = map->channels - channel;
            UNROLL
            for (int j = 0; j < 6; j++) NAME(output4)(panel + j * (long)PITCH(room), 6L * PITCH(room), half + j, 6);
            UNROLL
            for (int i = 0; i < 4; i++) NAME(output4)(half + 6 * i, 1, y + 4 * i, 1);
            if (bias) {
                FLOATS parts[LANES / PART];
                for (int i = 0; i < LANES / PART; i++)
                    parts[i] = NAME(load)(bias + channel + i * PART, left > i * PART ? left - i * PART : 0);
                VEC shift = JOIN(parts, 1 / map->scale);
                for (int i = 0; i < 16; i++) y[i] += shift;
            }
            if (sizeof(REAL) < 4)
                for (int i = 0; i < 16; i++) wrong += y[i] * 0;
            if (!pooled) {
                STORED *to = (STORED *)map->data + ((picture * map->height + row) * map->width + column) * map->channels + channel;
                for (int i = 0; i < 4 && row + i < map->height; i++)
                    for (int j = 0; j < 4 && column + j < map->width; j++)
                        NAME(put)(to + ((long)i * map->width + j) * map->channels, y[4 * i + j], left, map->scale);
                continue;
            }
            int height = map->height / 2, width = map->width / 2;
            for (int i = 0; i < 2 && row / 2 + i < height; i++)
                for (int j = 0; j < 2 && column / 2 + j < width; j++) {
                    VEC most = y[8 * i + 2 * j];
                    NAME(mask) winner = {0};
#pragma GCC unroll 3
                    for (int k = 1; k < 4; k++) {
                        VEC other = y[8 * i + 2 * j + k / 2 * 4 + k % 2];
                        NAME(mask) more = (other > most) | (other != other);
                        most = (VEC)((more & (NAME(mask))other) | (~more & (NAME(mask))most));
                        winner = (more & (INTEGER)k) | (~more & winner);
                    }
                    long at = ((picture * height + row / 2 + i) * width + column / 2 + j) * map->channels + channel;
                    NAME(put)((STORED *)map->data + at, most, left, map->scale);
                    NARROW(map->winners + at, winner, left);
                }
        }
    }
    if (sizeof(REAL) < 4)
        for (int l = 0; l < LANES; l++)
            if (wrong[l] != 0) __atomic_store_n(job->overflow, 1, __ATOMIC_RELAXED);
}
