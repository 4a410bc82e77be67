/* The instruction sets that multiply numbers of 16 bits, twice as many at a time as floats, as instruction_sets.h has those
   of floats; included by arithmetic.c. Maps are bfloat16. Two sets: what is multiplied is bfloat16, or float16. */

#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 10
#define SIXTEEN_BITS
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,fma")
static inline __m512 from_bf16(const uint16_t *from, int count) {
    __mmask16 few = count < 16 ? (1u << count) - 1 : 0xffffu;
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(few, from)), 16);
}
static inline void to_bf16(uint16_t *to, __m512 whole, int count) {
    _mm256_mask_storeu_epi16(to, count < 16 ? (1u << count) - 1 : 0xffffu, (__m256i)_mm512_cvtneps_pbh(whole));
}
/* A broadcast of 16 bits would keep one of the units busy that multiply; one of 32 bits does not. */
static inline __m512i both(const void *from) {
    int32_t pair;
    memcpy(&pair, from, 4);
    return _mm512_set1_epi32(pair);
}
#define STORED uint16_t
#define FROM_MAP(from, count) from_bf16(from, count)
#define TO_MAP(to, whole, count) to_bf16(to, (__m512)(whole), count)
#define PART 16
#define PAIRS 2

/* AVX512-BF16: what is multiplied is bfloat16, a pair at a time, and all sums are float. */

/* Interleaved, in bfloat16: first[0], second[0], first[1], … */
static inline __m512i weave(__m512 first, __m512 second) {
    __m512i places = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(places, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
static inline void hold(uint16_t *to, __m512 whole, __m512 second, int beside) {
    if (beside) _mm512_store_si512(to, weave(whole, second));
    else _mm256_store_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(whole));
}
#define REAL float
#define HELD uint16_t
#define INTEGER int32_t
#define LANES 16
#define ROWS 8
#define AT_A_TIME 1
#define EXTRA 0
#define UNROLL _Pragma("GCC unroll 6")
#define LOAD_FEW(from, count) _mm512_maskz_loadu_ps((1u << (count)) - 1, from)
#define STORE_FEW(to, whole, count) _mm512_mask_storeu_ps(to, (1u << (count)) - 1, (__m512)(whole))
#define FEW_OF_16(count) ((__mmask16)((count) < 16 ? (1u << (count)) - 1 : 0xffffu))
#define WIDEN(from, count) _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(FEW_OF_16(count), from))
#define NARROW(to, whole, count) _mm_mask_storeu_epi8(to, FEW_OF_16(count), _mm512_cvtepi32_epi8((__m512i)(whole)))
#define JOIN(parts, scale) ((parts)[0])
#define SPLIT(whole, parts, scale) ((parts)[0] = (whole))
#define HOLD(to, whole, second, beside) hold(to, (__m512)(whole), (__m512)(second), beside)
#define ADD_TIMES(sum, vector, from) \
    ((VEC)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(vector), (__m512bh)both(from)))
#define FOLD(to, to_other, vector, other) (*(VEC *)(to) = (vector), *(VEC *)(to_other) = (other))
#define EACH(from) (*(const WIDE *)(from))
#define WEAVE(parts, scale) ((WIDE)weave((__m512)(parts)[0], (__m512)(parts)[1]))
#define EVERY(parts, h) ((parts)[0])
#define WITHIN(z, most) _mm512_max_ps(_mm512_set1_ps(-(most)), _mm512_min_ps(_mm512_set1_ps(most), (__m512)(z)))
#define NAME(f) bf16_##f
#include "kernel.h"
#pragma GCC pop_options
#undef REAL
#undef HELD
#undef INTEGER
#undef JOIN
#undef SPLIT
#undef HOLD
#undef ADD_TIMES
#undef FOLD
#undef EACH
#undef WEAVE
#undef EVERY
#endif

