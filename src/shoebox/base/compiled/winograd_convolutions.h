/* Winograd's convolutions for one instruction set and one TILE, the side of a tile of outputs; included by kernel.h after
   winograd_products.h. TILED(f) is the name of a function for both. */

#include "winograd_transforms.h"
#include "winograd_tiles.h"

/* Outputs of some tiles: transform, FREQUENCIES products, transform back. */
static void TILED(forward)(const Job *job, long item, void *scratch) {
    int in = CEIL(job->in.channels, LANES), out = CEIL(job->out.channels, PART);
    int depth = job->in.channels, room = job->room;
    long first = item * room, left = job->grid.total - first, panel = PANEL(room);
    int count = left < room ? (int)left : room;
    HELD *panels = scratch;
    REAL *products = (REAL *)(panels + in * panel);
    TILED(transform_maps)(&job->in, &job->grid, first, count, room, panels);
    for (int f = 0; f < FREQUENCIES; f++)
        for (int v = 0, columns; v < out; v += columns) {
            columns = NAME(columns)(out - v);
            long step = (long)CEIL(depth, PAIRS) * PART * PAIRS;
            const HELD *filters = (const HELD *)job->filters + ((long)f * out + v) * step, *next = filters + columns * step;
            for (int t = f * PITCH(room), end = t + count; t < end; t += ROWS, next += step)
                NAME(across)(panels + t * LANES, filters, next, products + t * LANES, depth, panel, v, columns);
        }
    for (int f = 0; out % SPAN && f < FREQUENCIES; f++)
        for (int t = f * PITCH(room), end = t + count; t < end; t++)
            for (int l = PART; l < LANES; l++) products[out / SPAN * panel + t * LANES + l] = 0;
    TILED(write)(products, job, first, count, room);
}

/* The gradient of the transformed filters, summed over one share of the tiles, `room` of them at a time. */
static void TILED(filters)(const Job *job, long item, void *scratch) {
    int in = CEIL(job->in.channels, LANES), out = CEIL(job->out.channels, PART), room = job->room;
    long panel = PANEL(room), each = CEIL(job->grid.total, job->shares), first = item * each;
    long end = first + each < job->grid.total ? first + each : job->grid.total;
    long step = (long)in * LANES / SPAN * LANES;
    float *sums = job->sums + item * FREQUENCIES * out * step;
    HELD *panels = scratch, *back = panels + in * panel;
    if (first >= end) memset(sums, 0, FREQUENCIES * out * step * sizeof(float));
    for (long start = first; first < end; first += room) {
        int count = end - first < room ? (int)(end - first) : room;
        TILED(transform_beside)(&job->in, &job->grid, first, count, room, panels);
        TILED(transform_gradients)(&job->out, &job->grid, first, count, room, back);
        for (int f = 0; f < FREQUENCIES; f++)
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

/* Filters [out][9][in], or turned ones, of PART of out to panels [FREQUENCIES][out / PART][in / PAIRS][PART][PAIRS]. */
static void TILED(spread)(const Job *job, long v, void *scratch) {
    (void)scratch;
    int in = job->in.channels, out = job->out.channels, vectors = CEIL(out, PART), left = out - (int)v * PART;
    long apart = job->turned ? 1 : 9L * in, row = job->turned ? 9L * out : 1, place = job->turned ? -out : in;
    const float *first = job->weights + (job->turned ? 8L * out : 0) + v * PART * apart;
    FLOATS w[9], half[3 * SIDE], g[FREQUENCIES], parts[FREQUENCIES][PAIRS];
    for (int c = 0; c < in; c += PAIRS) {
        for (int h = 0; h < PAIRS; h++) {
            for (int k = 0; k < 9; k++)
                w[k] = NAME(gather)(first + (c + h) * row + k * place, apart, c + h < in ? left : 0);
            for (int j = 0; j < 3; j++) TILED(filter)(w + j, 3, half + j, 3);
            for (int i = 0; i < SIDE; i++) TILED(filter)(half + 3 * i, 1, g + SIDE * i, 1);
            for (int f = 0; f < FREQUENCIES; f++) parts[f][h] = g[f];
        }
        for (int f = 0; f < FREQUENCIES; f++)
            *(WIDE *)((HELD *)job->filters + (((long)f * vectors + v) * CEIL(in, PAIRS) + c / PAIRS) * PART * PAIRS) =
                WEAVE(parts[f], job->scale);
    }
}

/* The way back: sums [FREQUENCIES][out / PART][in / SPAN][PART][SPAN] to gradients [out][9][in]. */
static void TILED(collect)(const Job *job, long v, void *scratch) {
    (void)scratch;
    int in = job->in.channels, out = job->out.channels, vectors = CEIL(out, PART), left = out - (int)v * PART;
    long rows = CEIL(in, LANES) * LANES / SPAN, share = FREQUENCIES * vectors * rows * LANES;
    FLOATS g[SPAN][FREQUENCIES], half[3 * SIDE], w[9], wrong = {0};
    for (int c = 0; c < in; c += SPAN) {
        for (int f = 0; f < FREQUENCIES; f++) {
            const float *sum = job->sums + ((f * vectors + v) * rows + c / SPAN) * LANES;
            FLOATS parts[SPAN];
            for (int h = 0; h < SPAN; h++) {
                parts[h] = *(const FLOATS *)(sum + h * PART);
                for (int i = 1; i < job->shares; i++) parts[h] += *(const FLOATS *)(sum + i * share + h * PART);
            }
            for (int h = 0; h < SPAN; h++) g[h][f] = EVERY(parts, h);
        }
        for (int h = 0; h < SPAN && c + h < in; h++) {
            for (int j = 0; j < SIDE; j++) TILED(filter_back)(g[h] + j, SIDE, half + j, SIDE);
            for (int i = 0; i < 3; i++) TILED(filter_back)(half + SIDE * i, 1, w + 3 * i, 1);
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
