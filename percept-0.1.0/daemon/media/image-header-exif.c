/* image-header-exif.c - a picture's orientation from its EXIF block. */
#include "config.h"
#include "daemon/media/image-header.h"

#include <string.h>

enum { EXIF_ORIENTATION = 0x0112, EXIF_BYTE = 1, EXIF_SHORT = 3, EXIF_LONG = 4 };

unsigned exif_orientation(const uint8_t *exif, size_t n)
{
	uint32_t (*u16)(const uint8_t *) = le16, (*u32)(const uint8_t *) = le32;
	size_t ifd, entries;

	if (n >= 6 && !memcmp(exif, "Exif\0\0", 6))
		exif += 6, n -= 6;
	if (n < 8)
		return 1;
	if (!memcmp(exif, "MM\0*", 4))
		u16 = be16, u32 = be32;
	else if (memcmp(exif, "II*\0", 4))
		return 1;
	ifd = u32(exif + 4);
	if (ifd > n || n - ifd < 2)
		return 1;
	entries = u16(exif + ifd);
	for (size_t i = 0; i < entries && n - ifd - 2 >= 12 * (i + 1); i++) {
		const uint8_t *entry = exif + ifd + 2 + 12 * i;
		uint32_t type = u16(entry + 2), value;

		if (u16(entry) != EXIF_ORIENTATION || u32(entry + 4) != 1)
			continue;
		value = type == EXIF_SHORT ? u16(entry + 8) :
			type == EXIF_LONG  ? u32(entry + 8) :
			type == EXIF_BYTE  ? entry[8] : 0;
		return value >= 1 && value <= 8 ? value : 1;
	}
	return 1;
}
