/* schema-tables.h - what the files of the table share. Inside sdk/wire only. */
#ifndef WIRE_SCHEMA_TABLES_H
#define WIRE_SCHEMA_TABLES_H

#include "sdk/wire/schema.h"

#define WIRE_INT32 2147483647.0
#define WIRE_BASE64_MOST 262144

extern const struct wire_field wire_no_members[];
extern const struct wire_field wire_empty_result;
/* A message of `input`; what work on input may fail with. */
extern const struct wire_field wire_input_item;
extern const int wire_work_errors[];

extern const struct wire_method wire_method_hello, wire_method_ping, wire_method_describe, wire_method_status,
	wire_method_assistant_list, wire_method_assistant_load, wire_method_assistant_unload, wire_method_plugin_list,
	wire_method_response_create, wire_method_response_cancel, wire_method_embedding_create, wire_method_token_count,
	wire_method_config_reload, wire_method_shutdown, wire_method_log_level,
	wire_method_image_look;

#endif
