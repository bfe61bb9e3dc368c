#ifndef HL_SHIM_SIGNALFD_H
#define HL_SHIM_SIGNALFD_H

/* A signal was queued for a thread or a process: whoever reads signals from descriptors looks again. */
void hl__signalfd_notify(int signal);

#endif
