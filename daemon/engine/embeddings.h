/* embeddings.h - what one media item becomes in the prompt: a checked copy of a connector's answer. */
#ifndef ENGINE_EMBEDDINGS_H
#define ENGINE_EMBEDDINGS_H

#include <stddef.h>

#include "daemon/engine/assembly.h"

/* One allocation behind `data`, one behind each other pointer; all owned, the memory by the connector that forgets it. */
struct embeddings {
	uint32_t n, dim, n_pieces;
	float *data; /* [n][dim]; NULL where only the counts are known */
	struct percept_piece *pieces; /* at least one if n > 0 */
	int32_t *positions; /* [n][4] or NULL */
	uint32_t position_span;
	char *told;       /* an expert's text as it enters the prompt, behind the rows; NULL: there was none */
	float confidence; /* of that text, 0..1; negative: unknown */
	void *memory; /* what a connector that fuses features remembers of the item; NULL: it is none, or this is planned only */
	const struct lane *lane; /* of the memory */
	size_t bytes; /* of all together */
};
void embeddings_fini(struct embeddings *embeddings);
/* Checks `answer` of the lane's connector and copies it. `planned`: data may be NULL. 0, or *error (-32010, -32603). [worker] */
int embeddings_copy(const struct call *call, const struct lane *lane, const struct percept_embeddings *answer, int planned,
		    struct embeddings *copy, struct wire_error *error);
/* The encoder's features: layout, pointers and sums within reason. 0, or -32010. `planned`: only the layout. [worker] */
int embeddings_check_layout(const struct call *call, const struct lane *lane, const struct percept_layout *layout,
			    struct wire_error *error);
int embeddings_check_features(const struct call *call, const struct lane *lane, const struct percept_features *features,
			      struct wire_error *error);

#endif
