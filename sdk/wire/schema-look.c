/* schema-look.c - image.look: what an encoder saw, and where an answer's tokens attended. */
#include "sdk/wire/schema-tables.h"

static const struct wire_field look_params[] = {
	{.name = "assistant", .type = WIRE_STRING, .fallback = "\"default\""},
	{.name = "instructions", .type = WIRE_STRING, .help = "system text, behind the assistant's own"},
	{.name = "input", .type = WIRE_ARRAY, .required = 1, .min = 1, .max = WIRE_MAX_INT, .items = &wire_input_item,
	 .help = "pictures; with text they are asked about as well"},
	{.name = "max_output_tokens", .type = WIRE_INT, .min = 1, .max = 4096, .fallback = "64"},
	{.name = "raw", .type = WIRE_BOOL, .fallback = "false", .help = "no chat template"},
	{.name = "deadline_ms", .type = WIRE_INT, .min = 0, .max = 86400000, .fallback = "0", .help = "0: none"},
	{0},
};

static const struct wire_field range_element = {.type = WIRE_INT, .min = 0, .max = WIRE_MAX_INT};
static const struct wire_field number_element = {.type = WIRE_NUMBER};

#define COUNT(n, what) {.name = n, .type = WIRE_INT, .required = 1, .min = 0, .max = WIRE_MAX_INT, .help = what}
#define RANGE(n, what) {.name = n, .type = WIRE_ARRAY, .min = 2, .max = 2, .items = &range_element, .help = what}

static const struct wire_field look_image_members[] = {
	COUNT("width", "of the picture that was sent, in pixels"),
	COUNT("height", NULL),
	COUNT("tiles", "pieces that were encoded"),
	COUNT("tile_width", "in pixels; 0 where the encoder does not show them"),
	COUNT("tile_height", NULL),
	COUNT("grid_rows", "of tiles, the overview not counted"),
	COUNT("grid_cols", NULL),
	COUNT("rows", "of patches in a tile; 0: no grid"),
	COUNT("cols", NULL),
	COUNT("tokens", "of the prompt that the picture took; 0: none, nothing was asked"),
	{.name = "overview", .type = WIRE_STRING, .required = 1, .choices = "none|first|last",
	 .help = "which tile is the whole picture"},
	RANGE("pixels", "[offset, length] in the tail: u8 [tiles][tile_height][tile_width][3], true colours"),
	RANGE("views", "f32 [tiles][4]: left, top, right, bottom of what each tile shows, in pixels of the picture"),
	RANGE("areas", "f32 [tokens][4]: the same of each token; 0 wide where it stands for no place"),
	{.name = "unmapped", .type = WIRE_STRING, .help = "why there are no areas"},
	{0},
};
static const struct wire_field look_image = {.type = WIRE_OBJECT, .items = look_image_members};

static const struct wire_field look_token_members[] = {
	{.name = "id", .type = WIRE_INT, .required = 1},
	{.name = "text", .type = WIRE_STRING, .required = 1},
	{.name = "shares", .type = WIRE_ARRAY, .required = 1, .items = &number_element,
	 .help = "of its attention, picture by picture; 0 to 1"},
	{0},
};
static const struct wire_field look_token = {.type = WIRE_OBJECT, .items = look_token_members};

static const struct wire_field look_result_members[] = {
	{.name = "images", .type = WIRE_ARRAY, .required = 1, .items = &look_image},
	{.name = "output_text", .type = WIRE_STRING, .help = "this and what follows: where something was asked"},
	{.name = "finish_reason", .type = WIRE_STRING, .choices = "stop|length|cancelled|deadline"},
	{.name = "tokens", .type = WIRE_ARRAY, .items = &look_token},
	{.name = "layers", .type = WIRE_INT, .help = "that attention is the mean of"},
	{.name = "heads", .type = WIRE_INT},
	RANGE("attention", "f32 [answer's tokens][all pictures' tokens]"),
	{.name = "unseen", .type = WIRE_STRING, .help = "why there is no attention"},
	{0},
};
static const struct wire_field look_result = {.type = WIRE_OBJECT, .items = look_result_members};

const struct wire_method wire_method_image_look = {
	"image.look", WIRE_USER, 1, look_params, &look_result, NULL, wire_work_errors,
	"Shows what the encoder saw of pictures and, with text, where the answer's tokens attended.",
};
