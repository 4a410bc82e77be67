/* Windows cut from pictures that go on past their edges as their mirror image. Included by arithmetic.c.

   Pictures are [pictures][height][width][3] bytes. */

/* What shows at `place`, which is at most side - 1 beyond either end: the edge itself is not repeated. */
static inline int mirrored(int place, int side) {
    place = place < 0 ? -place : place;
    return place < side ? place : 2 * (side - 1) - place;
}

/* Pixels first to end - 1 of a line, pixel x as pixel last - x of `from`: four bytes at a time, of which the next pixel
   overwrites one, but for the two at the ends, beside which there may be none. */
static void copy_backwards(uint8_t *to, const uint8_t *from, int first, int end, int last) {
    memcpy(to + 3 * first, from + 3 * (last - first), 3);
    for (int x = first + 1; x < end - 1; x++) memcpy(to + 3 * x, from + 3 * (last - x), 4);
    memcpy(to + 3 * (end - 1), from + 3 * (last - (end - 1)), 3);
}

/* Pixel x of `to` is pixel x + right of a line, or of the line reversed. */
static void cut_line(uint8_t *to, const uint8_t *line, int width, int right, int reversed) {
    int first = right < 0 ? -right : 0, end = right > 0 ? width - right : width;
    if (reversed)
        copy_backwards(to, line, first, end, width - 1 - right);
    else
        memcpy(to + 3 * first, line + 3 * (first + right), 3 * (end - first));
    for (int x = right < 0 ? 0 : end; x < (right < 0 ? first : width); x++) {
        int place = mirrored(x + right, width);
        memcpy(to + 3 * x, line + 3 * (reversed ? width - 1 - place : place), 3);
    }
}

/* out = windows of the pictures' own size, whose first pixel is that at (y - reach, x - reach) of their corner (y, x);
   those of the pictures that are `reversed` left-right first (NULL: none is). reach is less than either side. */
void cut_windows(
    const uint8_t *in, uint8_t *out, const int64_t *corners, const uint8_t *reversed, long pictures, int height, int width,
    int reach) {
    long line = 3L * width;
    for (long i = 0; i < pictures; i++)
        for (int y = 0; y < height; y++) {
            int from = mirrored(y + (int)corners[2 * i] - reach, height), right = (int)corners[2 * i + 1] - reach;
            cut_line(
                out + (i * height + y) * line, in + (i * height + from) * line, width, right, reversed && reversed[i]);
        }
}
