#include "file/proc.h"

bool hl__proc_init(void)
{
    return true;
}
