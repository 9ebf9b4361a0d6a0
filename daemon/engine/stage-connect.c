/* stage-connect.c - features to what enters the prompt, by the lane's connector. */
#include <errno.h>

#include "daemon/base/clock.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

int stage_connect(struct request *request, struct item *item, const struct percept_features *features, struct call *call,
		  struct wire_error *error)
{
	const struct lane *lane = &request->engine->assembly.lanes[item->lane];
	struct percept_embeddings answer = {.size = sizeof(answer)};
	double start = clock_now_ms();

	request->stage = "connect";
	engine_progress(request, "connect", (int)request->next_item, 0, 0);
	/* The features lie in this call's arena: it goes on, under another plugin's name. */
	call_name(call, lane->connector->plugin.api->name);
	int r = lane->connector_ops->connect(&call->base, lane->connector->instance, features,
					     lane->connector_info.needs_text ? request->instruction : NULL, &answer);

	if (r)
		r = call_failed(call, r, "connect the media item's features", error) ? error->code : -ECANCELED;
	else
		r = embeddings_copy(call, lane, &answer, 0, &request->made, error);
	request->times.connect_item = clock_now_ms() - start;
	request->times.connect += request->times.connect_item;
	return r;
}
