/* method-cancel.c - response.cancel. */
#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

static void cancel_on_told(void *arg, const char *status)
{
	cJSON *result = cJSON_CreateObject();

	cJSON_AddStringToObject(result, "status", status);
	request_answer(arg, result);
}

/* A request that is not known is one that is over: ids of answered requests are not kept. */
void method_response_cancel(struct request *request, struct wire_frame *frame)
{
	const cJSON *params = wire_frame_params(frame);
	struct request *found = request_find(request->connection, wire_member(params, "request_id"),
					     wire_param_string(params, "response_id", NULL));

	if (found)
		job_cancel(found->job, cancel_on_told, request);
	else
		cancel_on_told(request, "already_done");
}
