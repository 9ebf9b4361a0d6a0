/* stage-encode.c - one media item to features, by the lane's encoder. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/look.h"
#include "daemon/engine/pipeline.h"

static struct lane *stage_lane(struct request *request, const struct item *item)
{
	return &request->engine->assembly.lanes[item->lane];
}

/* The encoder's answer, checked. 0, *error, or -ECANCELED. */
static int stage_encode_item(struct request *request, struct item *item, struct call *call, struct percept_features *features,
			     struct wire_error *error)
{
	const struct lane *lane = stage_lane(request, item);
	struct wire_error ignored = {0};
	double start = clock_now_ms();

	request->stage = "encode";
	engine_progress(request, "encode", (int)request->next_item, 0, 0);
	call_reset(call, lane->encoder->plugin.api->name);
	/* Who looks sees the work itself. */
	if (!call->observe && features_load(&request->engine->features, item->features_key, &call->base, features) == 0 &&
	    embeddings_check_features(call, lane, features, &ignored) == 0) {
		item->cached = 1;
		return 0;
	}
	wire_error_fini(&ignored);
	*features = (struct percept_features){.size = sizeof(*features), .layout.size = sizeof(features->layout)};
	int r = lane->encoder_ops->encode(&call->base, lane->encoder->instance, &item->media, features);

	request->times.encode_item = clock_now_ms() - start;
	request->times.encode += request->times.encode_item;
	if (r)
		return call_failed(call, r, "encode the media item", error) ? error->code : -ECANCELED;
	r = embeddings_check_features(call, lane, features, error);
	if (r == 0)
		features_save(&request->engine->features, item->features_key, features);
	return r;
}

/* What stays of the layout when the encoder's memory is gone. */
static int stage_keep_layout(struct look_image *image, const struct percept_layout *layout, struct wire_error *error)
{
	image->layout = *layout;
	image->layout.times_s = NULL;
	image->layout.item_tokens = NULL;
	/* Pieces without rows are padding behind the picture. */
	while (layout->item_tokens && image->layout.items > 1 && !layout->item_tokens[image->layout.items - 1])
		image->layout.items--;
	return look_views(image) ? wire_error_set(error, WIRE_INTERNAL, "Memory is out.") : 0;
}

int stage_encode(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	struct look_image *seen = request->look ? &request->look->images[item - request->items] : NULL;
	const struct lane *lane = stage_lane(request, item);
	struct percept_features features;
	int r = 0;

	request->times.encode_item = request->times.connect_item = 0;
	if (seen)
		call_observe(call, look_on_encoder, seen);
	if (lane->encoder)
		r = stage_encode_item(request, item, call, &features, error);
	call_observe(call, NULL, NULL);
	if (seen && r == 0)
		r = stage_keep_layout(seen, &features.layout, error);
	if (lane->connector && r == 0 && !request_stopped(request))
		r = stage_connect(request, item, &features, call, error);
	if (lane->expert && r == 0 && !request_stopped(request))
		r = stage_expert(request, item, call, error);
	return r;
}

int stage_features(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	struct percept_features features;
	int r = stage_encode_item(request, item, call, &features, error);

	if (r || request_stopped(request))
		return r;
	const struct percept_layout *layout = &features.layout;
	const float *from = request->pooled ? features.pooled : features.data;
	size_t n = request->pooled ? features.pooled_dim : (size_t)layout->items * layout->tokens * layout->dim;

	if (!from)
		return wire_error_path(error, "pooled", "asks for one vector an item, but encoder %s has none; leave it away",
				       call->plugin);
	request->vector = malloc(n * sizeof(float));
	if (!request->vector)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	memcpy(request->vector, from, n * sizeof(float));
	request->rank = request->pooled ? 1 : 3;
	request->shape[0] = request->pooled ? n : layout->items;
	request->shape[1] = layout->tokens;
	request->shape[2] = layout->dim;
	return 0;
}
