/* The smallest program that uses its C library: arguments, environment, streams, exit status. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void at_exit(void)
{
    puts("at exit");
}

int main(int argc, char **argv, char **environment)
{
    atexit(at_exit);
    for (int i = 1; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    int count = 0;
    while (environment[count])
        count++;
    printf("%d variables, HOME=%s\n", count, getenv("HOME"));
    printf("%.6f %.6f %s\n", sqrt(2), sin(1), strchr("hello", 'l'));
    char line[64];
    while (fgets(line, sizeof line, stdin))
        fprintf(stderr, "line: %s", line);
    FILE *file = fopen("/tmp/hello", "w+");
    if (!file || fprintf(file, "%d\n", 42) != 3 || fseek(file, 0, SEEK_SET) ||
        !fgets(line, sizeof line, file))
        return 1;
    printf("from the file: %s", line);
    return fclose(file) ? 1 : argc - 1;
}
