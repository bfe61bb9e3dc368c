/* Images put together by the host application: a list of what to send to the helper. */
#define _GNU_SOURCE
#include "image/host/directory.h"
#include "image/host/output.h"
#include "image/host/prepare.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum node_kind { NODE_DIRECTORY, NODE_FILE, NODE_SYMLINK, NODE_LINK, NODE_COPY };

struct node {
    enum node_kind kind;
    struct stat attributes;
    char *path;
    char *text; /* target, existing name, or source */
    void *data;
};

struct hl_image_builder {
    hl_prepare_options options;
    char *directory, *cache_directory;
    char **arguments, **environment;
    struct node *nodes;
    size_t count, room;
    uint64_t held; /* bytes of contents */
};

static hl_status no_memory(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left to put an image together");
}

/* ---- The builder ---- */

static void strings_free(char **strings)
{
    for (char **string = strings; string && *string; string++)
        free(*string);
    free(strings);
}

static bool strings_copy(char ***out, const char *const *strings)
{
    size_t count = 0;
    if (!strings)
        return true;
    while (strings[count])
        count++;
    *out = calloc(count + 1, sizeof **out);
    for (size_t i = 0; *out && i < count; i++)
        if (!((*out)[i] = strdup(strings[i])))
            return false;
    return *out != NULL;
}

static hl_status set_strings(char ***field, const char *const *strings, hl_error *err)
{
    char **copy = NULL;
    if (!strings)
        return HL_OK;
    if (!strings_copy(&copy, strings)) {
        strings_free(copy);
        return no_memory(err);
    }
    strings_free(*field);
    *field = copy;
    return HL_OK;
}

static hl_status set_text(char **field, const char *text, hl_error *err)
{
    char *copy = text ? strdup(text) : NULL;
    if (!text)
        return HL_OK;
    if (!copy)
        return no_memory(err);
    free(*field);
    *field = copy;
    return HL_OK;
}

hl_status hl_image_builder_set_program(hl_image_builder *builder, const char *const *arguments,
                                       const char *const *environment, const char *directory,
                                       hl_error *err)
{
    if (!builder)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "the builder is NULL");
    hl_status status = set_strings(&builder->arguments, arguments, err);
    if (status == HL_OK)
        status = set_strings(&builder->environment, environment, err);
    if (status == HL_OK)
        status = set_text(&builder->directory, directory, err);
    builder->options.arguments = (const char *const *)builder->arguments;
    builder->options.environment = (const char *const *)builder->environment;
    builder->options.directory = builder->directory;
    return status;
}

hl_status hl_image_builder_new(const hl_prepare_options *options, hl_image_builder **builder,
                               hl_error *err)
{
    hl_prepare_options complete;
    hl_status status = hl__prepare_options(&complete, options, err);
    if (status != HL_OK)
        return status;
    struct hl_image_builder *made = calloc(1, sizeof *made);
    if (!made)
        return no_memory(err);
    made->options = complete;
    status = hl_image_builder_set_program(made, complete.arguments, complete.environment,
                                          complete.directory, err);
    if (status == HL_OK)
        status = set_text(&made->cache_directory, complete.cache_directory, err);
    made->options.cache_directory = made->cache_directory;
    if (status == HL_OK)
        *builder = made;
    else
        hl_image_builder_free(made);
    return status;
}

const hl_prepare_options *hl__builder_options(const hl_image_builder *builder)
{
    return &builder->options;
}

static void node_free(struct node *node)
{
    free(node->path);
    free(node->text);
    free(node->data);
}

void hl_image_builder_free(hl_image_builder *builder)
{
    if (!builder)
        return;
    for (size_t i = 0; i < builder->count; i++)
        node_free(&builder->nodes[i]);
    free(builder->nodes);
    strings_free(builder->arguments);
    strings_free(builder->environment);
    free(builder->directory);
    free(builder->cache_directory);
    free(builder);
}

/* ---- Adding ---- */

