/* router.h - from a frame to the function of its method. */
#ifndef SERVE_ROUTER_H
#define SERVE_ROUTER_H

#include "daemon/serve/request.h"

/* Serves a request whose params were checked: request_answer or request_fail is called once, now or later. What of *frame
 * is taken is taken out of it. [loop] */
typedef void router_method(struct request *request, struct wire_frame *frame);

/* Checks the frame (method, role, limits, params) and runs its method. The frame stays the caller's. [loop] */
void router_run(struct connection *connection, struct wire_frame *frame);

/* method-hello.c */
router_method method_hello, method_ping, method_describe;
/* method-status.c */
router_method method_status;
/* method-assistant.c */
router_method method_assistant_list, method_assistant_load, method_assistant_unload, method_plugin_list;
/* method-response.c */
router_method method_response_create, method_embedding_create, method_token_count, method_image_look;
/* method-cancel.c */
router_method method_response_cancel;
/* method-admin.c */
router_method method_config_reload, method_shutdown, method_log_level;

#endif
