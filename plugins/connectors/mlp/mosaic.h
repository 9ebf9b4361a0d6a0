/* mosaic.h - the order in which the rows of a picture's pieces enter the prompt, as LLaVA-NeXT has it (Liu 2024). */
#ifndef MLP_MOSAIC_H
#define MLP_MOSAIC_H

#include <cjson/cJSON.h>
#include <percept/plugin.h>

#include "sdk/nn/error.h"

/* Piece after piece; the tiles' rows side by side, as in the picture; and without those that are padding, each of the mosaic's
 * rows followed by a newline row. */
enum mosaic_merge { MOSAIC_FLAT, MOSAIC_SPATIAL, MOSAIC_UNPAD, MOSAIC_UNPAD_DOWN /* LLaVA's own code rounds down */ };

/* In an order: the newline's row, which is no row of the features. */
#define MOSAIC_NEWLINE UINT32_MAX

/* What config.json says, or else whether the files have a newline. -1 and *error: a merge that is not known. [any] */
int mosaic_named(const cJSON *config, int has_newline, struct nn_error *error);
/* Writes to `order` (NULL: none) which row of the features each row of the prompt is, or MOSAIC_NEWLINE. Returns how many, or 0:
 * the layout's grid is not made of its pieces, or is out of range. [any] */
uint32_t mosaic_order(enum mosaic_merge merge, const struct percept_layout *layout, uint32_t *order);

#endif
