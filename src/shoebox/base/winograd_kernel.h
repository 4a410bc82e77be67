/* Winograd's convolutions for one instruction set; included by arithmetic.c once for each.

   Before it is included: LANES, floats in a vector; ROWS, rows that a product keeps in registers (it divides LANES);
   NAME(f), the name of a function for this instruction set.

   A batch is cut in tiles of 4x4 outputs, numbered picture by picture and row by row; each reads 6x6 inputs. Everything
   that is transformed lies in panels: [channels / LANES][36 frequencies][tiles][LANES]. */

typedef float NAME(vec) __attribute__((vector_size(LANES * 4)));
typedef float NAME(loose) __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t NAME(mask) __attribute__((vector_size(LANES * 4)));
#define VEC NAME(vec)

/* The first `count` floats at `from`, the other lanes 0; and the other way. */
static inline VEC NAME(load)(const float *from, int count) {
    return count >= LANES ? *(const NAME(loose) *)from : (VEC)LOAD_FEW(from, count);
}

static inline void NAME(store)(float *to, VEC whole, int count) {
    if (count >= LANES) *(NAME(loose) *)to = whole;
    else STORE_FEW(to, whole, count);
}

/* The square of `side` places from (top, left), 0 outside the map. A pooled map stands for its gradient: each place has
   the pooled one's where it was the largest of its four, else 0; `top` and `left` are odd for a side of 6, else even. */
static inline __attribute__((always_inline)) void NAME(square)(
    const Map *map, long picture, int top, int left, const int side, int channel, int count, VEC *out) {
    int channels = map->channels;
    if (!map->winners) {
        const float *from = map->data + ((picture * map->height + top) * map->width + left) * channels + channel;
        long down = (long)map->width * channels;
        if (count >= LANES && top >= 0 && left >= 0 && top + side <= map->height && left + side <= map->width) {
#pragma GCC unroll 6
            for (int i = 0; i < side; i++)
#pragma GCC unroll 6
                for (int j = 0; j < side; j++)
                    out[i * side + j] = *(const NAME(loose) *)(from + i * down + j * channels);
            return;
        }
        if (count > LANES) count = LANES;
#pragma GCC unroll 6
        for (int i = 0; i < side; i++) {
            int here = (unsigned)(top + i) < (unsigned)map->height ? count : 0;
#pragma GCC unroll 6
            for (int j = 0; j < side; j++) {
                int inside = (unsigned)(left + j) < (unsigned)map->width ? here : 0;
                out[i * side + j] = (VEC)LOAD_FEW(from + i * down + j * channels, inside);
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
                value = NAME(load)(map->data + at, count);
                if (count >= LANES) winner = (NAME(mask))WIDEN(map->winners + at);
                else for (int l = 0; l < count; l++) winner[l] = map->winners[at + l];
            }
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                int down = 2 * i - odd + k / 2, right = 2 * j - odd + k % 2;
                if (down >= 0 && down < side && right >= 0 && right < side)
                    out[down * side + right] = (VEC)((winner == k) & (NAME(mask))value);
            }
        }
}

/* Have the cache fetch the part of a map that some tile after this one needs: a tile's places lie in many rows, which
   the processor does not foresee. */
static inline void NAME(foresee)(const Map *map, const Grid *grid, long tile, int v, int vectors) {
    long places = map->winners ? (long)(map->height / 2) * (map->width / 2) : (long)map->height * map->width;
    long floats = places * map->channels, lines = CEIL(floats, grid->tiles * 16L * vectors);
    long at = (tile + 2 * grid->across + 1) * floats / grid->tiles + v * lines * 16;
    for (long i = 0; i < lines; i++) __builtin_prefetch(map->data + at + i * 16, 0, 2);
    if (map->winners)
        for (long i = 0; i < lines; i += 4) __builtin_prefetch(map->winners + at + i * 16, 0, 2);
}

/* The one-dimensional transforms for the points 0, 1, -1, 2, -2 and infinity; `s` is the step between elements. */
static inline void NAME(input6)(const VEC *d, int s, VEC *t, int u) {
    VEC even = d[4 * s] - 4 * d[2 * s], odd = d[3 * s] - 4 * d[s];
    VEC near = d[4 * s] - d[2 * s], far = 2 * (d[3 * s] - d[s]);
    t[0] = 4 * d[0] - 5 * d[2 * s] + d[4 * s];
    t[u] = even + odd;
    t[2 * u] = even - odd;
    t[3 * u] = near + far;
    t[4 * u] = near - far;
    t[5 * u] = 4 * d[s] - 5 * d[3 * s] + d[5 * s];
}

