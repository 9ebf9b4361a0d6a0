/* example.c - asks about a picture: example PICTURE QUESTION. Build: cc example.c $(pkg-config --cflags --libs percept) */
#include <percept/client.h>
#include <stdio.h>

static void print_delta(void *arg, const char *text, size_t bytes)
{
	fwrite(text, 1, bytes, arg);
	fflush(arg);
}

int main(int argc, char **argv)
{
	struct percept_error error = {0};
	struct percept_events events = {.size = sizeof events, .arg = stdout, .delta = print_delta};
	if (argc != 3) {
		fprintf(stderr, "usage: %s PICTURE QUESTION\n", argv[0]);
		return 2;
	}
	struct percept_connection *daemon = percept_connect(NULL, &error);
	struct percept_input *input = percept_input_new();
	int ok = daemon && input && percept_input_file(input, "image", argv[1], &error) == 0 &&
		 percept_input_text(input, argv[2], &error) == 0 &&
		 percept_call_input(daemon, "response.create", input, &events, NULL, &error) == 0;
	if (ok)
		putchar('\n');
	else
		fprintf(stderr, "%s\n", error.text);
	percept_input_free(input);
	percept_close(daemon);
	percept_error_clear(&error);
	return ok ? 0 : 1;
}
