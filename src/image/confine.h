/* What the helper gives up before it looks at its input. */
#ifndef HL_IMAGE_CONFINE_H
#define HL_IMAGE_CONFINE_H

#include "image/protocol.h"

hl_status hl__confine(const struct hl__job *job, hl_error *err);

#endif
