/* Each instruction set that multiplies floats: its vectors, then everything that is computed with them (kernel.h);
   included by arithmetic.c. Those of 16 bits: sixteen_bits.h.

   What a kernel needs to know is said where it is used, in vectors.h and winograd_products.h. Vectors of floats are their
   own parts. */

#define REAL float
#define HELD float
#define INTEGER int32_t
#define STORED float
#define FROM_MAP(from, count) NAME(load)(from, count)
#define TO_MAP(to, whole, count) NAME(store)(to, whole, count)
#define PART LANES
#define JOIN(parts, scale) ((parts)[0])
#define SPLIT(whole, parts, scale) ((parts)[0] = (whole))
#define PAIRS 1
#define LARGE_TILES
#define HOLD(to, whole, second, beside) (*(VEC *)(to) = (whole))
#define ADD_TIMES(sum, vector, from) ((sum) + (vector) * *(from))
#define FOLD(to, to_other, vector, other) (*(VEC *)(to) = (vector), *(VEC *)(to_other) = (other))
#define EACH(from) (*(const VEC *)(from))
#define WEAVE(parts, scale) ((parts)[0])
#define EVERY(parts, h) ((parts)[0])
#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma")
#define LANES 16
#define ROWS 8
#define AT_A_TIME 1
#define EXTRA 0
#define UNROLL _Pragma("GCC unroll 6")
#define LOAD_FEW(from, count) _mm512_maskz_loadu_ps((1u << (count)) - 1, from)
#define STORE_FEW(to, whole, count) _mm512_mask_storeu_ps(to, (1u << (count)) - 1, (__m512)(whole))
#define FEW_BYTES(count) ((__mmask16)((count) < 16 ? (1u << (count)) - 1 : 0xffffu))
#define WIDEN(from, count) _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(FEW_BYTES(count), from))
#define NARROW(to, whole, count) _mm_mask_storeu_epi8(to, FEW_BYTES(count), _mm512_cvtepi32_epi8((__m512i)(whole)))
#define WITHIN(z, most) _mm512_max_ps(_mm512_set1_ps(-(most)), _mm512_min_ps(_mm512_set1_ps(most), (__m512)(z)))
#define NAME(f) avx512_##f
#include "kernel.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
/* sum + vector * factor, as one instruction in the order of the source: there are just enough registers, and GCC would
   move sums from one to another and to memory. */
static inline __m256 add_times(__m256 sum, __m256 vector, float factor) {
    __m256 each = _mm256_set1_ps(factor);
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(each), "x"(vector));
    return sum;
}
static inline void narrow(uint8_t *to, __m256i whole, int count) {
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    uint64_t bytes = (uint64_t)_mm_cvtsi128_si64(_mm_packus_epi16(half, half));
    if (count < 8) memcpy(to, &bytes, count);
    else memcpy(to, &bytes, 8);
}
#undef ADD_TIMES
#define ADD_TIMES(sum, vector, from) add_times((__m256)(sum), (__m256)(vector), *(from))
#define LANES 8
#define ROWS 4
#define AT_A_TIME 4
#define EXTRA 2
#define UNROLL _Pragma("GCC unroll 1")
#define FEW(count) _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define LOAD_FEW(from, count) _mm256_maskload_ps(from, FEW(count))
#define STORE_FEW(to, whole, count) _mm256_maskstore_ps(to, FEW(count), (__m256)(whole))
#define WIDEN(from, count) \
    ((count) < 8 ? (__m256i)NAME(widen)(from, count) : _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(from))))
#define NARROW(to, whole, count) narrow(to, (__m256i)(whole), count)
#define WITHIN(z, most) _mm256_max_ps(_mm256_set1_ps(-(most)), _mm256_min_ps(_mm256_set1_ps(most), (__m256)(z)))
#define NAME(f) avx2_##f
#include "kernel.h"
#pragma GCC pop_options
#else
#define LANES 4
#define ROWS 4
#define AT_A_TIME 1
#define EXTRA 0
#define UNROLL _Pragma("GCC unroll 6")
#define LOAD_FEW(from, count) \
    (plain_vec){(count) > 0 ? (from)[0] : 0, (count) > 1 ? (from)[1] : 0, (count) > 2 ? (from)[2] : 0, \
                (count) > 3 ? (from)[3] : 0}
#define STORE_FEW(to, whole, count) for (int i = 0; i < (count); i++) (to)[i] = (whole)[i]
#define WIDEN(from, count) NAME(widen)(from, count)
#define NARROW(to, whole, count) for (int l = 0; l < LANES && l < (count); l++) (to)[l] = (uint8_t)(whole)[l]
#define WITHIN(z, most) NAME(within)(z, most)
#define NAME(f) plain_##f
#include "kernel.h"
#endif
#undef REAL
#undef HELD
#undef INTEGER
#undef STORED
#undef FROM_MAP
#undef TO_MAP
#undef PART
#undef JOIN
#undef SPLIT
#undef PAIRS
#undef LARGE_TILES
#undef HOLD
#undef ADD_TIMES
#undef FOLD
#undef EACH
#undef WEAVE
#undef EVERY
