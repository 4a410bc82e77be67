/* Batch norm and GELU for one instruction set, with nothing stored between them; included by kernel.h after
   vectors.h. Maps are [rows][channels], a row for each place of each picture. Sums are made block
   by block, each in float, and added up in double. */

/* A polynomial of `terms` factors, the highest first. */
static inline __attribute__((always_inline)) FLOATS NAME(polynomial)(FLOATS x, const float *factors, const int terms) {
    const FLOATS nothing = {0};
    FLOATS p = nothing + factors[0];
#pragma GCC unroll 8
    for (int i = 1; i < terms; i++) p = p * x + factors[i];
    return p;
}

/* GELU, and its slope: what is left of GELU(z) / z and of the slope without a half is odd, z times a function of its
   square. Of maps of 32 bits that is a ratio of polynomials, to 3e-7 and 4e-7 in floats. Of 16 bits a polynomial, to 2e-4
   and 3e-4, a tenth of what these round to. All have the factors whose largest error is least. */
static inline FLOATS NAME(gelu)(FLOATS z) {
    static const float above[] = {
        2.22159748e-08f, 6.53075131e-06f, 1.82858465e-04f, 4.76161810e-03f, 3.51423509e-02f, 3.98941994e-01f};
    static const float below[] = {
        1.19540016e-06f, 7.86104210e-05f, 1.96243590e-03f, 2.93987077e-02f, 2.54752398e-01f, 1.f};
    static const float coarse[] = {
        2.27816931e-08f, -1.59861870e-06f, 4.79559310e-05f, -8.14020487e-04f, 8.77241831e-03f, -6.45731888e-02f,
        3.97883413e-01f};
    if (sizeof(STORED) < 4) {
        FLOATS near = (FLOATS)WITHIN(z, 4.f);
        return z * (NAME(polynomial)(near * near, coarse, 7) * near + 0.5f);
    }
    FLOATS near = (FLOATS)WITHIN(z, 5.5f), square = near * near;
    return z * (NAME(polynomial)(square, above, 6) / NAME(polynomial)(square, below, 6) * near + 0.5f);
}

static inline FLOATS NAME(gelu_slope)(FLOATS z) {
    static const float above[] = {
        1.90871987e-07f, 3.58031830e-05f, 2.05933957e-05f, 1.42190382e-02f, -3.09439059e-02f, 7.97885299e-01f};
    static const float below[] = {
        8.88711293e-06f, 1.92060368e-04f, 3.52182006e-03f, 4.09885198e-02f, 2.94558764e-01f, 1.f};
    static const float coarse[] = {
        -1.64200495e-08f, 1.21382229e-06f, -3.84599712e-05f, 6.87650561e-04f, -7.68747777e-03f, 5.59149626e-02f,
        -2.62030097e-01f, 7.96721812e-01f};
    if (sizeof(STORED) < 4) {
        FLOATS near = (FLOATS)WITHIN(z, 4.f);
        return NAME(polynomial)(near * near, coarse, 8) * near + 0.5f;
    }
    FLOATS near = (FLOATS)WITHIN(z, 5.5f), square = near * near;
    return NAME(polynomial)(square, above, 6) / NAME(polynomial)(square, below, 6) * near + 0.5f;
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