static inline void NAME(output4)(const VEC *m, int s, VEC *y, int u) {
    VEC sum = m[s] + m[2 * s], difference = m[s] - m[2 * s];
    VEC sum2 = m[3 * s] + m[4 * s], difference2 = m[3 * s] - m[4 * s];
    y[0] = m[0] + sum + sum2;
    y[u] = difference + 2 * difference2;
    y[2 * u] = sum + 4 * sum2;
    y[3 * u] = difference + 8 * difference2 + m[5 * s];
}

static inline void NAME(gradient6)(const VEC *y, int s, VEC *m, int u) {
    VEC even = y[0] + y[2 * s], odd = y[s] + y[3 * s];
    VEC even2 = y[0] + 4 * y[2 * s], odd2 = 2 * y[s] + 8 * y[3 * s];
    m[0] = y[0];
    m[u] = even + odd;
    m[2 * u] = even - odd;
    m[3 * u] = even2 + odd2;
    m[4 * u] = even2 - odd2;
    m[5 * u] = y[3 * s];
}

static inline void NAME(filter6)(const VEC *w, int s, VEC *g, int u) {
    VEC ends = w[0] + w[2 * s], ends2 = w[0] + 4 * w[2 * s];
    g[0] = w[0] * (1.f / 4);
    g[u] = (ends + w[s]) * (-1.f / 6);
    g[2 * u] = (ends - w[s]) * (-1.f / 6);
    g[3 * u] = (ends2 + 2 * w[s]) * (1.f / 24);
    g[4 * u] = (ends2 - 2 * w[s]) * (1.f / 24);
    g[5 * u] = w[2 * s];
}

static inline void NAME(filter3)(const VEC *g, int s, VEC *w, int u) {
    VEC sum = (g[s] + g[2 * s]) * (1.f / 6), sum2 = (g[3 * s] + g[4 * s]) * (1.f / 24);
    w[0] = g[0] * (1.f / 4) - sum + sum2;
    w[u] = (g[2 * s] - g[s]) * (1.f / 6) + (g[3 * s] - g[4 * s]) * (1.f / 12);
    w[2 * u] = 4 * sum2 - sum + g[5 * s];
}

/* `count` tiles of a map, from `first` on, to panels for `room` tiles; the rest of these is left as it is. */
static void NAME(transform)(const Map *map, const Grid *grid, long first, int count, int room, int gradient, float *to) {
    int vectors = CEIL(map->channels, LANES), step = room * LANES;
    VEC square[36], half[36], out[36];
    for (int t = 0; t < count; t++) {
        long tile = first + t, picture = tile / grid->tiles;
        int row = tile % grid->tiles / grid->across * 4, column = tile % grid->tiles % grid->across * 4;
        for (int v = 0; v < vectors; v++) {
            float *panel = to + v * PANEL(room) + t * LANES;
            int channel = v * LANES, left = map->channels - channel;
            NAME(foresee)(map, grid, tile, v, vectors);
            if (gradient) {
                NAME(square)(map, picture, row, column, 4, channel, left, square);
                for (int j = 0; j < 4; j++) NAME(gradient6)(square + j, 4, half + j, 4);
                for (int i = 0; i < 6; i++) NAME(gradient6)(half + 4 * i, 1, out + 6 * i, 1);
            } else {
                NAME(square)(map, picture, row - 1, column - 1, 6, channel, left, square);
                for (int j = 0; j < 6; j++) NAME(input6)(square + j, 6, half + j, 6);
                for (int i = 0; i < 6; i++) NAME(input6)(half + 6 * i, 1, out + 6 * i, 1);
            }
            for (int f = 0; f < 36; f++) *(VEC *)(panel + f * step) = out[f];
        }
    }
}

