/* amx.c - the matrix unit: detection, the system's permission, the shape of tiles. */
#include "sdk/nn/amx.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	AMX_CPUID = 1 << 22 | 1 << 24 | 1 << 25, /* leaf 7, edx: BF16, tiles, 8 bits */
	AMX_OSXSAVE = 1 << 27,                   /* leaf 1, ecx */
	AMX_STATE = 3 << 17,                     /* XCR0: the system keeps the tiles and their shape */
	AMX_REQUEST = 0x1023,                    /* arch_prctl's ARCH_REQ_XCOMP_PERM */
	AMX_FEATURE = 18,                        /* the tiles' data */
};

static uint64_t amx_state(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

int amx_usable(void)
{
	unsigned int a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & AMX_OSXSAVE) || (amx_state() & AMX_STATE) != AMX_STATE)
		return 0;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_CPUID) != AMX_CPUID)
		return 0;
	/* Of the whole process; asking again is nothing. */
	return syscall(SYS_arch_prctl, AMX_REQUEST, AMX_FEATURE) == 0;
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("amx-tile"))), apply_to = function)
#else
#pragma GCC target("amx-tile")
#endif

/* What the instruction reads: palette 1, then bytes of a row and rows of each tile. */
struct amx_config {
	uint8_t palette, start, reserved[14];
	uint16_t bytes[16];
	uint8_t rows[16];
};

void amx_begin(const struct amx_shape *shape)
{
	struct amx_config config = { .palette = 1 };

	for (int i = 0; i < AMX_TILES; i++) {
		config.bytes[i] = shape ? shape->bytes[i] : AMX_BYTES;
		config.rows[i] = shape ? shape->rows[i] : AMX_ROWS;
	}
	amx_written();
	_tile_loadconfig(&config);
}

void amx_end(void)
{
	_tile_release();
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#else

int amx_usable(void)
{
	return 0;
}

void amx_begin(const struct amx_shape *shape)
{
	(void)shape;
}

void amx_end(void)
{
}
#endif