static hl_status set_attributes(struct stat *out, mode_t type,
                                const hl_image_attributes *attributes, hl_error *err)
{
    hl_image_attributes given;
    hl_status status = hl__options_copy(&given, sizeof given, sizeof given, attributes,
                                        "hl_image_attributes", err);
    if (status != HL_OK)
        return status;
    if (given.mode > 07777 || given.modified_ns >= 1000000000)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "hl_image_attributes.%s is too large",
                             given.mode > 07777 ? "mode" : "modified_ns");
    mode_t standard = type == S_IFDIR ? 0755 : type == S_IFLNK ? 0777 : 0644;
    *out = (struct stat){.st_mode = type | (given.mode ? given.mode : standard),
                         .st_uid = given.uid,
                         .st_gid = given.gid,
                         .st_mtim = {given.modified_s, given.modified_ns}};
    return HL_OK;
}

static hl_status check_room(struct hl_image_builder *builder, const char *path, size_t size,
                            hl_error *err)
{
    if (builder->count >= builder->options.files_max)
        return hl__error_set(err, HL_IMAGE_TOO_MANY_FILES, NULL,
                             "'%s' is more than the image's limit of %u files allows", path,
                             builder->options.files_max);
    if (size > builder->options.size_max - builder->held)
        return hl__error_set(err, HL_IMAGE_TOO_LARGE, NULL,
                             "'%s' of %zu bytes goes over the image's limit of %llu bytes", path,
                             size, (unsigned long long)builder->options.size_max);
    return HL_OK;
}

static bool make_room(struct hl_image_builder *builder)
{
    if (builder->count < builder->room)
        return true;
    size_t room = builder->room ? 2 * builder->room : 64;
    struct node *nodes = reallocarray(builder->nodes, room, sizeof *nodes);
    if (!nodes)
        return false;
    builder->nodes = nodes;
    builder->room = room;
    return true;
}

/* Adds what `node` says, with copies of the texts and data. */
static hl_status add_node(struct hl_image_builder *builder, struct node node, const char *path,
                          const char *text, const void *data, hl_error *err)
{
    size_t size = node.kind == NODE_FILE ? (size_t)node.attributes.st_size : 0;
    hl_status status = check_room(builder, path, size, err);
    if (status != HL_OK)
        return status;
    node.path = strdup(path);
    node.text = text ? strdup(text) : NULL;
    node.data = size ? malloc(size) : NULL;
    if (!node.path || (text && !node.text) || (size && !node.data) || !make_room(builder)) {
        node_free(&node);
        return no_memory(err);
    }
    if (size)
        memcpy(node.data, data, size);
    builder->held += size;
    builder->nodes[builder->count++] = node;
    return HL_OK;
}

static hl_status check_arguments(const void *builder, const char *path, const char *text,
                                 hl_error *err)
{
    if (builder && path && text)
        return HL_OK;
    return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "an argument is NULL");
}

hl_status hl_image_builder_add_file(hl_image_builder *builder, const char *path, const void *data,
                                    size_t size, const hl_image_attributes *attributes,
                                    hl_error *err)
{
    struct node node = {.kind = NODE_FILE};
    hl_status status = check_arguments(builder, path, data || size == 0 ? "" : NULL, err);
    if (status == HL_OK)
        status = set_attributes(&node.attributes, S_IFREG, attributes, err);
    node.attributes.st_size = (off_t)size;
    return status == HL_OK ? add_node(builder, node, path, NULL, data, err) : status;
}

hl_status hl_image_builder_add_directory(hl_image_builder *builder, const char *path,
                                         const hl_image_attributes *attributes, hl_error *err)
{
    struct node node = {.kind = NODE_DIRECTORY};
    hl_status status = check_arguments(builder, path, "", err);
    if (status == HL_OK)
        status = set_attributes(&node.attributes, S_IFDIR, attributes, err);
    return status == HL_OK ? add_node(builder, node, path, NULL, NULL, err) : status;
}

hl_status hl_image_builder_add_symlink(hl_image_builder *builder, const char *path,
                                       const char *target, hl_error *err)
{
    struct node node = {.kind = NODE_SYMLINK};
    hl_status status = check_arguments(builder, path, target, err);
    if (status == HL_OK)
        status = set_attributes(&node.attributes, S_IFLNK, NULL, err);
    return status == HL_OK ? add_node(builder, node, path, target, NULL, err) : status;
}

