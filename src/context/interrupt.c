/* The public face of a control: the handle by which other threads stop what a sandbox runs. */
#include "context/control.h"

hl_status hl_sandbox_interrupt(hl_interrupt_handle *handle)
{
    bool stopped = handle && hl__control_cancel(handle, HL_INTERRUPTED);
    return stopped ? HL_OK : HL_INVALID_ARGUMENT;
}

void hl_interrupt_handle_free(hl_interrupt_handle *handle)
{
    hl__control_unref(handle);
}
