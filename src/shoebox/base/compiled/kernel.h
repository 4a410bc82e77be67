/* Everything that arithmetic.c computes, for one instruction set; included by instruction_sets.h and sixteen_bits.h once
   for each. What is defined for this set alone is taken back. */

#include "vectors.h"
#include "winograd_tiles.h"
#include "winograd_products.h"
#include "norm.h"

static const Kernel NAME(kernel) = {
    LANES, PART, sizeof(HELD), sizeof(REAL), EXTRA, NAME(forward), NAME(filters), NAME(spread), NAME(collect),
    NAME(spread_of), NAME(activate), NAME(activate_back), NAME(normalise_back)};
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
