/* digest.c - SHA-256 by libcrypto. */
#include "sdk/nn/digest.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <openssl/evp.h>

struct nn_digest {
	EVP_MD_CTX *ctx;
	int failed;
};

struct nn_digest *nn_digest_new(void)
{
	struct nn_digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx || EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1) {
		nn_digest_free(d);
		return NULL;
	}
	return d;
}

void nn_digest_free(struct nn_digest *d)
{
	if (d)
		EVP_MD_CTX_free(d->ctx);
	free(d);
}

void nn_digest_add(struct nn_digest *d, const void *data, size_t bytes)
{
	if (bytes && EVP_DigestUpdate(d->ctx, data, bytes) != 1)
		d->failed = 1;
}

void nn_digest_field(struct nn_digest *d, const void *data, size_t bytes)
{
	unsigned char length[8];

	for (int i = 0; i < 8; i++)
		length[i] = (unsigned char)((uint64_t)bytes >> (8 * i));
	nn_digest_add(d, length, sizeof(length));
	nn_digest_add(d, data, bytes);
}

int nn_digest_end(struct nn_digest *d, char hex[NN_DIGEST_HEX])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	hex[0] = 0;
	if (d->failed || EVP_DigestFinal_ex(d->ctx, sum, &n) != 1 || n != 32)
		return -EIO;
	for (unsigned int i = 0; i < n; i++) {
		hex[2 * i] = "0123456789abcdef"[sum[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
	}
	hex[64] = 0;
	return 0;
}
