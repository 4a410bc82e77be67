/* The convolutions for all instruction sets: what is to be done, in which memory. Included by arithmetic.c. */

#define MOST_ROOM 128

/* Bytes of what is transformed at a time: six tenths of a core's second cache, which is taken for at least 1 MiB and at most
   2. With 1.3 MB a core of 1 MiB took 1.04 times as long. The gradient of the filters has AT_ONCE, since the order of its
   sums must not depend on the machine. */
#define AT_ONCE 1000000
static long at_once(void) {
    static long known = 0;
    long found = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!found) {
#if defined(_SC_LEVEL2_CACHE_SIZE)
        found = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
        found = (found < 1 << 20 ? 1 << 20 : found > 2 << 20 ? 2 << 20 : found) / 10 * 6;
        __atomic_store_n(&known, found, __ATOMIC_RELAXED);
    }
    return found;
}

/* How maps are cut: in large tiles where these take clearly fewer multiplications, as of sides of 6, 12 and 24. */
static const Tiling *tiling(const Kernel *k, int height, int width) {
    long usual = 36L * CEIL(height, 4) * CEIL(width, 4), large = 64L * CEIL(height, 6) * CEIL(width, 6);
    return k->large.tile && 10 * large < 9 * usual ? &k->large : &k->usual;
}

static Grid divide(const Map *out, long pictures, int tile) {
    int height = out->winners ? out->height / 2 * 2 : out->height, width = out->winners ? out->width / 2 * 2 : out->width;
    int across = CEIL(width, tile), tiles = across * CEIL(height, tile);
    return (Grid){across, tiles, pictures * tiles};
}

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

/* Tiles to transform at a time, and the bytes that this takes: of what the threads share, and of each one's own. */
typedef struct {
    int room;
    long shared, each;
} Space;

/* At most MOST_ROOM tiles: then what three vectors of outputs have of one frequency stays in the nearest cache while it
   meets all the inputs. And so few that what is transformed stays in a core's cache; for the gradient of the filters at
   least half as much again as the sums, which are read and written for each. */
static Space space_for(const Kernel *k, int tile_side, int in_channels, int out_channels, int gradient, int threads) {
    long frequencies = (tile_side + 2L) * (tile_side + 2);
    long deep = CEIL(in_channels, k->lanes) * (long)k->lanes, wide = CEIL(out_channels, k->lanes) * (long)k->lanes;
    long sums = frequencies * deep * CEIL(out_channels, k->part) * k->part, least = 3 * sums * (long)sizeof(float) / 2;
    long tile = frequencies * (deep * k->held + wide * (gradient ? k->held : k->real));
    long most = gradient ? least > AT_ONCE ? least : AT_ONCE : at_once();
    long room = most / tile / TILES_WHOLE * TILES_WHOLE;
    room = room > MOST_ROOM ? MOST_ROOM : room < TILES_WHOLE ? TILES_WHOLE : room;
    /* What PANEL has beside its tiles. */
    long edges = (deep + wide) / k->lanes * 64 * k->real / k->held + tile * k->extra;
    return (Space){(int)room, gradient ? sums * (long)sizeof(float) * threads : sums * k->held, tile * room + edges};
}

/* Bytes of scratch that a convolution, or with `gradient` the gradient of its filters, needs. */
long winograd_scratch(
    int height, int width, int in_channels, int out_channels, int gradient, int halves, int threads) {
    const Kernel *k = kernel(halves);
    Space space = space_for(k, tiling(k, height, width)->tile, in_channels, out_channels, gradient, threads);
    return space.shared + threads * space.each;
}

/* out = the convolution of `in`, and the bias; with `winners`, of its maxima over 2x2. `in_winners`: `in` is the gradient
   of such maxima. `turned`: `in` is a gradient, the weights are those that it goes back through. Returns whether float16
   did not do. */
int winograd_forward(
    void *in, uint8_t *in_winners, float *weights, const float *bias, void *out, uint8_t *winners, long pictures,
    int height, int width, int in_channels, int out_channels, int turned, int halves, int threads, void *scratch) {
    const Kernel *k = kernel(halves);
    const Tiling *cut = tiling(k, height, width);
    Space space = space_for(k, cut->tile, in_channels, out_channels, 0, threads);
    int overflow = 0;
    Job job = {.in = {in, in_winners, height, width, in_channels, 1}, .out = {out, winners, height, width, out_channels, 1}};
    job.grid = divide(&job.out, pictures, cut->tile);
    job.weights = weights;
    job.scale = 1;
    if (k->real < 4) {
        job.in.scale = scale_to(2, in, numbers(&job.in, pictures));
        job.scale = scale_filters_to(2, weights, 9L * in_channels * out_channels);
        job.out.scale = 1 / (job.in.scale * job.scale);
    }
    job.bias = bias;
    job.turned = turned;
    job.filters = scratch;
    job.room = space.room;
    job.overflow = &overflow;
    share(cut->spread, &job, CEIL(out_channels, k->part), threads, NULL, 0);
    share(cut->forward, &job, CEIL(job.grid.total, job.room), threads, (char *)scratch + space.shared, space.each);
    return overflow;
}

/* weights = the gradient of the filters, given `in` and the gradient of `out`. Returns whether float16 did not do.
   At most MOST_THREADS threads. */
int winograd_filters(
    void *in, float *weights, void *out, uint8_t *winners, long pictures, int height, int width, int in_channels,
    int out_channels, int halves, int threads, void *scratch) {
    const Kernel *k = kernel(halves);
    const Tiling *cut = tiling(k, height, width);
    Space space = space_for(k, cut->tile, in_channels, out_channels, 1, threads);
    int overflow = 0;
    Job job = {.in = {in, NULL, height, width, in_channels, 1}, .out = {out, winners, height, width, out_channels, 1}};
    job.grid = divide(&job.out, pictures, cut->tile);
    job.weights = weights;
    job.scale = 1;
    if (k->real < 4) {
        job.in.scale = scale_to(2, in, numbers(&job.in, pictures));
        job.out.scale = scale_to(-1, out, numbers(&job.out, pictures));
        job.scale = 1 / (job.in.scale * job.out.scale);
    }
    job.sums = scratch;
    job.room = space.room;
    job.shares = threads;
    job.overflow = &overflow;
    share(cut->filters, &job, threads, threads, (char *)scratch + space.shared, space.each);
    share(cut->collect, &job, CEIL(out_channels, k->part), threads, NULL, 0);
    return overflow;
}
