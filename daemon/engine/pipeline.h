/* pipeline.h - a request's way from the frame to the scheduler: prompt, then media item by item, then rows. */
#ifndef ENGINE_PIPELINE_H
#define ENGINE_PIPELINE_H

#include "daemon/engine/request.h"

/* Starts a request. It ends in engine_finish(). [loop] */
void pipeline_start(struct request *request);
/* Stops it wherever it is, for `why`. [loop] */
void pipeline_stop(struct request *request, enum request_stop why);
/* Runs `run` on a worker, then `next` on the loop. [loop] */
void pipeline_submit(struct request *request, struct worker *worker, void (*run)(struct worker_job *job),
		     void (*next)(struct request *request));
struct request *pipeline_request(struct worker_job *job);

/* The stages of one media item: each 0, or *error; -ECANCELED is no error. The item's own data only. [worker] */
struct stage {
	const char *name;
	int (*run)(struct request *request, struct item *item, struct call *call, struct wire_error *error);
};
/* Maps the received memfd and names its content: item->media.data, item->key. */
int stage_media(struct request *request, struct item *item, struct call *call, struct wire_error *error);
void stage_media_end(struct item *item);
/* Encodes and connects: request->made. Somebody who looks sees the encoder's work. */
int stage_encode(struct request *request, struct item *item, struct call *call, struct wire_error *error);
/* Features to embeddings: request->made. */
int stage_connect(struct request *request, struct item *item, const struct percept_features *features, struct call *call,
		  struct wire_error *error);
/* What the connector would make of a layout, into *answer, whose one piece may be *piece. 0, -ENOTSUP: it cannot tell without
 * the work, or another -errno of its own. */
int connect_plan(const struct lane *lane, struct call *call, const struct percept_layout *layout, struct percept_piece *piece,
		 struct percept_embeddings *answer);
/* What the lane's expert reads, in its template: request->made.told. */
int stage_expert(struct request *request, struct item *item, struct call *call, struct wire_error *error);
/* Only the counts, where the plugins can tell them without the work: request->made without data; -ENOTSUP if they cannot. */
int stage_plan(struct request *request, struct item *item, struct call *call, struct wire_error *error);
/* A bound on the item's rows in the prompt becomes the one for its encoder, where the plugins can tell without the work. */
int stage_bound(struct request *request, struct item *item, struct call *call, struct wire_error *error);
/* embedding.create in the encoder's space: request->vector. */
int stage_features(struct request *request, struct item *item, struct call *call, struct wire_error *error);

/* Prepares a call for a stage of this request: its pool, its cancellation, its progress. 0 or -ENOMEM. [worker] */
int pipeline_call(struct request *request, struct call *call, struct nn_pool *pool);

/* embed.c: embedding.create behind the media, or at once for text. [loop] */
void embed_finish(struct request *request);
void embed_text(struct request *request);

#endif
