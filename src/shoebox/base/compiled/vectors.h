/* Vectors of one instruction set; included by kernel.h before the other headers.

   Before it is included: REAL, the type that is computed in, and INTEGER, a whole number of its size; HELD, the type of
   what is multiplied; STORED, the type of the maps' numbers; PART, floats in a vector; LANES, REALs in a vector, one or
   two times PART; PAIRS, how many HELDs of PART places each are multiplied at a time; NAME(f), the name of a function for
   this instruction set. Further
   LOAD_FEW(from, count), STORE_FEW(to, floats, count): fewer floats than a vector has;
   FROM_MAP(from, count), TO_MAP(to, floats, count): at most PART numbers of a map;
   WIDEN(from, count), NARROW(to, whole, count): at most LANES bytes from and to whole numbers;
   WITHIN(z, most): floats, none farther from 0 than `most`; what is not a number stays so;
   JOIN(parts, scale), SPLIT(vector, parts, scale): a vector from such floats, each times `scale`, and back. */

typedef REAL NAME(vec) __attribute__((vector_size(LANES * sizeof(REAL))));
typedef INTEGER NAME(mask) __attribute__((vector_size(LANES * sizeof(REAL))));
typedef HELD NAME(wide) __attribute__((vector_size(PART * PAIRS * sizeof(HELD))));
typedef float NAME(part) __attribute__((vector_size(PART * 4)));
typedef int32_t NAME(bits) __attribute__((vector_size(PART * 4)));
typedef float NAME(loose) __attribute__((vector_size(PART * 4), aligned(4)));
#define VEC NAME(vec)
#define WIDE NAME(wide)
#define FLOATS NAME(part)
#define BITS NAME(bits)

/* The first `count` floats at `from`, the other lanes 0; and the other way. */
static inline FLOATS NAME(load)(const float *from, int count) {
    return count >= PART ? *(const NAME(loose) *)from : (FLOATS)LOAD_FEW(from, count);
}

static inline void NAME(store)(float *to, FLOATS whole, int count) {
    if (count >= PART) *(NAME(loose) *)to = whole;
    else STORE_FEW(to, whole, count);
}

/* The same of floats that lie `apart` from each other. */
static inline FLOATS NAME(gather)(const float *from, long apart, int count) {
    FLOATS whole = {0};
    if (apart == 1) return NAME(load)(from, count);
    for (int l = 0; l < PART && l < count; l++) whole[l] = from[l * apart];
    return whole;
}

static inline void NAME(scatter)(float *to, long apart, FLOATS whole, int count) {
    for (int l = 0; l < PART && l < count; l++) to[l * apart] = whole[l];
}

/* The same for numbers of a map. */
static inline FLOATS NAME(load_map)(const STORED *from, int count) { return FROM_MAP(from, count); }

static inline void NAME(store_map)(STORED *to, FLOATS whole, int count) { TO_MAP(to, whole, count); }

/* The same for a vector of which `count` numbers, LANES at most, are in the map, each times `scale` (which is 1 where REAL
   is float). */
static inline __attribute__((always_inline)) VEC NAME(read)(const STORED *from, int count, float scale) {
    FLOATS parts[LANES / PART];
    (void)scale;
    for (int i = 0; i < LANES / PART; i++) {
        int here = count - i * PART;
        parts[i] = NAME(load_map)(from + i * PART, count == LANES ? PART : here < 0 ? 0 : here > PART ? PART : here);
    }
    return JOIN(parts, scale);
}

static inline __attribute__((always_inline)) void NAME(put)(STORED *to, VEC whole, int count, float scale) {
    FLOATS parts[LANES / PART];
    (void)scale;
    SPLIT(whole, parts, scale);
    for (int i = 0; i < LANES / PART && count > i * PART; i++) NAME(store_map)(to + i * PART, parts[i], count - i * PART);
}

/* `count` bytes, LANES at most, as whole numbers, the other lanes 0. */
static inline __attribute__((unused)) NAME(mask) NAME(widen)(const uint8_t *from, int count) {
    NAME(mask) whole = {0};
    for (int l = 0; l < count; l++) whole[l] = from[l];
    return whole;
}

static inline __attribute__((unused)) FLOATS NAME(within)(FLOATS z, float most) {
    for (int l = 0; l < PART; l++) z[l] = z[l] > most ? most : z[l] < -most ? -most : z[l];
    return z;
}