/* Panels of products to tiles of the output map, pooled where it has winners. */
static void NAME(write)(
    const float *from, const Map *map, const Grid *grid, const float *bias, long first, int count, int room) {
    int vectors = CEIL(map->channels, LANES), step = room * LANES, pooled = map->winners != 0;
    VEC in[36], half[24], y[16];
    for (int t = 0; t < count; t++) {
        long tile = first + t, picture = tile / grid->tiles;
        int row = tile % grid->tiles / grid->across * 4, column = tile % grid->tiles % grid->across * 4;
        for (int v = 0; v < vectors; v++) {
            const float *panel = from + v * PANEL(room) + t * LANES;
            int channel = v * LANES, left = map->channels - channel;
            for (int f = 0; f < 36; f++) in[f] = *(const VEC *)(panel + f * step);
            for (int j = 0; j < 6; j++) NAME(output4)(in + j, 6, half + j, 6);
            for (int i = 0; i < 4; i++) NAME(output4)(half + 6 * i, 1, y + 4 * i, 1);
            if (bias) {
                VEC shift = NAME(load)(bias + channel, left);
                for (int i = 0; i < 16; i++) y[i] += shift;
            }
            if (!pooled) {
                float *to = map->data + ((picture * map->height + row) * map->width + column) * map->channels + channel;
                for (int i = 0; i < 4 && row + i < map->height; i++)
                    for (int j = 0; j < 4 && column + j < map->width; j++)
                        NAME(store)(to + ((long)i * map->width + j) * map->channels, y[4 * i + j], left);
                continue;
            }
            int height = map->height / 2, width = map->width / 2;
            for (int i = 0; i < 2 && row / 2 + i < height; i++)
                for (int j = 0; j < 2 && column / 2 + j < width; j++) {
                    VEC most = y[8 * i + 2 * j];
                    NAME(mask) winner = {0};
                    for (int k = 1; k < 4; k++) {
                        VEC other = y[8 * i + 2 * j + k / 2 * 4 + k % 2];
                        NAME(mask) more = (other > most) | (other != other);
                        most = (VEC)((more & (NAME(mask))other) | (~more & (NAME(mask))most));
                        winner = (more & k) | (~more & winner);
                    }
                    long at = ((picture * height + row / 2 + i) * width + column / 2 + j) * map->channels + channel;
                    NAME(store)(map->data + at, most, left);
                    if (left >= LANES) NARROW(map->winners + at, winner);
                    else for (int l = 0; l < left; l++) map->winners[at + l] = (uint8_t)winner[l];
                }
        }
    }
}

/* `columns` vectors of ROWS rows: c[i][j] = or += the sum over p of a(p, i) b[j][p].
   With `across`, a is a panel whose rows are tiles and p counts its channels; without, p counts tiles. */
static inline __attribute__((always_inline)) void NAME(block)(
    const float *a, const float *b, float *c, int depth, long a_step, long b_step, long c_step, const int columns,
    const int across, const int add) {
    VEC sum[ROWS][3];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < columns; j++) {
            VEC nothing = {0};
            sum[i][j] = add ? *(const VEC *)(c + i * LANES + j * c_step) : nothing;
        }
    if (across) {
        for (int first = 0; first < depth; first += LANES, a += a_step) {
            int last = depth - first < LANES ? depth - first : LANES;
            for (int p = 0; p < last; p++) {
                VEC right[3];
                for (int j = 0; j < columns; j++) right[j] = *(const VEC *)(b + j * b_step + (first + p) * LANES);
#pragma GCC unroll 8
                for (int i = 0; i < ROWS; i++)
                    for (int j = 0; j < columns; j++) sum[i][j] += right[j] * a[i * LANES + p];
            }
        }
    } else {
        for (int p = 0; p < depth; p++) {
            VEC right[3];
            for (int j = 0; j < columns; j++) right[j] = *(const VEC *)(b + j * b_step + p * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; i++)
                for (int j = 0; j < columns; j++) sum[i][j] += right[j] * a[p * LANES + i];
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < columns; j++) *(VEC *)(c + i * LANES + j * c_step) = sum[i][j];
}

/* How many of the vectors that are left to take at a time: three, but no single one after three. */
static inline int NAME(columns)(int left) { return left == 4 ? 2 : left < 3 ? left : 3; }

#define BLOCK(across, add)                                                                             \
    switch (columns) {                                                                                 \
    case 1: NAME(block)(a, b, c, depth, a_step, b_step, c_step, 1, across, add); break;                \
    case 2: NAME(block)(a, b, c, depth, a_step, b_step, c_step, 2, across, add); break;                \
    default: NAME(block)(a, b, c, depth, a_step, b_step, c_step, 3, across, add);                      \
    }

static __attribute__((noinline)) void NAME(across)(
    const float *a, const float *b, float *c, int depth, long a_step, long b_step, long c_step, int columns) {
    BLOCK(1, 0)
}

static __attribute__((noinline)) void NAME(along)(
    const float *a, const float *b, float *c, int depth, long b_step, long c_step, int columns) {
    long a_step = 0;
    BLOCK(0, 1)
}
#undef BLOCK

