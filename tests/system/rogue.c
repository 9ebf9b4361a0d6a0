/* rogue.c - an encoder (and with CONNECTOR a connector) that fails as the picture's width says. C, or C++ for the throw. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <percept/plugin.h>

enum { DIM = 4, ROWS = 2 };

static int rogue_open(struct percept_call *call, const struct percept_open *open, void **instance)
{
	*instance = malloc(1);
	return *instance ? 0 : percept_fail(call, -12, "Memory is out.");
}

static int rogue_deep(volatile char *above)
{
	volatile char here[4096];

	here[0] = above ? above[0] : 0;
	return here[0] + rogue_deep(here);
}

static void rogue_do(uint32_t what)
{
	switch (what) {
	case 1:
		*(volatile int *)16 = 1;
		break;
	case 2:
		abort();
	case 3:
		_exit(3);
	case 4:
		rogue_deep(NULL);
		break;
	case 5:
		for (;;)
			usleep(100000);
	case 6:
		for (int i = 0; i < 64; i++)
			memset(malloc(1 << 20), 1, 1 << 20);
		break;
	case 7:
#ifdef __cplusplus
		throw 7;
#else
		abort();
#endif
	case 8:
		exit(0);
	}
}

#ifdef CONNECTOR
static int rogue_info(void *instance, struct percept_connector_info *info)
{
	info->in_dim = DIM;
	info->out_dim = WIDTH;
	info->position_components = 1;
	info->identity = "rogue";
	return 0;
}

static int rogue_connect(struct percept_call *call, void *instance, const struct percept_features *features,
			 const char *instruction, struct percept_embeddings *e)
{
	e->n = ROWS;
	e->dim = WIDTH;
	e->data = (const float *)percept_alloc(call, ROWS * WIDTH * sizeof(float));
	return e->data ? 0 : -12;
}

static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = 0, .options = NULL, .open = rogue_open, .close = free, .info = rogue_info, .plan = NULL,
	.connect = rogue_connect,
};
#else
static int rogue_info(void *instance, struct percept_encoder_info *info)
{
	info->modalities = PERCEPT_IMAGE;
	info->dim = DIM;
	info->identity = "rogue";
	return 0;
}

static int rogue_encode(struct percept_call *call, void *instance, const struct percept_media *media, struct percept_features *f)
{
	rogue_do(media->width);
	f->layout.items = 1;
	f->layout.tokens = ROWS;
	f->layout.dim = DIM;
	f->data = (const float *)percept_alloc(call, ROWS * DIM * sizeof(float));
	return f->data ? 0 : -12;
}

static const struct percept_encoder ops = {
	.size = sizeof(ops), .n_options = 0, .options = NULL, .open = rogue_open, .close = free, .info = rogue_info, .plan = NULL,
	.encode = rogue_encode,
};
#endif

#ifdef __cplusplus
extern "C" {
#endif
PERCEPT_EXPORT extern const struct percept_plugin percept_plugin;
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI,
#ifdef CONNECTOR
	.kind = PERCEPT_CONNECTOR, .reserved = 0, .name = "roguelink",
#else
	.kind = PERCEPT_ENCODER, .reserved = 0, .name = "rogue",
#endif
	.version = "1", .license = "Apache-2.0", .summary = "For tests", .ops = &ops,
};
#ifdef __cplusplus
}
#endif
