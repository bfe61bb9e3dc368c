/* The console that the tool was started from. */
#ifndef HYPERLIGHT_CLI_WINDOWS_CONSOLE_H
#define HYPERLIGHT_CLI_WINDOWS_CONSOLE_H

/* Gives it back the code page that it had; at the end of the process, however that comes about. */
void console_restore(void);

#endif
