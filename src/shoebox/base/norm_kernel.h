/* Batch norm and GELU for one instruction set, with nothing stored between them; included by arithmetic.c after
   winograd_kernel.h, whose vectors it uses; takes back what was defined for the instruction set. Maps are [rows][channels], a row for each place of each picture. Sums are made block by block, each in
   float, and added up in double. */

/* exp(x) for x of at most 0, to about 1e-7 of itself: a power of 2 times a polynomial (Cephes, expf). */
static inline VEC NAME(exponential)(VEC x) {
    const VEC nothing = {0};
    NAME(mask) low = x < -87.f;
    x = (VEC)((low & (NAME(mask))(nothing - 87.f)) | (~low & (NAME(mask))x));
    /* Adding and taking away 1.5·2^23 rounds to a whole number. */
    VEC whole = (x * 1.44269504f + 12582912.f) - 12582912.f;
    VEC r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    VEC p = nothing + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    return p * (VEC)((__builtin_convertvector(whole, NAME(mask)) + 127) << 23);
}

/* The normal distribution's density at z, times √2π; and its mass below z, to 1e-7 (Abramowitz and Stegun, 7.1.26). */
static inline VEC NAME(normal)(VEC z, VEC *density) {
    const VEC nothing = {0};
    VEC size = (VEC)((NAME(mask))z & 0x7fffffff), t = 1.f / (1.f + 0.23164189f * size);
    VEC p = nothing + 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    *density = NAME(exponential)(z * z * -0.5f);
    VEC tail = 0.5f * p * t * *density;
    NAME(mask) below = z < 0;
    return (VEC)((below & (NAME(mask))tail) | (~below & (NAME(mask))(1.f - tail)));
}

/* The sum over the rows of a block, and the sum of squares of what differs from their mean. */
static void NAME(spread_of)(const Norm *norm, long block, float *scratch) {
    (void)scratch;
    int channels = norm->channels;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += LANES) {
        int count = channels - c;
        VEC sum = {0}, squares = {0};
        for (long row = first; row < last; row++) sum += NAME(load)(norm->x + row * channels + c, count);
        VEC mean = sum / (float)(last - first);
        for (long row = first; row < last; row++) {
            VEC d = NAME(load)(norm->x + row * channels + c, count) - mean;
            squares += d * d;
        }
        NAME(store)(norm->sums + 2 * block * channels + c, sum, count);
        NAME(store)(norm->sums + (2 * block + 1) * channels + c, squares, count);
    }
}

/* y = GELU(scale·x̂ + bias), x̂ being x normalised. */
static void NAME(activate)(const Norm *norm, long block, float *scratch) {
    (void)scratch;
    int channels = norm->channels;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += LANES) {
        int count = channels - c;
        VEC a = NAME(load)(norm->inverse + c, count) * NAME(load)(norm->scale + c, count), density;
        VEC b = NAME(load)(norm->bias + c, count) - NAME(load)(norm->mean + c, count) * a;
        for (long row = first; row < last; row++) {
            VEC z = NAME(load)(norm->x + row * channels + c, count) * a + b;
            NAME(store)(norm->y + row * channels + c, z * NAME(normal)(z, &density), count);
        }
    }
}

/* y = the gradient before GELU, from that after it; and the sums of it and of it times x̂. */
static void NAME(activate_back)(const Norm *norm, long block, float *scratch) {
    (void)scratch;
    int channels = norm->channels;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += LANES) {
        int count = channels - c;
        VEC inverse = NAME(load)(norm->inverse + c, count), mean = NAME(load)(norm->mean + c, count);
        VEC scale = NAME(load)(norm->scale + c, count), bias = NAME(load)(norm->bias + c, count);
        VEC sum = {0}, product = {0}, density;
        for (long row = first; row < last; row++) {
            VEC normal = (NAME(load)(norm->x + row * channels + c, count) - mean) * inverse, z = normal * scale + bias;
            VEC mass = NAME(normal)(z, &density);
            VEC g = NAME(load)(norm->gradient + row * channels + c, count) * (mass + z * density * 0.398942280f);
            sum += g;
            product += g * normal;
            NAME(store)(norm->y + row * channels + c, g, count);
        }
        NAME(store)(norm->sums + 2 * block * channels + c, sum, count);
        NAME(store)(norm->sums + (2 * block + 1) * channels + c, product, count);
    }
}

/* y = the gradient of x, in place of that before GELU; `offset` and `slope` are the means of what activate_back summed. */
static void NAME(normalise_back)(const Norm *norm, long block, float *scratch) {
    (void)scratch;
    int channels = norm->channels;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += LANES) {
        int count = channels - c;
        VEC inverse = NAME(load)(norm->inverse + c, count), mean = NAME(load)(norm->mean + c, count);
        VEC scale = NAME(load)(norm->scale + c, count) * inverse;
        VEC offset = NAME(load)(norm->offset + c, count), slope = NAME(load)(norm->slope + c, count) * inverse;
        for (long row = first; row < last; row++) {
            VEC d = NAME(load)(norm->x + row * channels + c, count) - mean;
            VEC g = NAME(load)(norm->y + row * channels + c, count);
            NAME(store)(norm->y + row * channels + c, scale * (g - offset - d * slope), count);
        }
    }
}

static const Kernel NAME(kernel) = {
    LANES, ROWS, NAME(forward), NAME(filters), NAME(spread), NAME(collect), NAME(spread_of), NAME(activate),
    NAME(activate_back), NAME(normalise_back)};
#undef VEC
#undef LANES
#undef ROWS
#undef NAME
#undef LOAD_FEW
#undef STORE_FEW
#undef WIDEN
#undef NARROW
