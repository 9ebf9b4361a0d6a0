/* utf8.c - strict UTF-8. */
#include "sdk/wire/frame.h"

size_t wire_utf8_length(const unsigned char *at, const unsigned char *end)
{
	/* The Unicode Standard, table 3-7: lead bytes, and the range of the byte after each. */
	static const struct {
		unsigned char first, last, low, high, length;
	} rows[] = {
		{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	if (at >= end)
		return 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (*at < rows[i].first || *at > rows[i].last)
			continue;
		size_t n = rows[i].length;
		if ((size_t)(end - at) < n || (n > 1 && (at[1] < rows[i].low || at[1] > rows[i].high)))
			return 0;
		for (size_t k = 2; k < n; k++)
			if ((at[k] & 0xc0) != 0x80)
				return 0;
		return n;
	}
	return 0;
}
