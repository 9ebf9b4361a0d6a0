/* references.h - the media references of a request, made descriptors (PROTOCOL 6). */
#ifndef SERVE_REFERENCES_H
#define SERVE_REFERENCES_H

#include "daemon/assist/job.h"
#include "daemon/serve/connection.h"

/* Fills job->media from the media parts of job->params (checked) and `frame`, of which it takes descriptors, and makes each
 * part's reference {"fd":k}. 0, or a code in *error. [loop] */
int references_resolve(struct job *job, const struct connection *connection, struct wire_frame *frame,
		       struct wire_error *error);

#endif