/* AVX512-FP16, of which GCC knows since 12: everything is float16, sums over few tiles too. */
#if defined(SIXTEEN_BITS) && __GNUC__ >= 12
#define FLOAT16
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512fp16,avx512bf16,fma")
#define REAL _Float16
#define HELD _Float16
#define INTEGER int16_t
#define LANES 32
#define ROWS 8
#define AT_A_TIME 1
#define EXTRA 0
#define UNROLL _Pragma("GCC unroll 6")
static inline __m512h join_halves(const __m512 *parts, float scale) {
    __m256h low = _mm512_cvtxps_ph(parts[0] * scale), high = _mm512_cvtxps_ph(parts[1] * scale);
    return (__m512h)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)low), (__m256i)high, 1);
}
static inline void split_halves(__m512h whole, __m512 *parts, float scale) {
    parts[0] = _mm512_cvtxph_ps((__m256h)_mm512_castsi512_si256((__m512i)whole)) * scale;
    parts[1] = _mm512_cvtxph_ps((__m256h)_mm512_extracti64x4_epi64((__m512i)whole, 1)) * scale;
}
static inline void fold(_Float16 *to, _Float16 *to_other, __m512h pairs, __m512h other) {
    __m512i places = _mm512_set_epi16(
        62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4,
        2, 0);
    __m512i first = _mm512_permutex2var_epi16((__m512i)pairs, places, (__m512i)other);
    __m512i second = _mm512_permutex2var_epi16(
        (__m512i)pairs, _mm512_or_si512(places, _mm512_set1_epi16(1)), (__m512i)other);
    __m512i sums = (__m512i)_mm512_add_ph((__m512h)first, (__m512h)second);
    _mm256_store_si256((__m256i *)to, _mm512_castsi512_si256(sums));
    _mm256_store_si256((__m256i *)to_other, _mm512_extracti64x4_epi64(sums, 1));
}
static inline __m512h each_twice(const _Float16 *from) {
    __m512i places = _mm512_set_epi16(
        15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    __m512i half = _mm512_castsi256_si512(_mm256_load_si256((const __m256i *)from));
    return (__m512h)_mm512_permutexvar_epi16(places, half);
}
static inline __m512h interleave(__m512h whole) {
    __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256((__m512i)whole));
    __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64((__m512i)whole, 1));
    return (__m512h)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
static inline __m512 every_second(const __m512 *parts, int first) {
    __m512i places = _mm512_add_epi32(
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), _mm512_set1_epi32(first));
    return _mm512_permutex2var_ps(parts[0], places, parts[1]);
}
#define HOLD(to, whole, second, beside) (*(VEC *)(to) = (whole))
#define ADD_TIMES(sum, vector, from) ((sum) + (vector) * (VEC)both(from))
#define FOLD(to, to_other, vector, other) fold(to, to_other, (__m512h)(vector), (__m512h)(other))
#define EACH(from) ((VEC)each_twice(from))
#define WEAVE(parts, scale) ((VEC)interleave(join_halves(parts, scale)))
#define EVERY(parts, h) every_second(parts, h)
#define JOIN(parts, scale) join_halves(parts, scale)
#define SPLIT(whole, parts, scale) split_halves((__m512h)(whole), parts, scale)
#define LOAD_FEW(from, count) _mm512_maskz_loadu_ps((1u << (count)) - 1, from)
#define STORE_FEW(to, whole, count) _mm512_mask_storeu_ps(to, (1u << (count)) - 1, (__m512)(whole))
#define FEW_OF_32(count) ((__mmask32)((count) < 32 ? (1u << (count)) - 1 : 0xffffffffu))
#define WIDEN(from, count) _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(FEW_OF_32(count), from))
#define NARROW(to, whole, count) _mm256_mask_storeu_epi8(to, FEW_OF_32(count), _mm512_cvtepi16_epi8((__m512i)(whole)))
#define WITHIN(z, most) _mm512_max_ps(_mm512_set1_ps(-(most)), _mm512_min_ps(_mm512_set1_ps(most), (__m512)(z)))
#define NAME(f) fp16_##f
#include "kernel.h"
#pragma GCC pop_options
#undef REAL
#undef HELD
#undef INTEGER
#undef JOIN
#undef SPLIT
#undef HOLD
#undef ADD_TIMES
#undef FOLD
#undef EACH
#undef WEAVE
#undef EVERY
#endif
#undef STORED
#undef FROM_MAP
#undef TO_MAP
#undef PART
#undef PAIRS