/* Outputs of some tiles: transform, 36 products, transform back. */
static void NAME(forward)(const Job *job, long item, float *scratch) {
    int in = CEIL(job->in.channels, LANES), out = CEIL(job->out.channels, LANES);
    int depth = job->in.channels, room = job->room;
    long first = item * room, left = job->grid.total - first, panel = PANEL(room);
    int count = left < room ? (int)left : room;
    float *products = scratch + in * panel;
    NAME(transform)(&job->in, &job->grid, first, count, room, 0, scratch);
    for (int f = 0; f < 36; f++)
        for (int v = 0, columns; v < out; v += columns) {
            columns = NAME(columns)(out - v);
            const float *filters = job->filters + ((long)f * out + v) * depth * LANES;
            for (int t = f * room; t < (f + 1) * room; t += ROWS)
                NAME(across)(
                    scratch + t * LANES, filters, products + v * panel + t * LANES, depth, panel, (long)depth * LANES,
                    panel, columns);
        }
    NAME(write)(products, &job->out, &job->grid, job->bias, first, count, room);
}

/* The gradient of the transformed filters, summed over one share of the tiles, `room` of them at a time. */
static void NAME(filters)(const Job *job, long item, float *scratch) {
    int in = CEIL(job->in.channels, LANES), out = CEIL(job->out.channels, LANES), room = job->room;
    long panel = PANEL(room), each = CEIL(job->grid.total, job->shares), first = item * each;
    long end = first + each < job->grid.total ? first + each : job->grid.total;
    float *sums = job->sums + item * SUMS(in, out), *back = scratch + in * panel;
    for (; first < end; first += room) {
        int count = end - first < room ? (int)(end - first) : room;
        NAME(transform)(&job->in, &job->grid, first, count, room, 0, scratch);
        NAME(transform)(&job->out, &job->grid, first, count, room, 1, back);
        for (int f = 0; f < 36; f++)
            for (int v = 0, columns; v < out; v += columns) {
                columns = NAME(columns)(out - v);
                for (int channel = 0; channel < job->in.channels; channel += ROWS)
                    NAME(along)(
                        scratch + channel / LANES * panel + f * room * LANES + channel % LANES,
                        back + v * panel + f * room * LANES,
                        sums + (((long)f * out + v) * in * LANES + channel) * LANES, count, panel,
                        (long)in * LANES * LANES, columns);
            }
    }
}

/* Filters [9][in][out] of one vector of out to panels [36][out / LANES][in][LANES]. */
static void NAME(spread)(const Job *job, long v, float *scratch) {
    (void)scratch;
    int in = job->in.channels, out = job->out.channels, vectors = CEIL(out, LANES), left = out - (int)v * LANES;
    VEC w[9], half[18], g[36];
    for (int c = 0; c < in; c++) {
        for (int k = 0; k < 9; k++) w[k] = NAME(load)(job->weights + ((long)k * in + c) * out + v * LANES, left);
        for (int j = 0; j < 3; j++) NAME(filter6)(w + j, 3, half + j, 3);
        for (int i = 0; i < 6; i++) NAME(filter6)(half + 3 * i, 1, g + 6 * i, 1);
        for (int f = 0; f < 36; f++) *(VEC *)(job->filters + (((long)f * vectors + v) * in + c) * LANES) = g[f];
    }
}

/* The way back: sums [36][out / LANES][in, whole vectors][LANES] to gradients [9][in][out]. */
static void NAME(collect)(const Job *job, long v, float *scratch) {
    (void)scratch;
    int in = job->in.channels, out = job->out.channels, vectors = CEIL(out, LANES), left = out - (int)v * LANES;
    int rows = CEIL(in, LANES) * LANES;
    VEC g[36], half[18], w[9];
    for (int c = 0; c < in; c++) {
        for (int f = 0; f < 36; f++) {
            const float *sum = job->sums + (((long)f * vectors + v) * rows + c) * LANES;
            g[f] = *(const VEC *)sum;
            for (int i = 1; i < job->shares; i++) g[f] += *(const VEC *)(sum + i * SUMS(CEIL(in, LANES), vectors));
        }
        for (int j = 0; j < 6; j++) NAME(filter3)(g + j, 6, half + j, 6);
        for (int i = 0; i < 3; i++) NAME(filter3)(half + 6 * i, 1, w + 3 * i, 1);
        for (int k = 0; k < 9; k++) NAME(store)(job->weights + ((long)k * in + c) * out + v * LANES, w[k], left);
    }
}
