/* Everything that arithmetic.c computes, for one instruction set; included by instruction_sets.h once
   for each, whose definitions it takes back. */

#include "vectors.h"
#include "winograd_tiles.h"
#include "winograd_products.h"
#include "norm.h"

static const Kernel NAME(kernel) = {
    LANES, PART, ROWS, sizeof(HELD), sizeof(REAL), NAME(forward), NAME(filters), NAME(spread), NAME(collect), NAME(spread_of), NAME(activate),
    NAME(activate_back), NAME(normalise_back)};
#undef VEC
#undef WIDE
#undef FLOATS
#undef BITS
#undef LANES
#undef ROWS
#undef NAME
#undef LOAD_FEW
#undef STORE_FEW
#undef WIDEN
#undef NARROW
