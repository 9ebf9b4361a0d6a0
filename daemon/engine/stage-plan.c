/* stage-plan.c - how many rows of the prompt an item will be, without the work; and the bound for its encoder that a bound on them is. */
#include <errno.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

/* What the lane would make of the item: request->made without data. 0, -ENOTSUP, or *error. */
static int plan_item(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	const struct lane *lane = &request->engine->assembly.lanes[item->lane];
	struct percept_layout layout = {.size = sizeof(layout)};
	struct percept_embeddings answer;
	struct percept_piece piece;

	if (!lane->connector || !lane->encoder_ops->plan)
		return -ENOTSUP;
	call_reset(call, lane->encoder->plugin.api->name);
	int r = lane->encoder_ops->plan(&call->base, lane->encoder->instance, &item->media, &layout);

	if (r)
		return call_failed(call, r, "plan the media item", error);
	r = embeddings_check_layout(call, lane, &layout, error);
	if (r)
		return r;
	/* The layout may lie in the call's arena: it is not reset in between. */
	call_name(call, lane->connector->plugin.api->name);
	r = connect_plan(lane, call, &layout, &piece, &answer);
	if (r == -ENOTSUP)
		return r;
	if (r)
		return call_failed(call, r, "plan the media item", error);
	return embeddings_copy(call, lane, &answer, 1, &request->made, error);
}

int stage_plan(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	/* How many words an expert will say nobody knows. */
	if (request->engine->assembly.lanes[item->lane].expert)
		return -ENOTSUP;
	return plan_item(request, item, call, error);
}

/* The item's rows with that bound for its encoder. 0, -ENOTSUP, or *error: the encoder refuses. */
static int plan_rows(struct request *request, struct item *item, struct call *call, uint32_t bound, uint32_t *rows,
		     struct wire_error *error)
{
	item->media.max_tokens = bound;
	const int r = plan_item(request, item, call, error);

	*rows = request->made.n;
	embeddings_fini(&request->made);
	return r;
}

int stage_bound(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	const uint32_t most = item->media.max_tokens;
	uint32_t below = 0, above = INT32_MAX, best = 0, least, rows;
	int r = plan_rows(request, item, call, 0, &least, error);

	item->media.max_tokens = r == -ENOTSUP ? most : 0;
	if (r || least <= most)
		return r == -ENOTSUP ? 0 : r;
	/* The more an encoder may give the more it gives; too little is refused. */
	while (above - below > 1) {
		const uint32_t bound = below + (above - below) / 2;
		struct wire_error why = { 0 };

		r = plan_rows(request, item, call, bound, &rows, &why);
		wire_error_fini(&why);
		if (r == 0 && rows <= most)
			best = bound;
		else if (r == 0 && rows < least)
			least = rows;
		*(r || rows <= most ? &below : &above) = bound;
	}
	item->media.max_tokens = best;
	return best ? 0 : wire_error_set(error, WIRE_PARAMS, "This item takes at least %u tokens of the prompt, and max_tokens is %u.",
					 least, most);
}
