/* Serves calls through /dev/hyperlight with two threads: one only reads, the other only replies, later.
 * A third one counts all the time. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned waiting;
static volatile unsigned long spins;

static void *read_calls(void *unused)
{
    static char line[4096];
    int device = open("/dev/hyperlight", O_RDONLY);

    (void)unused;
    for (;;) {
        /* What a call begins with; the rest comes with the next reads. */
        ssize_t size = read(device, line, 7);

        if (size <= 0)
            exit(3);
        if (strncmp(line, "{\"call\"", 7) != 0)
            exit(4);
        while (line[size - 1] != '\n')
            size = read(device, line, sizeof line);
        pthread_mutex_lock(&lock);
        waiting++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *spin(void *unused)
{
    (void)unused;
    for (;;)
        spins++;
    return NULL;
}

/* Whether the device can be read without waiting. */
static int readable(int device)
{
    struct pollfd poll_one = {.fd = device, .events = POLLIN};

    return poll(&poll_one, 1, 0) == 1 && poll_one.revents == POLLIN;
}

int main(void)
{
    pthread_t thread;
    int device = open("/dev/hyperlight", O_RDWR);

    if (device < 0 || pthread_create(&thread, NULL, read_calls, NULL) != 0 ||
        pthread_create(&thread, NULL, spin, NULL) != 0)
        return 2;
    for (;;) {
        char reply[128];
        unsigned long before = spins;
        int size;

        pthread_mutex_lock(&lock);
        while (!waiting)
            pthread_cond_wait(&changed, &lock);
        waiting--;
        pthread_mutex_unlock(&lock);
        usleep(30000);
        size = snprintf(reply, sizeof reply, "{\"result\":[%d,%s]}\n", readable(device),
                        spins != before ? "true" : "false");
        if (write(device, reply, (size_t)size) != size)
            return 5;
    }
}
