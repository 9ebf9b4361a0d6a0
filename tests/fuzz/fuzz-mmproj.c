/* fuzz-mmproj.c - fuzz target: any bytes as a picture tower's GGUF file, asked for its configuration and for every tensor by every
 * name that there is. */
#include "config.h" /* memfd_create */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/mmproj.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_LAYERS = 3, FUZZ_BYTES = 1 << 16 };

/* What was found is within what it says of itself. */
static void ask(struct nn_checkpoint *cp, const char *name)
{
	struct nn_weight *w = nn_checkpoint_weight(cp, name);
	volatile unsigned char sum = 0;

	if (!w)
		return;
	if (w->rank > NN_RANK || !w->data || (nn_weight_usable(w) && w->bytes != w->rows * nn_weight_row_bytes(w)))
		abort();
	for (size_t i = 0; i < w->bytes; i++)
		sum = (unsigned char)(sum + ((const unsigned char *)w->data)[i]);
	if (nn_weight_usable(w) && w->rows * w->cols < FUZZ_BYTES)
		nn_weight_f32(cp, w);
}

static void ask_list(struct nn_checkpoint *cp, const char *prefix, const struct nn_mmproj_name *list)
{
	char name[NN_MMPROJ_NAME], full[2 * NN_MMPROJ_NAME];

	for (; list->gguf; list++)
		for (uint32_t i = 0; i < FUZZ_LAYERS; i++) {
			snprintf(name, sizeof(name), list->hf, i);
			snprintf(full, sizeof(full), "%s%s", prefix, name);
			ask(cp, full);
			snprintf(full, sizeof(full), "%s%s.weight", prefix, name);
			ask(cp, full);
			snprintf(full, sizeof(full), "%s%s.bias", prefix, name);
			ask(cp, full);
		}
}

static void ask_all(struct nn_checkpoint *cp)
{
	const struct nn_mmproj_family *family;

	if (!nn_checkpoint_config(cp))
		abort();
	for (size_t i = 0; (family = nn_mmproj_family_at(i)); i++) {
		ask_list(cp, family->tower, family->layers);
		ask_list(cp, "", family->rest);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	char path[64];
	struct nn_error error = { 0 };

	if (fd < 0)
		fd = memfd_create("mmproj.gguf", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || size > FUZZ_BYTES || pwrite(fd, data, size, 0) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct nn_checkpoint *cp = nn_checkpoint_open(path, &error);

	if (!cp && (!error.code || !error.text[0]))
		abort();
	if (cp && nn_checkpoint_gguf(cp) && nn_mmproj_is(nn_checkpoint_gguf(cp))) {
		struct nn_mmproj m;
		cJSON *processor = nn_mmproj_read(&m, nn_checkpoint_gguf(cp), "input", &error) ? NULL : nn_mmproj_processor(&m);

		if (!processor)
			abort();
		cJSON_Delete(processor);
		ask_all(cp);
	}
	nn_checkpoint_close(cp);
	return 0;
}
