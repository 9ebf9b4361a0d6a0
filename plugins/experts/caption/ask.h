/* ask.h - another assistant of the daemon as the captioner. */
#ifndef CAPTION_ASK_H
#define CAPTION_ASK_H

#include <percept/plugin.h>
#include <cjson/cJSON.h>

struct ask {
	char *assistant, *prompt, *socket; /* socket NULL: where the daemon of this user is */
	uint32_t most;                     /* tokens of an answer */
};

/* The assistant's answer about the picture. 0 or -errno after percept_fail(). [many] */
int ask_read(struct percept_call *call, const struct ask *ask, const struct percept_media *media, struct percept_expert_result *result);

#endif
