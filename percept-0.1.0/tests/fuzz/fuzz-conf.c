/* fuzz-conf.c - configuration files: refused with a sentence, or made into resolved assistants. */
#include <stdint.h>
#include <stdlib.h>

#include "daemon/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_error error;
	struct conf *conf = conf_parse("fuzz", (const char *)data, size, false, &error);
	if (conf == NULL && error.text[0] == '\0')
		abort();
	for (size_t i = 0; conf && i < conf->n_assistants; i++) {
		cJSON_Delete(conf_assistant_json(conf, &conf->assistants[i]));
		if (!conf_assistant_same(conf, &conf->assistants[i], conf, &conf->assistants[i]))
			abort();
	}
	conf_free(conf);
	return 0;
}
