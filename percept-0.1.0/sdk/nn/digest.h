/* digest.h - SHA-256, for names of content. */
#ifndef NN_DIGEST_H
#define NN_DIGEST_H

#include <stddef.h>

#define NN_DIGEST_HEX 65 /* 64 digits and a NUL */

struct nn_digest;

/* NULL when memory is out. [any] */
struct nn_digest *nn_digest_new(void);
void nn_digest_free(struct nn_digest *digest);
/* Adds bytes. Failures are kept and told by nn_digest_end. */
void nn_digest_add(struct nn_digest *digest, const void *data, size_t bytes);
/* Adds a length and then the bytes, so that neighbouring fields cannot run into each other. */
void nn_digest_field(struct nn_digest *digest, const void *data, size_t bytes);
/* The digest in hex; nothing may be added after it. 0, or -EIO if the library failed. */
int nn_digest_end(struct nn_digest *digest, char hex[NN_DIGEST_HEX]);

#endif
