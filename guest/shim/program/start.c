/* Starts the shim and the first program: what the host and the image say of it becomes its path, its
 * arguments and its environment. */
#include "program/start.h"
#include "base/linux.h"
#include "base/text.h"
#include "entry/state.h"
#include "file/file.h"
#include "file/image.h"
#include "host/host.h"
#include "memory/memory.h"
#include "program/load.h"
#include "thread/thread.h"
#include "time/clock.h"

#include <string.h>

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

/* Values that entry.S repeats. */
HL_ABI_ASSERT(HL_ABI_OP_REST == 1 && HL_ABI_OP_EXPORT == 2 && HL_ABI_OP_HOST_CALL == 3 &&
              HL_ABI_OP_LOG == 8);
HL_ABI_ASSERT(HL_ABI_SHIM_IMAGE_MAGIC == 0x494c4831u);

int64_t hl__door_call(uint64_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t arg3);

const struct hl_abi_shim hl__door = {
    .magic = HL_ABI_SHIM_MAGIC,
    .version_min = HL_ABI_VERSION_MIN,
    .version_max = HL_ABI_VERSION_MAX,
    .call = hl__door_call,
    .request = &((const struct hl_abi_mailbox *)HL_ABI_MAILBOX_ADDRESS)->request,
    .wake = (const struct hl_abi_wake *)HL_ABI_WAKE_ADDRESS,
};

static _Noreturn void refuse_memory(void)
{
    hl__host_refuse(HL_ABI_REFUSAL_TOO_LARGE, "the runtime needs more memory to start");
}

/* NUL-terminated strings one behind the other. */
struct texts {
    const char *next, *end;
};

/* NULL behind the last one. */
static const char *texts_next(struct texts *texts)
{
    const char *text = texts->next;

    for (const char *at = text; at < texts->end; at++)
        if (!*at) {
            texts->next = at + 1;
            return text;
        }
    return NULL;
}

enum head_text { HEAD_ARGUMENTS, HEAD_ENVIRONMENT, HEAD_DIRECTORY };

/* What the image says of how to run it; nothing without an image. */
static struct texts head_texts(enum head_text which)
{
    const struct hl_image_head *head = (const struct hl_image_head *)hl__root_image.bytes;
    const struct hl_image_range *range;
    const char *bytes;

    if (!hl__root_image.size)
        return (struct texts){NULL, NULL};
    range = which == HEAD_ARGUMENTS     ? &head->arguments
            : which == HEAD_ENVIRONMENT ? &head->environment
                                        : &head->directory;
    bytes = hl__image_at(&hl__root_image, range, 1, 1);
    return (struct texts){bytes, bytes ? bytes + range->count : NULL};
}

static struct texts boot_texts(void)
{
    return (struct texts){HL__BOOT->strings, HL__BOOT->strings + HL__BOOT->strings_size};
}

static void take_text(struct hl__strings *strings, const char *text)
{
    if (hl__strings_add(strings, text) < 0)
        hl__host_refuse(HL_ABI_REFUSAL_TOO_LARGE,
                        "arguments and environment do not fit into memory");
}

/* At most `limit` of them. Returns how many. */
static uint32_t take_texts(struct hl__strings *strings, struct texts *texts, uint32_t limit)
{
    uint32_t count = 0;
    const char *text;

    while (count < limit && (text = texts_next(texts))) {
        take_text(strings, text);
        count++;
    }
    return count;
}

/* Bytes of a variable's name with the '=' behind it. */
static uint64_t name_size(const char *variable)
{
    uint64_t size = 0;

    while (variable[size] && variable[size] != '=')
        size++;
    return size + !!variable[size];
}

static bool has_name(const char *variable, const char *like)
{
    uint64_t size = name_size(like);

    return name_size(variable) == size && !memcmp(variable, like, size);
}

/* One of the first `count` texts that has the name of `variable`; NULL if none has. */
static const char *find_variable(struct texts texts, uint32_t count, const char *variable)
{
    const char *text;

    while (count-- && (text = texts_next(&texts)))
        if (has_name(text, variable))
            return text;
    return NULL;
}

/* The image's variables, those that the host gives in their places, and the host's others. */
static void take_environment(struct hl__strings *strings, struct texts *given, uint32_t count)
{
    const struct texts first = *given, image = head_texts(HEAD_ENVIRONMENT);
    struct texts head = image;
    const char *text, *other;

    while ((text = texts_next(&head))) {
        other = find_variable(first, count, text);
        take_text(strings, other ? other : text);
        strings->environment_count++;
    }
    while (count-- && (text = texts_next(given)))
        if (!find_variable(image, UINT32_MAX, text)) {
            take_text(strings, text);
            strings->environment_count++;
        }
}

/* What the host gives goes before what the image says. */
static void take_strings(struct hl__strings *strings)
{
    struct texts texts = boot_texts(), head;

    strings->argument_count = take_texts(strings, &texts, HL__BOOT->argument_count);
    if (!strings->argument_count) {
        head = head_texts(HEAD_ARGUMENTS);
        strings->argument_count = take_texts(strings, &head, UINT32_MAX);
    }
    take_environment(strings, &texts, HL__BOOT->environment_count);
}

