/* Runs the floor as a child process and reads its answers. */
#define _GNU_SOURCE
#include "floor_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* In a process group of its own, so that Ctrl-C reaches only us: we end it by closing its input. */
static int spawn_floor(pid_t *pid, const char *path, int input, int output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    char *arguments[] = {(char *)path, NULL};
    int error = posix_spawn(pid, path, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static bool connect_floor(struct floor_process *process, const char *path)
{
    int commands[2], answers[2];
    if (pipe2(commands, O_CLOEXEC) != 0)
        return false;
    if (pipe2(answers, O_CLOEXEC) != 0) {
        close_pair(commands);
        return false;
    }
    int error = spawn_floor(&process->pid, path, commands[0], answers[1]);
    if (error != 0) {
        close_pair(commands);
        close_pair(answers);
        process->pid = 0;
        errno = error;
        return false;
    }
    close(commands[0]);
    close(answers[1]);
    process->commands = fdopen(commands[1], "w");
    process->answers = fdopen(answers[0], "r");
    return process->commands && process->answers;
}

static json_t *read_answer(struct floor_process *process)
{
    char *line = NULL;
    size_t capacity = 0;
    json_t *answer = NULL;
    if (getline(&line, &capacity, process->answers) > 0)
        answer = json_loads(line, 0, NULL);
    free(line);
    const char *complaint = json_string_value(json_object_get(answer, "error"));
    if (!json_is_object(answer) || complaint) {
        fprintf(stderr, "bench: the floor gave no answer: %s\n",
                complaint ? complaint : "it ended");
        json_decref(answer);
        return NULL;
    }
    return answer;
}

static json_t *ask(struct floor_process *process, const char *command)
{
    if (fputs(command, process->commands) < 0 || fflush(process->commands) != 0) {
        fprintf(stderr, "bench: the floor does not listen: %s\n", strerror(errno));
        return NULL;
    }
    return read_answer(process);
}

bool floor_start(struct floor_process *process, const char *path)
{
    *process = (struct floor_process){0};
    if (!connect_floor(process, path)) {
        fprintf(stderr, "bench: cannot run the floor %s: %s\n", path, strerror(errno));
        return false;
    }
    process->info = ask(process, "info\n");
    if (!process->info)
        return false;
    process->cold_pages_min =
        (size_t)json_integer_value(json_object_get(process->info, "min_cold_pages"));
    process->cold_pages_max =
        (size_t)json_integer_value(json_object_get(process->info, "max_cold_pages"));
    return true;
}

static void add_counts(struct tally *tally, const json_t *answer, double operations)
{
    tally->operations += operations;
    tally->exits += json_number_value(json_object_get(answer, "exits")) * operations;
    tally->ioctls += json_number_value(json_object_get(answer, "ioctls")) * operations;
    tally->pages_copied += json_number_value(json_object_get(answer, "pages_copied")) * operations;
}

bool floor_batch(struct floor_process *process, const char *operation, size_t warmup, size_t count,
                 size_t cold_pages, struct tally *tally)
{
    char command[96];
    snprintf(command, sizeof command, "%s %zu %zu\n", operation, warmup + count, cold_pages);
    json_t *answer = ask(process, command);
    const json_t *samples = json_object_get(answer, "samples_ns");
    for (size_t i = warmup; i < json_array_size(samples); i++)
        tally_add(tally, (uint64_t)json_integer_value(json_array_get(samples, i)));
    if (answer)
        add_counts(tally, answer, (double)(warmup + count));
    json_decref(answer);
    return answer != NULL;
}

void floor_stop(struct floor_process *process)
{
    if (process->commands)
        fclose(process->commands);
    if (process->answers)
        fclose(process->answers);
    if (process->pid > 0)
        waitpid(process->pid, NULL, 0);
    json_decref(process->info);
    *process = (struct floor_process){0};
}
