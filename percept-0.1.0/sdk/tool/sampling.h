/* sampling.h - the options of commands that ask for an answer. */
#ifndef TOOL_SAMPLING_H
#define TOOL_SAMPLING_H

#include "sdk/tool/tool.h"

struct sampling {
	struct tool_number max_tokens, temperature, seed, top_k, top_p, min_p, typical_p, repeat, presence, frequency, deadline;
};

/* Rows for a table of options whose values hold `member`, a struct sampling of the struct `type`. */
#define SAMPLING_OPTIONS(type, member)                                                                                        \
	{'n', "max-tokens", TOOL_WHOLE, offsetof(type, member.max_tokens), 1, 2147483647, "N",                                \
	 "at most N tokens of answer", "max_output_tokens"},                                                                  \
	{'t', "temperature", TOOL_NUMBER, offsetof(type, member.temperature), 0, 10, "T",                                     \
	 "0: always the likeliest word", "temperature"},                                                                      \
	{0, "seed", TOOL_WHOLE, offsetof(type, member.seed), 0, 9007199254740991, "N", "of the random numbers", "seed"},      \
	{0, "top-k", TOOL_WHOLE, offsetof(type, member.top_k), 0, 1048576, "K", "among the K likeliest (0: all)", "top_k"},   \
	{0, "top-p", TOOL_NUMBER, offsetof(type, member.top_p), 0, 1, "P", "among the likeliest that make up P", "top_p"},    \
	{0, "min-p", TOOL_NUMBER, offsetof(type, member.min_p), 0, 1, "P", "at least P of the likeliest", "min_p"},           \
	{0, "typical-p", TOOL_NUMBER, offsetof(type, member.typical_p), 0, 1, "P", "locally typical", "typical_p"},           \
	{0, "repeat-penalty", TOOL_NUMBER, offsetof(type, member.repeat), 0.1, 10, "X", "1: none", "repeat_penalty"},         \
	{0, "presence-penalty", TOOL_NUMBER, offsetof(type, member.presence), -10, 10, "X", "0: none", "presence_penalty"},   \
	{0, "frequency-penalty", TOOL_NUMBER, offsetof(type, member.frequency), -10, 10, "X", "0: none", "frequency_penalty"}, \
	{0, "deadline", TOOL_WHOLE, offsetof(type, member.deadline), 0, 86400000, "MS", "give up after MS milliseconds",      \
	 "deadline_ms"}

/* Sets a member of params to a string. 0, or an exit code. */
int tool_set_text(const struct tool *tool, struct percept_input *input, const char *name, const char *text);

#endif
