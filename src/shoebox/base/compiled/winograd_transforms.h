/* The one-dimensional transforms of Winograd's convolutions; included by winograd_convolutions.h. `s` and `u` are the
   steps between elements of what is read and written: inputs, products to outputs, gradients of outputs, filters, and
   products to gradients of filters. */

#if TILE == 4
/* For the points 0, 1, -1, 2, -2 and infinity. */
static inline void TILED(input)(const VEC *d, long s, VEC *t, long u) {
    VEC even = d[4 * s] - 4 * d[2 * s], odd = d[3 * s] - 4 * d[s];
    VEC near = d[4 * s] - d[2 * s], far = 2 * (d[3 * s] - d[s]);
    t[0] = 4 * d[0] - 5 * d[2 * s] + d[4 * s];
    t[u] = even + odd;
    t[2 * u] = even - odd;
    t[3 * u] = near + far;
    t[4 * u] = near - far;
    t[5 * u] = 4 * d[s] - 5 * d[3 * s] + d[5 * s];
}

static inline void TILED(output)(const VEC *m, long s, VEC *y, long u) {
    VEC sum = m[s] + m[2 * s], difference = m[s] - m[2 * s];
    VEC sum2 = m[3 * s] + m[4 * s], difference2 = m[3 * s] - m[4 * s];
    y[0] = m[0] + sum + sum2;
    y[u] = difference + 2 * difference2;
    y[2 * u] = sum + 4 * sum2;
    y[3 * u] = difference + 8 * difference2 + m[5 * s];
}

static inline void TILED(gradient)(const VEC *y, long s, VEC *m, long u) {
    VEC even = y[0] + y[2 * s], odd = y[s] + y[3 * s];
    VEC even2 = y[0] + 4 * y[2 * s], odd2 = 2 * y[s] + 8 * y[3 * s];
    m[0] = y[0];
    m[u] = even + odd;
    m[2 * u] = even - odd;
    m[3 * u] = even2 + odd2;
    m[4 * u] = even2 - odd2;
    m[5 * u] = y[3 * s];
}

static inline void TILED(filter)(const FLOATS *w, int s, FLOATS *g, int u) {
    FLOATS ends = w[0] + w[2 * s], ends2 = w[0] + 4 * w[2 * s];
    g[0] = w[0] * (1.f / 4);
    g[u] = (ends + w[s]) * (-1.f / 6);
    g[2 * u] = (ends - w[s]) * (-1.f / 6);
    g[3 * u] = (ends2 + 2 * w[s]) * (1.f / 24);
    g[4 * u] = (ends2 - 2 * w[s]) * (1.f / 24);
    g[5 * u] = w[2 * s];
}

static inline void TILED(filter_back)(const FLOATS *g, int s, FLOATS *w, int u) {
    FLOATS sum = (g[s] + g[2 * s]) * (1.f / 6), sum2 = (g[3 * s] + g[4 * s]) * (1.f / 24);
    w[0] = g[0] * (1.f / 4) - sum + sum2;
    w[u] = (g[2 * s] - g[s]) * (1.f / 6) + (g[3 * s] - g[4 * s]) * (1.f / 12);
    w[2 * u] = 4 * sum2 - sum + g[5 * s];
}
#else
/* For the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity. */
static inline void TILED(input)(const VEC *d, long s, VEC *t, long u) {
    VEC even = d[2 * s] - 4.25f * d[4 * s] + d[6 * s], odd = d[s] - 4.25f * d[3 * s] + d[5 * s];
    VEC even2 = .25f * d[2 * s] - 1.25f * d[4 * s] + d[6 * s], odd2 = .5f * d[s] - 2.5f * d[3 * s] + 2 * d[5 * s];
    VEC near = 4 * d[2 * s] - 5 * d[4 * s] + d[6 * s], far = 2 * d[s] - 2.5f * d[3 * s] + .5f * d[5 * s];
    t[0] = d[0] - d[6 * s] + 5.25f * (d[4 * s] - d[2 * s]);
    t[u] = even + odd;
    t[2 * u] = even - odd;
    t[3 * u] = even2 + odd2;
    t[4 * u] = even2 - odd2;
    t[5 * u] = near + far;
    t[6 * u] = near - far;
    t[7 * u] = d[7 * s] - d[s] + 5.25f * (d[3 * s] - d[5 * s]);
}

static inline void TILED(output)(const VEC *m, long s, VEC *y, long u) {
    VEC sum = m[s] + m[2 * s], difference = m[s] - m[2 * s];
    VEC sum2 = m[3 * s] + m[4 * s], difference2 = m[3 * s] - m[4 * s];
    VEC half = m[5 * s] + m[6 * s], half_difference = m[5 * s] - m[6 * s];
    y[0] = m[0] + sum + sum2 + half;
    y[u] = difference + 2 * difference2 + .5f * half_difference;
    y[2 * u] = sum + 4 * sum2 + .25f * half;
    y[3 * u] = difference + 8 * difference2 + .125f * half_difference;
    y[4 * u] = sum + 16 * sum2 + .0625f * half;
    y[5 * u] = difference + 32 * difference2 + .03125f * half_difference + m[7 * s];
}

static inline void TILED(gradient)(const VEC *y, long s, VEC *m, long u) {
    VEC even = y[0] + y[2 * s] + y[4 * s], odd = y[s] + y[3 * s] + y[5 * s];
    VEC even2 = y[0] + 4 * y[2 * s] + 16 * y[4 * s], odd2 = 2 * y[s] + 8 * y[3 * s] + 32 * y[5 * s];
    VEC half = y[0] + .25f * y[2 * s] + .0625f * y[4 * s], half_odd = .5f * y[s] + .125f * y[3 * s] + .03125f * y[5 * s];
    m[0] = y[0];
    m[u] = even + odd;
    m[2 * u] = even - odd;
    m[3 * u] = even2 + odd2;
    m[4 * u] = even2 - odd2;
    m[5 * u] = half + half_odd;
    m[6 * u] = half - half_odd;
    m[7 * u] = y[5 * s];
}

static inline void TILED(filter)(const FLOATS *w, int s, FLOATS *g, int u) {
    FLOATS ends = (w[0] + w[2 * s]) * (-2.f / 9), middle = w[s] * (-2.f / 9);
    FLOATS ends2 = (w[0] + 4 * w[2 * s]) * (1.f / 90), middle2 = w[s] * (1.f / 45);
    FLOATS half = (4 * w[0] + w[2 * s]) * (8.f / 45), half_middle = w[s] * (16.f / 45);
    g[0] = w[0];
    g[u] = ends + middle;
    g[2 * u] = ends - middle;
    g[3 * u] = ends2 + middle2;
    g[4 * u] = ends2 - middle2;
    g[5 * u] = half + half_middle;
    g[6 * u] = half - half_middle;
    g[7 * u] = w[2 * s];
}

static inline void TILED(filter_back)(const FLOATS *g, int s, FLOATS *w, int u) {
    FLOATS sum = (g[s] + g[2 * s]) * (-2.f / 9), difference = (g[s] - g[2 * s]) * (-2.f / 9);
    FLOATS sum2 = (g[3 * s] + g[4 * s]) * (1.f / 90), difference2 = (g[3 * s] - g[4 * s]) * (1.f / 45);
    FLOATS half = (g[5 * s] + g[6 * s]) * (8.f / 45), half_difference = (g[5 * s] - g[6 * s]) * (16.f / 45);
    w[0] = g[0] + sum + sum2 + 4 * half;
    w[u] = difference + difference2 + half_difference;
    w[2 * u] = sum + 4 * sum2 + half + g[7 * s];
}
#endif