hl_status hl_image_builder_add_link(hl_image_builder *builder, const char *path,
                                    const char *existing, hl_error *err)
{
    struct node node = {.kind = NODE_LINK};
    hl_status status = check_arguments(builder, path, existing, err);
    return status == HL_OK ? add_node(builder, node, path, existing, NULL, err) : status;
}

static hl_status unreadable(const char *source, int error, hl_error *err)
{
    return hl__error_os(err, HL_IMAGE_UNREADABLE, error, "open", "cannot read '%s'", source);
}

hl_status hl_image_builder_copy(hl_image_builder *builder, const char *path, const char *source,
                                hl_error *err)
{
    struct node node = {.kind = NODE_COPY};
    hl_status status = check_arguments(builder, path, source, err);
    if (status != HL_OK)
        return status;
    if (stat(source, &node.attributes) != 0)
        return unreadable(source, errno, err);
    if (!S_ISREG(node.attributes.st_mode) && !S_ISDIR(node.attributes.st_mode))
        return hl__error_set(err, HL_IMAGE_UNREADABLE, NULL,
                             "'%s' is neither a file nor a directory", source);
    return add_node(builder, node, path, source, NULL, err);
}

/* ---- Writing ---- */

static hl_status send_copied_file(struct hl__records *records, const struct node *node, int file,
                                  struct stat *attributes, hl_error *err)
{
    attributes->st_uid = attributes->st_gid = 0;
    hl_status status = hl__records_add(records, HL__RECORD_NODE, node->path, NULL, attributes, err);
    if (status == HL_OK)
        status = hl__records_file(records, file, (uint64_t)attributes->st_size, node->text, err);
    return status;
}

static hl_status send_copy(struct hl__records *records, const struct node *node, hl_error *err)
{
    struct stat attributes;
    hl_status status;
    int file = open(node->text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return unreadable(node->text, errno, err);
    if (fstat(file, &attributes) != 0)
        status = unreadable(node->text, errno, err);
    else if (S_ISDIR(attributes.st_mode))
        status = hl__directory_send(records, file, node->text, node->path, false, err);
    else if (S_ISREG(attributes.st_mode))
        status = send_copied_file(records, node, file, &attributes, err);
    else
        status = unreadable(node->text, ESTALE, err);
    close(file);
    return status;
}

static hl_status send_node(struct hl__records *records, const struct node *node, hl_error *err)
{
    if (node->kind == NODE_COPY)
        return send_copy(records, node, err);
    uint32_t kind = node->kind == NODE_LINK ? HL__RECORD_LINK : HL__RECORD_NODE;
    hl_status status =
        hl__records_add(records, kind, node->path, node->text, &node->attributes, err);
    if (status == HL_OK && node->kind == NODE_FILE)
        status = hl__records_bytes(records, node->data, (size_t)node->attributes.st_size, err);
    return status;
}

static hl_status send_nodes(const struct hl_image_builder *builder, struct hl__child *child,
                            hl_error *err)
{
    hl_status status = HL_OK;
    struct hl__records *records = malloc(sizeof *records);
    if (!records)
        return no_memory(err);
    records->child = child;
    records->used = 0;
    for (size_t i = 0; i < builder->count && status == HL_OK; i++)
        status = send_node(records, &builder->nodes[i], err);
    if (status == HL_OK)
        status = hl__records_end(records, err);
    free(records);
    return status;
}

hl_status hl__builder_write(const hl_image_builder *builder, int output, hl_error *err)
{
    struct hl__child child;
    hl_status status =
        hl__child_start(&child, HL__INPUT_STREAM, -1, output, &builder->options, err);
    if (status != HL_OK)
        return status;
    status = send_nodes(builder, &child, err);
    if (status == HL_OK)
        status = hl__child_finish(&child, err);
    else
        hl__child_abandon(&child);
    return status == HL_OK ? hl__output_check(output, child.size, err) : status;
}

hl_status hl_image_builder_write(hl_image_builder *builder, const char *output, hl_error *err)
{
    struct hl__output made;
    hl_status status = check_arguments(builder, output, "", err);
    if (status == HL_OK)
        status = hl__output_open(&made, output, 0666, err);
    if (status != HL_OK)
        return status;
    return hl__output_close(&made, hl__builder_write(builder, made.file, err), err);
}
