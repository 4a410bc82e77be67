/* Winograd's convolutions for one instruction set and one TILE: maps to panels and back; included by
   winograd_convolutions.h.

   A batch is cut in tiles of TILE x TILE outputs, numbered picture by picture and row by row; each reads SIDE x SIDE inputs.
   Everything that is transformed lies in panels: [channels / LANES][FREQUENCIES][tiles][LANES]; where it is tiles that are
   summed over and TILES of them that are multiplied together, [channels / LANES][FREQUENCIES][tiles / TILES][LANES][TILES].

   Before it is included: EXTRA, tiles more than there are for which a frequency has room, so that those of one tile do not
   share sets of the cache; HOLD(to, vector, second, beside), store one tile's LANES numbers of a frequency; with `beside` those
   of TILES tiles, as [LANES][TILES]. UNROLL, the pragma before a loop over the rows or columns of a tile: where a tile
   fits no registers anyway, a loop costs less than addresses that do not fit either. */

/* `count` channels, LANES at most, of the square of `side` places from (top, left), 0 outside the map. A pooled map stands
   for its gradient: each place has the pooled one's where it was the largest of its four, else 0; `top` and `left` are
   odd for SIDE, else even. */
static inline __attribute__((always_inline)) void TILED(square)(
    const Map *map, long picture, int top, int left, const int side, int channel, int count, VEC *out) {
    static const STORED nothing[LANES];
    const STORED *data = map->data;
    int channels = map->channels;
    if (!map->winners) {
        const STORED *from = data + ((picture * map->height + top) * map->width + left) * channels + channel;
        long down = (long)map->width * channels;
        int within = top >= 0 && left >= 0 && top + side <= map->height && left + side <= map->width;
        if (within) {
#pragma GCC unroll 8
            for (int i = 0; i < side; i++)
#pragma GCC unroll 8
                for (int j = 0; j < side; j++)
                    out[i * side + j] = NAME(read)(from + i * down + j * channels, count, map->scale);
            return;
        }
#pragma GCC unroll 8
        for (int i = 0; i < side; i++) {
            int inside = (unsigned)(top + i) < (unsigned)map->height;
#pragma GCC unroll 8
            for (int j = 0; j < side; j++) {
                const STORED *at = from + i * down + j * channels;
                at = inside & ((unsigned)(left + j) < (unsigned)map->width) ? at : nothing;
                out[i * side + j] = NAME(read)(at, count, map->scale);
            }
        }
        return;
    }
    const int odd = side == SIDE, cells = side / 2 + odd;
    int height = map->height / 2, width = map->width / 2, row = (top + odd) / 2 - odd, column = (left + odd) / 2 - odd;
#pragma GCC unroll 5
    for (int i = 0; i < cells; i++)
#pragma GCC unroll 5
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
static inline void TILED(foresee)(const Map *map, const Grid *grid, long tile, int v, int vectors) {
    long places = map->winners ? (long)(map->height / 2) * (map->width / 2) : (long)map->height * map->width;
    long numbers = places * map->channels, bytes = CEIL(numbers * (long)sizeof(STORED), grid->tiles * (long)vectors);
    long at = (tile + 2 * grid->across + 1) * numbers / grid->tiles;
    const char *data = (const char *)map->data + at * (long)sizeof(STORED) + v * bytes;
    for (long i = 0; i < bytes; i += 64) __builtin_prefetch(data + i, 0, 2);
    if (map->winners)
        for (long i = 0; i * (long)sizeof(STORED) < bytes; i += 64)
            __builtin_prefetch(map->winners + at + v * bytes / (long)sizeof(STORED) + i, 0, 2);
}

/* One tile; or `beside` each other, TILES of which the first `tiles` are there and the others 0. */
static inline __attribute__((always_inline)) void TILED(transform_some)(
    const Map *map, const Grid *grid, long tile, int tiles, int channel, int count, long room, const int gradient,
    const int beside, HELD *to) {
    const int most = beside ? TILES : 1, side = gradient ? TILE : SIDE;
    VEC square[FREQUENCIES], half[TILES][FREQUENCIES], last[TILES][SIDE];
    for (int h = 0; h < most; h++) {
        if (h && h >= tiles) {
            for (int j = 0; j < SIDE * side; j++) half[h][j] = (VEC){0};
            continue;
        }
        long picture = (tile + h) / grid->tiles, place = (tile + h) % grid->tiles;
        int row = place / grid->across * TILE, column = place % grid->across * TILE;
        if (gradient) {
            TILED(square)(map, picture, row, column, TILE, channel, count, square);
            UNROLL
            for (int j = 0; j < TILE; j++) TILED(gradient)(square + j, TILE, half[h] + j, TILE);
        } else {
            TILED(square)(map, picture, row - 1, column - 1, SIDE, channel, count, square);
            UNROLL
            for (int j = 0; j < SIDE; j++) TILED(input)(square + j, SIDE, half[h] + j, SIDE);
        }
    }
    UNROLL
    for (int i = 0; i < SIDE; i++) {
        for (int h = 0; h < most; h++)
            if (gradient) TILED(gradient)(half[h] + TILE * i, 1, last[h], 1);
            else TILED(input)(half[h] + SIDE * i, 1, last[h], 1);
#pragma GCC unroll 8
        for (int j = 0; j < SIDE; j++) HOLD(to + (SIDE * i + j) * PITCH(room) * LANES, last[0][j], last[most - 1][j], beside);
    }
}

/* `count` tiles of a map, from `first` on, to panels for `room` tiles; the rest of these is left as it is. */
static inline __attribute__((always_inline)) void TILED(transform)(
    const Map *map, const Grid *grid, long first, int count, int room, const int gradient, const int beside, HELD *to) {
    int whole = map->channels / LANES, rest = map->channels % LANES, vectors = whole + (rest > 0);
    const int most = beside ? TILES : 1;
    for (int t = 0; t < count; t += most) {
        long tile = first + t;
        for (int v = 0; v < whole; v++) {
            for (int h = 0; h < most; h++) TILED(foresee)(map, grid, tile + h, v, vectors);
            TILED(transform_some)(
                map, grid, tile, count - t, v * LANES, LANES, room, gradient, beside, to + v * PANEL(room) + t * LANES);
        }
        if (!rest) continue;
        for (int h = 0; h < most; h++) TILED(foresee)(map, grid, tile + h, whole, vectors);
        TILED(transform_some)(
            map, grid, tile, count - t, whole * LANES, rest, room, gradient, beside,
            to + whole * PANEL(room) + t * LANES);
    }
}

static __attribute__((noinline)) void TILED(transform_maps)(
    const Map *map, const Grid *grid, long first, int count, int room, HELD *to) {
    TILED(transform)(map, grid, first, count, room, 0, 0, to);
}

static __attribute__((noinline)) void TILED(transform_beside)(
    const Map *map, const Grid *grid, long first, int count, int room, HELD *to) {
    TILED(transform)(map, grid, first, count, room, 0, 1, to);
}

static __attribute__((noinline)) void TILED(transform_gradients)(
    const Map *map, const Grid *grid, long first, int count, int room, HELD *to) {
    TILED(transform)(map, grid, first, count, room, 1, 1, to);
}

/* Panels of products to tiles of the output map, pooled where it has winners. */
static void TILED(write)(const REAL *from, const Job *job, long first, int count, int room) {
    const Map *map = &job->out;
    const Grid *grid = &job->grid;
    const float *bias = job->bias;
    int vectors = CEIL(map->channels, LANES), pooled = map->winners != 0;
    VEC half[TILE * SIDE], y[TILE * TILE], wrong = {0};
    for (int t = 0; t < count; t++) {
        long tile = first + t, picture = tile / grid->tiles;
        int row = tile % grid->tiles / grid->across * TILE, column = tile % grid->tiles % grid->across * TILE;
        for (int v = 0; v < vectors; v++) {
            const VEC *panel = (const VEC *)(from + v * PANEL(room)) + t;
            int channel = v * LANES, left = map->channels - channel;
            UNROLL
            for (int j = 0; j < SIDE; j++)
                TILED(output)(panel + j * (long)PITCH(room), (long)SIDE * PITCH(room), half + j, SIDE);
            UNROLL
            for (int i = 0; i < TILE; i++) TILED(output)(half + SIDE * i, 1, y + TILE * i, 1);
            if (bias) {
                FLOATS parts[LANES / PART];
                for (int i = 0; i < LANES / PART; i++)
                    parts[i] = NAME(load)(bias + channel + i * PART, left > i * PART ? left - i * PART : 0);
                VEC shift = JOIN(parts, 1 / map->scale);
                for (int i = 0; i < TILE * TILE; i++) y[i] += shift;
            }
            if (sizeof(REAL) < 4)
                for (int i = 0; i < TILE * TILE; i++) wrong += y[i] * 0;
            if (!pooled) {
                STORED *to = (STORED *)map->data + ((picture * map->height + row) * map->width + column) * map->channels + channel;
                for (int i = 0; i < TILE && row + i < map->height; i++)
                    for (int j = 0; j < TILE && column + j < map->width; j++)
                        NAME(put)(to + ((long)i * map->width + j) * map->channels, y[TILE * i + j], left, map->scale);
                continue;
            }
            int height = map->height / 2, width = map->width / 2;
            for (int i = 0; i < TILE / 2 && row / 2 + i < height; i++)
                for (int j = 0; j < TILE / 2 && column / 2 + j < width; j++) {
                    VEC most = y[2 * TILE * i + 2 * j];
                    NAME(mask) winner = {0};
#pragma GCC unroll 3
                    for (int k = 1; k < 4; k++) {
                        VEC other = y[2 * TILE * i + 2 * j + k / 2 * TILE + k % 2];
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
