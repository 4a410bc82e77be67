/* Everything that arithmetic.c computes, for one instruction set; included by instruction_sets.h and sixteen_bits.h once
   for each. What is defined for this set alone is taken back. */

#include "vectors.h"
#include "winograd_products.h"
#define TILE 4
#define TILED(f) NAME(f##_4)
#include "winograd_convolutions.h"
#undef TILE
#undef TILED
#if defined(LARGE_TILES)
#define TILE 6
#define TILED(f) NAME(f##_6)
#include "winograd_convolutions.h"
#undef TILE
#undef TILED
#define LARGE {6, NAME(forward_6), NAME(filters_6), NAME(spread_6), NAME(collect_6)}
#else
#define LARGE {0}
#endif
#include "norm.h"

static const Kernel NAME(kernel) = {
    LANES, PART, sizeof(HELD), sizeof(REAL), EXTRA,
    {4, NAME(forward_4), NAME(filters_4), NAME(spread_4), NAME(collect_4)}, LARGE,
    NAME(spread_of), NAME(activate), NAME(activate_back), NAME(normalise_back)};
#undef LARGE
_Static_assert(TILES_WHOLE % ROWS == 0 && ROWS % 2 == 0 && LANES / SPAN % ROWS == 0, "rows that fit");
_Static_assert(TILES_WHOLE % TILES == 0, "tiles that fit");
#undef VEC
#undef WIDE
#undef FLOATS
#undef BITS
#undef LANES
#undef ROWS
#undef AT_A_TIME
#undef EXTRA
#undef UNROLL
#undef NAME
#undef LOAD_FEW
#undef STORE_FEW
#undef WIDEN
#undef NARROW
#undef WITHIN
