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

/* An odd polynomial of z, which is taken for at most 4 (or at least -4), and a half: `terms` factors, the highest first. */
static inline __attribute__((always_inline)) FLOATS NAME(half_and_odd)(FLOATS z, const float *factors, const int terms) {
    const FLOATS nothing = {0};
    BITS far = (FLOATS)((BITS)z & 0x7fffffff) > 4.f, sign = (BITS)z & INT32_MIN;
    z = (FLOATS)((far & (sign | (BITS)(nothing + 4.f))) | (~far & (BITS)z));
    FLOATS square = z * z, p = nothing + factors[0];
#pragma GCC unroll 8
    for (int i = 1; i < terms; i++) p = p * square + factors[i];
    return p * z + 0.5f;
}

/* GELU, and its slope. For maps of 16 bits to 2e-4 and 3e-4, a tenth of what these round to: the polynomials whose largest
   error is least, of GELU(z) / z and of the slope. */
static inline FLOATS NAME(gelu)(FLOATS z) {
    static const float factors[] = {
        2.27816931e-08f, -1.59861870e-06f, 4.79559310e-05f, -8.14020487e-04f, 8.77241831e-03f, -6.45731888e-02f,
        3.97883413e-01f};
    FLOATS density;
    return z * (sizeof(STORED) < 4 ? NAME(half_and_odd)(z, factors, 7) : NAME(normal)(z, &density));
}

static inline FLOATS NAME(gelu_slope)(FLOATS z) {
    static const float factors[] = {
        -1.64200495e-08f, 1.21382229e-06f, -3.84599712e-05f, 6.87650561e-04f, -7.68747777e-03f, 5.59149626e-02f,
        -2.62030097e-01f, 7.96721812e-01f};
    FLOATS density;
    if (sizeof(STORED) < 4) return NAME(half_and_odd)(z, factors, 8);
    FLOATS mass = NAME(normal)(z, &density);
    return mass + z * density * 0.398942280f;
}

/* Of a block, `vectors` times PART channels from `c` on. Two at a time: of 16 bits each, these are a line of a cache. */
typedef void NAME(Some)(const Norm *norm, long block, long first, long last, int c, const int vectors);

static inline __attribute__((always_inline)) void NAME(by_channels)(const Norm *norm, long block, NAME(Some) *some) {
    long first = block * norm->rows_at_once, last = first + norm->rows_at_once;
    int c = 0;
    if (last > norm->rows) last = norm->rows;
    for (; c + PART < norm->channels; c += 2 * PART) some(norm, block, first, last, c, 2);
    if (c < norm->channels) some(norm, block, first, last, c, 1);
}

/* The sum over the rows of a block, and the sum of squares of what differs from their mean. */
static inline __attribute__((always_inline)) void NAME(spread_some)(
    const Norm *norm, long block, long first, long last, int c, const int vectors) {
    int channels = norm->channels, left = channels - c;
    const STORED *x = (const STORED *)norm->x + c;
    FLOATS sum[2] = {{0}}, squares[2] = {{0}}, mean[2];
    for (long row = first; row < last; row++)
        for (int v = 0; v < vectors; v++) sum[v] += NAME(load_map)(x + row * channels + v * PART, left - v * PART);
    for (int v = 0; v < vectors; v++) mean[v] = sum[v] / (float)(last - first);
    for (long row = first; row < last; row++)
        for (int v = 0; v < vectors; v++) {
            FLOATS d = NAME(load_map)(x + row * channels + v * PART, left - v * PART) - mean[v];
            squares[v] += d * d;
        }
    float *to = norm->sums + 2 * block * channels + c;
    for (int v = 0; v < vectors; v++) {
        NAME(store)(to + v * PART, sum[v], left - v * PART);
        NAME(store)(to + channels + v * PART, squares[v], left - v * PART);
    }
}

