/* Batch norm and GELU for all instruction sets. Included by arithmetic.c. */

static void share_blocks(NormWork *work, const Norm *norm, int threads) {
    share((Work *)work, norm, CEIL(norm->rows, norm->rows_at_once), threads, NULL, 0);
}

/* The means over the rows of some channels, from one of the two rows of sums that each block has. */
static void means_of(const Norm *norm, int which, int first, int count, double *means) {
    for (int c = 0; c < count; c++) means[c] = 0;
    for (long block = 0; block < CEIL(norm->rows, norm->rows_at_once); block++) {
        const float *sums = norm->sums + (2 * block + which) * norm->channels + first;
        for (int c = 0; c < count; c++) means[c] += sums[c];
    }
    for (int c = 0; c < count; c++) means[c] /= norm->rows;
}

/* Of some channels the mean over the blocks, weighted by their rows, of how far the mean of each is off, squared. */
static void spread_of_means(const Norm *norm, int first, int count, const double *means, double *spread) {
    for (int c = 0; c < count; c++) spread[c] = 0;
    for (long from = 0, block = 0; from < norm->rows; from += norm->rows_at_once, block++) {
        const float *sums = norm->sums + 2 * block * norm->channels + first;
        double rows = norm->rows - from < norm->rows_at_once ? norm->rows - from : norm->rows_at_once, each = 1 / rows;
        for (int c = 0; c < count; c++) {
            double apart = sums[c] * each - means[c];
            spread[c] += apart * apart * rows;
        }
    }
    for (int c = 0; c < count; c++) spread[c] /= norm->rows;
}

/* y = GELU(scale·x̂ + bias); mean and variance, and 1 / √(variance + epsilon), of each channel are written. sums: 2 rows
   of `channels` floats for each `rows_at_once` rows. */
void norm_forward(
    const void *x, const float *scale, const float *bias, float *mean, float *variance, float *inverse, void *y,
    long rows, long rows_at_once, int channels, double epsilon, int halves, int threads, float *sums) {
    const Kernel *k = kernel(halves);
    Norm norm = {x, NULL, scale, bias, mean, inverse, NULL, NULL, sums, y, rows, rows_at_once, channels};
    share_blocks(k->spread_of, &norm, threads);
    for (int first = 0; first < channels; first += SOME) {
        int count = channels - first < SOME ? channels - first : SOME;
        double middle[SOME], within[SOME], between[SOME];
        means_of(&norm, 0, first, count, middle);
        means_of(&norm, 1, first, count, within);
        spread_of_means(&norm, first, count, middle, between);
        for (int c = 0; c < count; c++) {
            mean[first + c] = (float)middle[c];
            variance[first + c] = (float)(within[c] + between[c]);
            inverse[first + c] = (float)(1 / sqrt(variance[first + c] + epsilon));
        }
    }
    share_blocks(k->activate, &norm, threads);
}

/* The same of a mean and an inverse that are given. */
void norm_activate(
    const void *x, const float *scale, const float *bias, float *mean, float *inverse, void *y, long rows,
    long rows_at_once, int channels, int halves, int threads) {
    Norm norm = {x, NULL, scale, bias, mean, inverse, NULL, NULL, NULL, y, rows, rows_at_once, channels};
    share_blocks(kernel(halves)->activate, &norm, threads);
}

/* y = the gradient of x; offset = that of bias divided by the rows. */
void norm_backward(
    const void *x, const void *gradient, const float *scale, const float *bias, float *mean, float *inverse, void *y,
    float *offset, float *slope, long rows, long rows_at_once, int channels, int halves, int threads, float *sums) {
    const Kernel *k = kernel(halves);
    Norm norm = {x, gradient, scale, bias, mean, inverse, offset, slope, sums, y, rows, rows_at_once, channels};
    share_blocks(k->activate_back, &norm, threads);
    for (int first = 0; first < channels; first += SOME) {
        int count = channels - first < SOME ? channels - first : SOME;
        double means[SOME];
        means_of(&norm, 0, first, count, means);
        for (int c = 0; c < count; c++) offset[first + c] = (float)means[c];
        means_of(&norm, 1, first, count, means);
        for (int c = 0; c < count; c++) slope[first + c] = (float)means[c];
    }
    share_blocks(k->normalise_back, &norm, threads);
}
