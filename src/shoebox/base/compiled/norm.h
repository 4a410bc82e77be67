/* Batch norm and GELU for one instruction set, with nothing stored between them; included by kernel.h after
   vectors.h. Maps are [rows][channels], a row for each place of each picture. Sums are made block
   by block, each in float, and added up in double. */

/* exp(x) for x of at most 0, to about 1e-7 of itself: a power of 2 times a polynomial (Cephes, expf). */
static inline FLOATS NAME(exponential)(FLOATS x) {
    const FLOATS nothing = {0};
    BITS low = x < -87.f;
    x = (FLOATS)((low & (BITS)(nothing - 87.f)) | (~low & (BITS)x));
    /* Adding and taking away 1.5·2^23 rounds to a whole number. */
    FLOATS whole = (x * 1.44269504f + 12582912.f) - 12582912.f;
    FLOATS r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    FLOATS p = nothing + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    return p * (FLOATS)((__builtin_convertvector(whole, BITS) + 127) << 23);
}

/* The normal distribution's density at z, times √2π; and its mass below z, to 1e-7 (Abramowitz and Stegun, 7.1.26). */
static inline FLOATS NAME(normal)(FLOATS z, FLOATS *density) {
    const FLOATS nothing = {0};
    FLOATS size = (FLOATS)((BITS)z & 0x7fffffff), t = 1.f / (1.f + 0.23164189f * size);
    FLOATS p = nothing + 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    *density = NAME(exponential)(z * z * -0.5f);
    FLOATS tail = 0.5f * p * t * *density;
    BITS below = z < 0;
    return (FLOATS)((below & (BITS)tail) | (~below & (BITS)(1.f - tail)));
}

/* The sum over the rows of a block, and the sum of squares of what differs from their mean. */
static void NAME(spread_of)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    int channels = norm->channels;
    const STORED *x = norm->x;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += PART) {
        int count = channels - c;
        FLOATS sum = {0}, squares = {0};
        for (long row = first; row < last; row++) sum += NAME(load_map)(x + row * channels + c, count);
        FLOATS mean = sum / (float)(last - first);
        for (long row = first; row < last; row++) {
            FLOATS d = NAME(load_map)(x + row * channels + c, count) - mean;
            squares += d * d;
        }
        NAME(store)(norm->sums + 2 * block * channels + c, sum, count);
        NAME(store)(norm->sums + (2 * block + 1) * channels + c, squares, count);
    }
}

/* y = GELU(scale·x̂ + bias), x̂ being x normalised. */
static void NAME(activate)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    int channels = norm->channels;
    const STORED *x = norm->x;
    STORED *y = norm->y;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += PART) {
        int count = channels - c;
        FLOATS a = NAME(load)(norm->inverse + c, count) * NAME(load)(norm->scale + c, count), density;
        FLOATS b = NAME(load)(norm->bias + c, count) - NAME(load)(norm->mean + c, count) * a;
        for (long row = first; row < last; row++) {
            FLOATS z = NAME(load_map)(x + row * channels + c, count) * a + b;
            NAME(store_map)(y + row * channels + c, z * NAME(normal)(z, &density), count);
        }
    }
}

/* y = the gradient before GELU, from that after it; and the sums of it and of it times x̂. */
static void NAME(activate_back)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    int channels = norm->channels;
    const STORED *x = norm->x, *gradient = norm->gradient;
    STORED *y = norm->y;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += PART) {
        int count = channels - c;
        FLOATS inverse = NAME(load)(norm->inverse + c, count), mean = NAME(load)(norm->mean + c, count);
        FLOATS scale = NAME(load)(norm->scale + c, count), bias = NAME(load)(norm->bias + c, count);
        FLOATS sum = {0}, product = {0}, density;
        for (long row = first; row < last; row++) {
            FLOATS normal = (NAME(load_map)(x + row * channels + c, count) - mean) * inverse, z = normal * scale + bias;
            FLOATS mass = NAME(normal)(z, &density);
            FLOATS g = NAME(load_map)(gradient + row * channels + c, count) * (mass + z * density * 0.398942280f);
            sum += g;
            product += g * normal;
            NAME(store_map)(y + row * channels + c, g, count);
        }
        NAME(store)(norm->sums + 2 * block * channels + c, sum, count);
        NAME(store)(norm->sums + (2 * block + 1) * channels + c, product, count);
    }
}

/* y = the gradient of x, in place of that before GELU; `offset` and `slope` are the means of what activate_back summed. */
static void NAME(normalise_back)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    int channels = norm->channels;
    const STORED *x = norm->x;
    STORED *y = norm->y;
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    if (last > norm->rows) last = norm->rows;
    for (int c = 0; c < channels; c += PART) {
        int count = channels - c;
        FLOATS inverse = NAME(load)(norm->inverse + c, count), mean = NAME(load)(norm->mean + c, count);
        FLOATS scale = NAME(load)(norm->scale + c, count) * inverse;
        FLOATS offset = NAME(load)(norm->offset + c, count), slope = NAME(load)(norm->slope + c, count) * inverse;
        for (long row = first; row < last; row++) {
            FLOATS d = NAME(load_map)(x + row * channels + c, count) - mean;
            FLOATS g = NAME(load_map)(y + row * channels + c, count);
            NAME(store_map)(y + row * channels + c, scale * (g - offset - d * slope), count);
        }
    }
}