/* y = GELU(scale·x̂ + bias), x̂ being x normalised. */
static inline __attribute__((always_inline)) void NAME(activate_some)(
    const Norm *norm, long block, long first, long last, int c, const int vectors) {
    (void)block;
    int channels = norm->channels, left = channels - c;
    const STORED *x = (const STORED *)norm->x + c;
    STORED *y = (STORED *)norm->y + c;
    FLOATS a[2], b[2];
    for (int v = 0, k = c; v < vectors; v++, k += PART) {
        a[v] = NAME(load)(norm->inverse + k, channels - k) * NAME(load)(norm->scale + k, channels - k);
        b[v] = NAME(load)(norm->bias + k, channels - k) - NAME(load)(norm->mean + k, channels - k) * a[v];
    }
    for (long row = first; row < last; row++)
        for (int v = 0; v < vectors; v++) {
            FLOATS z = NAME(load_map)(x + row * channels + v * PART, left - v * PART) * a[v] + b[v];
            NAME(store_map)(y + row * channels + v * PART, NAME(gelu)(z), left - v * PART);
        }
}

/* y = the gradient before GELU, from that after it; and the sums of it and of it times x̂. */
static inline __attribute__((always_inline)) void NAME(activate_back_some)(
    const Norm *norm, long block, long first, long last, int c, const int vectors) {
    int channels = norm->channels, left = channels - c;
    const STORED *x = (const STORED *)norm->x + c, *gradient = (const STORED *)norm->gradient + c;
    STORED *y = (STORED *)norm->y + c;
    FLOATS inverse[2], mean[2], scale[2], bias[2], sum[2] = {{0}}, product[2] = {{0}};
    for (int v = 0, k = c; v < vectors; v++, k += PART) {
        inverse[v] = NAME(load)(norm->inverse + k, channels - k);
        mean[v] = NAME(load)(norm->mean + k, channels - k);
        scale[v] = NAME(load)(norm->scale + k, channels - k);
        bias[v] = NAME(load)(norm->bias + k, channels - k);
    }
    for (long row = first; row < last; row++)
        for (int v = 0; v < vectors; v++) {
            long at = row * channels + v * PART;
            FLOATS normal = (NAME(load_map)(x + at, left - v * PART) - mean[v]) * inverse[v];
            FLOATS slope = NAME(gelu_slope)(normal * scale[v] + bias[v]);
            FLOATS g = NAME(load_map)(gradient + at, left - v * PART) * slope;
            sum[v] += g;
            product[v] += g * normal;
            NAME(store_map)(y + at, g, left - v * PART);
        }
    float *to = norm->sums + 2 * block * channels + c;
    for (int v = 0; v < vectors; v++) {
        NAME(store)(to + v * PART, sum[v], left - v * PART);
        NAME(store)(to + channels + v * PART, product[v], left - v * PART);
    }
}

/* y = the gradient of x, in place of that before GELU; `offset` and `slope` are the means of what activate_back summed. */
static inline __attribute__((always_inline)) void NAME(normalise_back_some)(
    const Norm *norm, long block, long first, long last, int c, const int vectors) {
    (void)block;
    int channels = norm->channels, left = channels - c;
    const STORED *x = (const STORED *)norm->x + c;
    STORED *y = (STORED *)norm->y + c;
    FLOATS mean[2], scale[2], offset[2], slope[2];
    for (int v = 0, k = c; v < vectors; v++, k += PART) {
        FLOATS inverse = NAME(load)(norm->inverse + k, channels - k);
        mean[v] = NAME(load)(norm->mean + k, channels - k);
        scale[v] = NAME(load)(norm->scale + k, channels - k) * inverse;
        offset[v] = NAME(load)(norm->offset + k, channels - k);
        slope[v] = NAME(load)(norm->slope + k, channels - k) * inverse;
    }
    for (long row = first; row < last; row++)
        for (int v = 0; v < vectors; v++) {
            long at = row * channels + v * PART;
            FLOATS d = NAME(load_map)(x + at, left - v * PART) - mean[v];
            FLOATS g = NAME(load_map)(y + at, left - v * PART);
            NAME(store_map)(y + at, scale[v] * (g - offset[v] - d * slope[v]), left - v * PART);
        }
}

static void NAME(spread_of)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    NAME(by_channels)(norm, block, NAME(spread_some));
}

static void NAME(activate)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    NAME(by_channels)(norm, block, NAME(activate_some));
}

static void NAME(activate_back)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    NAME(by_channels)(norm, block, NAME(activate_back_some));
}

static void NAME(normalise_back)(const Norm *norm, long block, void *scratch) {
    (void)scratch;
    NAME(by_channels)(norm, block, NAME(normalise_back_some));
}
