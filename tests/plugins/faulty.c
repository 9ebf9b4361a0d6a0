/* faulty.c - one source, many plugins with one fault each: FAULT says which. percept check must find it. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <percept/plugin.h>

enum fault { NONE, WRITABLE, EXPORTS, ABI, NAME, NO_ENCODE, OPTION, OPEN_SEGV, OPEN_SILENT, OPEN_LEAK, OPEN_SHARED, NO_IDENTITY,
	     SHAPE, NOT_A_NUMBER, RANDOM, TAKES_ALL, SILENT, DEAF, WORK_LEAK, ABORTS, EXITS };

#if FAULT == 1
int faulty_counter[64] = { 1 };
#endif
#if FAULT == 2
PERCEPT_EXPORT int faulty_more(void);
int faulty_more(void)
{
	return 1;
}
#endif

struct faulty {
	unsigned calls;
};

static int faulty_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	static struct faulty shared;
	struct faulty *f = FAULT == OPEN_SHARED ? &shared : calloc(1, sizeof(*f));

	if (FAULT == OPEN_SEGV && open->model)
		*(volatile int *)16 = 1;
	if (FAULT == OPEN_SILENT && open->model)
		return free(f), -ENOENT;
	if (FAULT == OPEN_LEAK)
		*(volatile char *)malloc(100) = 1;
#if FAULT == 1
	faulty_counter[f ? 1 : 0]++;
#endif
	*encoder = f;
	return f ? 0 : -ENOMEM;
}

static void faulty_close(void *encoder)
{
	if (FAULT != OPEN_SHARED)
		free(encoder);
}

static int faulty_info(void *encoder, struct percept_encoder_info *info)
{
	info->modalities = PERCEPT_IMAGE;
	info->dim = 2;
	info->max_tokens = 1;
	info->identity = FAULT == NO_IDENTITY ? NULL : "faulty";
	return 0;
}

static int faulty_refuse(struct percept_call *call, const struct percept_media *m)
{
	const int bad = m->format != PERCEPT_U8_RGB || !m->width || m->bytes < (uint64_t)m->width * m->height * 3;

	if (!bad || FAULT == TAKES_ALL)
		return 0;
	return FAULT == SILENT ? -EINVAL : percept_fail(call, -EINVAL, "This is no picture.");
}

static int faulty_encode(struct percept_call *call, void *encoder, const struct percept_media *m, struct percept_features *f)
{
	struct faulty *state = encoder;
	float *data = percept_alloc(call, 4 * sizeof(float));
	const int error = faulty_refuse(call, m);

	if (error || !data)
		return error ? error : -ENOMEM;
	for (int i = 0; FAULT == DEAF && i < 18; i++) {
		if (percept_cancelled(call) && i == 17)
			return percept_fail(call, -ECANCELED, "Cancelled at last.");
		usleep(10000);
	}
	if (FAULT == WORK_LEAK)
		*(volatile char *)malloc(64) = 1;
	if (FAULT == ABORTS)
		abort();
	if (FAULT == EXITS)
		_exit(3);
	state->calls++;
	data[0] = FAULT == NOT_A_NUMBER ? NAN : FAULT == RANDOM ? (float)state->calls : 1;
	f->layout = (struct percept_layout){ .size = sizeof(f->layout), .items = 1, .tokens = FAULT == SHAPE ? 2 : 1, .dim = 2 };
	f->data = data;
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "size", .type = PERCEPT_OPTION_INT, .fallback = FAULT == OPTION ? "50" : "5", .min = 1, .max = 9, .help = "a size" },
};
static const struct percept_encoder ops = {
	.size = sizeof(ops), .n_options = 1, .options = options, .open = faulty_open, .close = faulty_close, .info = faulty_info,
	.encode = FAULT == NO_ENCODE ? NULL : faulty_encode,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = FAULT == ABI ? 99 : PERCEPT_ABI, .kind = PERCEPT_ENCODER,
	.name = FAULT == NAME ? "Faulty!" : "faulty", .version = "1", .license = "Apache-2.0", .summary = "For tests", .ops = &ops,
};
