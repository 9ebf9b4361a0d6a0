/* input-send.c - an input as a request: its files numbered, its bytes in a tail. */
#include "sdk/client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where each file of an input is in the request. */
struct send_plan {
	double *number;  /* its index among the descriptors, or its offset in the tail */
	int *fds;
	size_t n_fds;
	uint8_t *tail;
	size_t tail_bytes;
};

static void send_plan_fini(struct send_plan *plan)
{
	free(plan->number);
	free(plan->fds);
	free(plan->tail);
}

static int send_plan_init(struct send_plan *plan, const struct percept_input *in)
{
	memset(plan, 0, sizeof *plan);
	size_t total = 0, n = in->n_files ? in->n_files : 1;
	for (size_t i = 0; i < in->n_files; i++)
		if (in->files[i].fd < 0 && __builtin_add_overflow(total, in->files[i].n, &total))
			return -ENOMEM;
	plan->number = calloc(n, sizeof *plan->number);
	plan->fds = calloc(n, sizeof *plan->fds);
	plan->tail = malloc(total ? total : 1);
	if (!plan->number || !plan->fds || !plan->tail) {
		send_plan_fini(plan);
		return -ENOMEM;
	}
	for (size_t i = 0; i < in->n_files; i++) {
		const struct client_file *file = &in->files[i];
		if (file->fd >= 0) {
			plan->number[i] = (double)plan->n_fds;
			plan->fds[plan->n_fds++] = file->fd;
		} else {
			plan->number[i] = (double)plan->tail_bytes;
			memcpy(plan->tail + plan->tail_bytes, file->bytes, file->n);
			plan->tail_bytes += file->n;
		}
	}
	return 0;
}

/* {"file":k} to {"fd":n} or {"bin":[offset,length]}. */
static int send_refer(cJSON *part, const struct percept_input *in, const struct send_plan *plan)
{
	cJSON *member = cJSON_GetObjectItemCaseSensitive(part, "file");
	if (!member)
		return 0;
	size_t k = (size_t)member->valuedouble;
	cJSON_Delete(cJSON_DetachItemViaPointer(part, member));
	if (in->files[k].fd >= 0)
		return cJSON_AddNumberToObject(part, "fd", plan->number[k]) ? 0 : -ENOMEM;
	cJSON *range = cJSON_AddArrayToObject(part, "bin");
	if (!range || !cJSON_AddItemToArray(range, cJSON_CreateNumber(plan->number[k])) ||
	    !cJSON_AddItemToArray(range, cJSON_CreateNumber((double)in->files[k].n)))
		return -ENOMEM;
	return 0;
}

static char *send_json(const struct percept_input *in, const struct send_plan *plan)
{
	char *text = NULL;
	int ok = 1;
	cJSON *message, *part;
	cJSON *params = cJSON_Duplicate(in->options, 1);
	cJSON *messages = cJSON_Duplicate(in->messages, 1);
	if (!params || !messages || !cJSON_AddItemToObject(params, "input", messages)) {
		cJSON_Delete(messages);
		cJSON_Delete(params);
		return NULL;
	}
	cJSON_ArrayForEach(message, messages)
		cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(message, "content"))
			if (send_refer(part, in, plan) < 0)
				ok = 0;
	if (ok)
		text = cJSON_PrintUnformatted(params);
	cJSON_Delete(params);
	return text;
}

char *percept_input_json(const struct percept_input *in)
{
	struct send_plan plan;
	if (send_plan_init(&plan, in) < 0)
		return NULL;
	char *text = send_json(in, &plan);
	send_plan_fini(&plan);
	return text;
}

int percept_call_input(struct percept_connection *c, const char *method, const struct percept_input *in,
		       const struct percept_events *events, struct percept_answer *answer, struct percept_error *error)
{
	struct send_plan plan;
	char *text = NULL;
	if (send_plan_init(&plan, in) == 0) {
		text = send_json(in, &plan);
		if (!text)
			send_plan_fini(&plan);
	}
	if (!text)
		return client_fail(error, -ENOMEM, "Memory is out.");
	struct percept_request request = {.size = sizeof request, .method = method, .params = text};
	request.tail = plan.tail;
	request.tail_bytes = plan.tail_bytes;
	request.fds = plan.fds;
	request.n_fds = plan.n_fds;
	int r = percept_call(c, &request, events, answer, error);
	free(text);
	send_plan_fini(&plan);
	return r;
}
