/* methods.c - the methods of the protocol: one line each. */
#include "sdk/wire/schema-tables.h"

#include <string.h>

/* Names that later versions will serve; reserved so that they never change meaning. */
#define RESERVED(n) (&(const struct wire_method){.name = n, .stage = 2})

const struct wire_method *const wire_methods[] = {
	&wire_method_hello,
	&wire_method_ping,
	&wire_method_describe,
	&wire_method_status,
	&wire_method_assistant_list,
	&wire_method_assistant_load,
	&wire_method_assistant_unload,
	&wire_method_plugin_list,
	&wire_method_response_create,
	&wire_method_response_cancel,
	&wire_method_embedding_create,
	&wire_method_token_count,
	&wire_method_image_look,
	&wire_method_config_reload,
	&wire_method_shutdown,
	&wire_method_log_level,
	RESERVED("audio.transcribe"),
	RESERVED("audio.speak"),
	RESERVED("input_audio_buffer.append"),
	RESERVED("input_audio_buffer.commit"),
	RESERVED("input_audio_buffer.clear"),
	RESERVED("session.create"),
	RESERVED("session.get"),
	RESERVED("session.list"),
	RESERVED("session.update"),
	RESERVED("session.delete"),
	RESERVED("session.fork"),
	RESERVED("tool.list"),
	RESERVED("tool.call"),
	RESERVED("tool.approve"),
	RESERVED("events.subscribe"),
	NULL,
};

const struct wire_method *wire_method_named(const char *name)
{
	for (size_t i = 0; wire_methods[i]; i++)
		if (strcmp(wire_methods[i]->name, name) == 0)
			return wire_methods[i];
	return NULL;
}

int wire_method_find(const char *name, const struct wire_method **method, struct wire_error *error)
{
	const struct wire_method *found = wire_method_named(name);
	if (found && found->stage == 1) {
		*method = found;
		return 0;
	}
	if (found)
		return wire_error_set(error, WIRE_NO_METHOD, "%s comes with a later version of Percept.", name);
	return wire_error_set(error, WIRE_NO_METHOD, "There is no method %.100s; describe lists them all.", name);
}
