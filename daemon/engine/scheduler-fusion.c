/* scheduler-fusion.c - items that the decoder's layers attend: bound to a sequence as long as it is stepped, and the hooks of a batch. */
#include "daemon/engine/scheduler-impl.h"

/* Whether the item's memory is the fusion connector's. */
static int fusion_has(const struct assembly *assembly, const struct item *item)
{
	return assembly->fusion && item->number && item->entry && item->entry->embeddings.memory;
}

/* Between batches, whose call is cancelled once all of a batch's streams are: this one never is. */
static int fusion_call(struct scheduler *scheduler, uint32_t sequence, uint32_t media, void *memory)
{
	const struct lane *lane = scheduler->assembly->fusion;
	struct call *call = &scheduler->call;
	int (*const stopped)(void *arg) = call->stopped;

	call_reset(call, lane->connector->plugin.api->name);
	call->stopped = NULL;
	const int r = lane->fusion_ops->bind(&call->base, lane->connector->instance, sequence, media, memory);

	call->stopped = stopped;
	return r;
}

/* The first `n` items. */
static void fusion_release(struct scheduler *scheduler, struct stream *stream, size_t n)
{
	const struct request *request = stream->request;

	for (size_t i = 0; i < n; i++)
		if (fusion_has(scheduler->assembly, &request->items[i]))
			fusion_call(scheduler, stream->sequence, request->items[i].number, NULL);
	stream->bound = 0;
}

int fusion_bind(struct scheduler *scheduler, struct stream *stream)
{
	struct request *request = stream->request;

	for (size_t i = 0; i < request->n_items; i++) {
		const struct item *item = &request->items[i];

		if (!fusion_has(scheduler->assembly, item))
			continue;
		const int r = fusion_call(scheduler, stream->sequence, item->number, item->entry->embeddings.memory);

		if (r) {
			if (!call_failed(&scheduler->call, r, "bind a media item", &request->error))
				call_broken(&scheduler->call, &request->error, "bind() said it was cancelled, but it was not");
			fusion_release(scheduler, stream, i);
			return request->error.code;
		}
		stream->bound = 1;
	}
	return 0;
}

void fusion_unbind(struct scheduler *scheduler, struct stream *stream)
{
	if (stream->bound)
		fusion_release(scheduler, stream, stream->request->n_items);
}

int fusion_concerns(const struct scheduler *scheduler, uint32_t first, uint32_t n)
{
	const struct list *head = &scheduler->streams;

	for (const struct list *node = head->next; node != head; node = node->next) {
		const struct stream *stream = list_entry(node, struct stream, node);

		if (stream->batch && stream->bound && stream->first >= first && stream->first < first + n)
			return 1;
	}
	return 0;
}

int fusion_hooks(struct scheduler *scheduler, struct percept_hooks *hooks)
{
	const struct lane *lane = scheduler->assembly->fusion;

	*hooks = (struct percept_hooks){.size = sizeof(*hooks)};
	call_name(&scheduler->call, lane->connector->plugin.api->name);
	const int r = lane->fusion_ops->hooks(&scheduler->call.base, lane->connector->instance, hooks);

	if (r == 0)
		call_name(&scheduler->call, scheduler->assembly->decoder->plugin.api->name);
	return r;
}
