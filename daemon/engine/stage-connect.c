/* stage-connect.c - features to what enters the prompt, or to what the decoder's layers attend, by the lane's connector. */
#include <errno.h>

#include "daemon/base/clock.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

/* What stands in the prompt for an item of a connector that has no embed(). */
static void connect_mark(const struct lane *lane, struct percept_piece *piece, struct percept_embeddings *answer)
{
	answer->dim = lane->connector_info.out_dim;
	if (!lane->fusion_info.marker)
		return;
	*piece = (struct percept_piece){.kind = PERCEPT_PIECE_MARKER, .text = lane->fusion_info.marker};
	answer->n_pieces = 1;
	answer->pieces = piece;
}

int connect_plan(const struct lane *lane, struct call *call, const struct percept_layout *layout, struct percept_piece *piece,
		 struct percept_embeddings *answer)
{
	const struct percept_fusion *fusion = lane->fusion_ops;
	void *instance = lane->connector->instance;

	*answer = (struct percept_embeddings){.size = sizeof(*answer)};
	if (!fusion)
		return lane->connector_ops->plan ? lane->connector_ops->plan(&call->base, instance, layout, answer) : -ENOTSUP;
	if (fusion->embed)
		return PERCEPT_HAS(fusion, plan) && fusion->plan ? fusion->plan(&call->base, instance, layout, answer) : -ENOTSUP;
	connect_mark(lane, piece, answer);
	return 0;
}

/* Feature fusion: the memory, and what stands for the item. 0, *error, or -ECANCELED. */
static int connect_remember(const struct lane *lane, const struct percept_features *features, struct call *call,
			    struct embeddings *made, struct wire_error *error)
{
	const struct percept_fusion *ops = lane->fusion_ops;
	struct percept_embeddings answer = {.size = sizeof(answer)};
	struct percept_piece piece;
	uint64_t bytes = 0;
	void *memory = NULL;
	int r = ops->remember(&call->base, lane->connector->instance, features, &memory, &bytes);

	if (r)
		return call_failed(call, r, "remember the media item", error) ? error->code : -ECANCELED;
	if (!memory)
		return call_broken(call, error, "remember() returned 0 and no memory");
	if (!ops->embed)
		connect_mark(lane, &piece, &answer);
	else if ((r = ops->embed(&call->base, lane->connector->instance, memory, &answer)))
		r = call_failed(call, r, "embed the media item", error) ? error->code : -ECANCELED;
	if (r == 0)
		r = embeddings_copy(call, lane, &answer, 0, made, error);
	if (r) {
		ops->forget(lane->connector->instance, memory);
		return r;
	}
	made->memory = memory;
	made->lane = lane;
	made->bytes += bytes;
	return 0;
}

int stage_connect(struct request *request, struct item *item, const struct percept_features *features, struct call *call,
		  struct wire_error *error)
{
	const struct lane *lane = &request->engine->assembly.lanes[item->lane];
	struct percept_embeddings answer = {.size = sizeof(answer)};
	double start = clock_now_ms();
	int r;

	request->stage = "connect";
	engine_progress(request, "connect", (int)request->next_item, 0, 0);
	/* The features lie in this call's arena: it goes on, under another plugin's name. */
	call_name(call, lane->connector->plugin.api->name);
	if (lane->fusion_ops)
		r = connect_remember(lane, features, call, &request->made, error);
	else if ((r = lane->connector_ops->connect(&call->base, lane->connector->instance, features,
						   lane->connector_info.needs_text ? request->instruction : NULL, &answer)))
		r = call_failed(call, r, "connect the media item's features", error) ? error->code : -ECANCELED;
	else
		r = embeddings_copy(call, lane, &answer, 0, &request->made, error);
	request->times.connect_item = clock_now_ms() - start;
	request->times.connect += request->times.connect_item;
	return r;
}
