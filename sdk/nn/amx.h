/* amx.h - the matrix unit of x86-64 processors that have one (AMX): may it be used, and its tiles. Only files of sdk/nn include
 * this.
 *
 * A thread that computes with tiles calls amx_begin() first and amx_end() behind each stretch of such work: a thread whose
 * tiles are in use takes longer to switch.
 */
#ifndef NN_AMX_H
#define NN_AMX_H

#include <stdint.h>

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_BYTES = 64 /* of a row, at most */ };

/* True if the processor multiplies tiles of BF16 and of 8-bit numbers, and the system lets this process do so. [any] */
int amx_usable(void);
/* This thread's tile i has rows[i] rows (1 .. AMX_ROWS) of bytes[i] bytes (4 .. AMX_BYTES, a multiple of 4). They are zero. */
struct amx_shape {
	uint8_t rows[AMX_TILES], bytes[AMX_TILES];
};
/* NULL: all tiles are as large as they can be. Only where amx_usable(). [any] */
void amx_begin(const struct amx_shape *shape);
/* What was written before this is in memory for the tiles to load: compilers do not know that they read. */
static inline void amx_written(void)
{
	__asm__ volatile("" ::: "memory");
}

/* This thread has no tiles any more. [any] */
void amx_end(void);

#endif
