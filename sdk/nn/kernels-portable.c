/* kernels-portable.c - the inner loops for any processor. */
#include "sdk/nn/simd-portable.inc"

#define KERNELS kernels_portable
#define KERNELS_NAME "portable"
#define KERNELS_QUANT quant_portable
#define KERNELS_TILES(X) X(1) X(2) X(3) X(4)
enum { TILE_ROWS = 4 };

static int kernels_usable(void)
{
	return 1;
}

#include "sdk/nn/kernels-body.inc"