/* The text behind argv and environment in the boot block with number `index`. */
static const char *boot_text(uint32_t index)
{
    struct texts texts = boot_texts();

    for (uint32_t i = 0; i < HL__BOOT->argument_count + HL__BOOT->environment_count + index; i++)
        texts_next(&texts);
    return texts_next(&texts);
}

static const char *variable(const struct hl__strings *strings, const char *name)
{
    struct texts texts = {strings->bytes, strings->bytes + strings->size};
    uint64_t size = hl__string_length(name);
    const char *text;

    for (uint32_t i = 0; (text = texts_next(&texts)); i++)
        if (i >= strings->argument_count && hl__string_length(text) >= size &&
            !memcmp(text, name, size))
            return text + size;
    return NULL;
}

static bool has_slash(const char *path)
{
    while (*path && *path != '/')
        path++;
    return *path;
}

/* Directory and name with a slash between them, or false if that is too long. */
static bool join(char *path, const char *directory, uint64_t directory_size, const char *name)
{
    uint64_t name_size = hl__string_length(name);

    if (directory_size + 1 + name_size >= HL__ELF_PATH_MAX)
        return false;
    memcpy(path, directory, directory_size);
    path[directory_size] = '/';
    memcpy(path + directory_size + 1, name, name_size + 1);
    return true;
}

static bool is_program(const char *path)
{
    struct hl__inode *file;
    bool good;

    if (hl__path_find(path, true, &file) < 0)
        return false;
    good = (file->mode & S_IFMT) == S_IFREG && file->mode & 0111;
    hl__inode_unref(file);
    return good;
}

/* A name without a slash is looked for along PATH. */
static const char *search(const struct hl__strings *strings, const char *name, char *path)
{
    const char *directory = variable(strings, "PATH=");

    if (has_slash(name))
        return name;
    for (directory = directory ? directory : PATH_DEFAULT; *directory;) {
        uint64_t size = 0;

        while (directory[size] && directory[size] != ':')
            size++;
        if (join(path, size ? directory : ".", size ? size : 1, name) && is_program(path))
            return path;
        directory += size + (directory[size] == ':');
    }
    return name;
}

/* The path of the program in the image. */
static const char *find_program(const struct hl__strings *strings, char *path)
{
    struct texts head = head_texts(HEAD_ARGUMENTS);
    const char *name = HL__BOOT->path_size ? boot_text(0) : texts_next(&head);
    if (!name && strings->argument_count)
        name = strings->bytes;
    if (!name)
        hl__host_refuse(HL_ABI_REFUSAL_INVALID,
                        "the image does not say what to run; name a program");
    return search(strings, name, path);
}

static void init(void)
{
    const struct hl_abi_boot *boot = HL__BOOT;

    if (hl__host_hello() < 0 || boot->magic != HL_ABI_BOOT_MAGIC)
        hl__host_refuse(HL_ABI_REFUSAL_INVALID, "the host speaks another version of the contract");
    hl__clock_init();
    if (!hl__memory_init(HL__PAGES(HL__PAGE_UP(boot->ram_free_offset)), HL__PAGES(boot->ram_size),
                         HL_ABI_HEAP_ADDRESS))
        refuse_memory();
    hl__threads_init();
    hl__process()->descriptors = hl__descriptors_new();
    if (!hl__process()->descriptors || !hl__streams_init(hl__process()->descriptors) ||
        !hl__tree_init())
        refuse_memory();
}

/* The working directory that the host or the image names; the root directory if that is none. */
static void set_directory(void)
{
    struct texts head = head_texts(HEAD_DIRECTORY);
    const char *path =
        HL__BOOT->directory_size ? boot_text(HL__BOOT->path_size ? 1 : 0) : texts_next(&head);
    struct hl__inode *directory;

    if (!path || !*path || hl__path_find(path, true, &directory) < 0)
        return;
    if ((directory->mode & S_IFMT) != S_IFDIR) {
        hl__inode_unref(directory);
        return;
    }
    hl__inode_unref(hl__process()->directory);
    hl__process()->directory = directory;
}

void hl__start_program(void)
{
    static struct hl__program program;
    static char path[HL__ELF_PATH_MAX], text[HL_ABI_REFUSAL_TEXT_MAX];
    const char *name = HL__BOOT->strings;
    enum hl_abi_refusal refusal;

    init();
    set_directory();
    take_strings(&program.strings);
    if (HL__BOOT->program_size) {
        program.file = hl__memory.space->executable;
        hl__inode_ref(program.file);
    } else {
        name = find_program(&program.strings, path);
    }
    if (hl__program_open(&program, name, &refusal, text) < 0)
        hl__host_refuse(refusal, text);
    hl__program_load(&program, &hl__hot.syscall);
    hl__program_close(&program);
}
