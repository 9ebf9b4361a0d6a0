/* assembly.h - the parts of one assistant, opened and fitting together. */
#ifndef ENGINE_ASSEMBLY_H
#define ENGINE_ASSEMBLY_H

#include <cjson/cJSON.h>

#include "daemon/engine/call.h"
#include "daemon/engine/loader.h"
#include "daemon/engine/options.h"
#include "daemon/engine/text.h"

#define ASSEMBLY_PARTS 16

/* One opened plugin. */
struct part {
	char *role, *model; /* model may be NULL */
	char *template;     /* of an expert: what enters the prompt, its text in each place of "{text}"; else NULL */
	struct plugin plugin;
	struct options options;
	void *instance;
};

/* How one kind of media gets into the prompt: through encoder and connector, as an expert's text, or both; neither: it cannot.
 * Without connector and expert only embeddings are made of it. */
struct lane {
	const struct part *encoder, *connector, *expert;
	const struct percept_encoder *encoder_ops;
	const struct percept_connector *connector_ops; /* NULL: the connector fuses features */
	const struct percept_fusion *fusion_ops;       /* else NULL */
	const struct percept_expert *expert_ops;
	struct percept_encoder_info encoder_info;
	int takes_text; /* the encoder puts text beside its pooled vectors */
	struct percept_connector_info connector_info; /* of either kind */
	struct percept_fusion_info fusion_info;
	struct percept_expert_info expert_info;
};

/* Read-only once open. */
struct assembly {
	char *name, *model, *instructions; /* model, instructions may be NULL */
	struct part *parts;
	size_t n_parts;
	struct lane lanes[TEXT_MEDIA]; /* by text_media_names */
	const struct part *decoder; /* NULL: encoders alone, for embeddings */
	const struct percept_decoder *ops;
	struct percept_decoder_info info;
	uint32_t max_sequences;
	uint32_t context; /* rows of one sequence */
	const struct lane *fusion; /* the one whose connector works inside the decoder's layers; NULL: none does */
	int leads;        /* media stand in front of the token that texts begin with, and that in front of all text */
	int prefix;       /* and a prompt sees itself both ways */
	struct text text;
	struct pulses *pulses; /* where calls are watched; borrowed, NULL: nowhere */
};

/* Opens the resolved assistant's parts and checks that they fit. 0, or *error and nothing left behind. `program`: for
 * loader_find. [worker] */
int assembly_open(struct assembly *assembly, const cJSON *resolved, const char *program, struct call *call,
		  struct wire_error *error);
void assembly_close(struct assembly *assembly);
/* The result of engine.open, but for memory_bytes. */
cJSON *assembly_describe(const struct assembly *assembly);
/* The lane whose encoder puts text into its own space, NULL if there is none. */
const struct lane *assembly_text_lane(const struct assembly *assembly);
/* Bytes of all parts' weights. */
uint64_t assembly_weight_bytes(const struct assembly *assembly);

/* Loads the plugin called `name` for a part. 0 or *error. [worker] */
int assembly_load_plugin(struct part *part, const char *name, const cJSON *resolved, const char *program, struct wire_error *error);
/* Opens the part of `row` {role, plugin, model, options} as assembly->parts[n_parts++], and asks what it is. 0 or *error. [worker] */
int assembly_open_part(struct assembly *assembly, cJSON *row, const cJSON *resolved, const char *program, struct call *call,
		       struct wire_error *error);

/* assembly-check.c: 0, or *error with one sentence that names both parts. */
int assembly_check(const struct assembly *assembly, struct wire_error *error);
/* What an opened part says of itself: filled in and within reason. 0, or -32010. */
int assembly_learn(struct assembly *assembly, const struct part *part, struct call *call, struct wire_error *error);

#endif
