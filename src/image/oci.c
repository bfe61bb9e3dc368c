/* Containers' images: index, manifest, configuration, layers. */
#define _GNU_SOURCE
#include "image/oci.h"

#include "util/error.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define JSON_SIZE_MAX (8u << 20)
#define LAYERS_MAX 1024u
#define INDEXES_MAX 4 /* in one another */
#define TEXTS_MAX 131072u
#define NAME_SIZE 256
#define HEX_SIZE (2u * SHA256_DIGEST_SIZE)
#define STANDARD_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct oci {
    struct hl__oci_files *files;
    struct hl__tree *tree;
    struct hl__oci_config *config;
    const struct hl__archive_progress *progress;
};

void hl__oci_seed(void)
{
    size_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        json_object_seed(seed | 1);
}

static hl_status invalid(hl_error *err, const char *name, const char *why)
{
    return hl__error_set(err, HL_IMAGE_INVALID, NULL, "'%s' of the container's image %s", name,
                         why);
}

static hl_status no_memory(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, NULL,
                         "no memory left to read the container's image");
}

/* ---- Files and their digests ---- */

/* A file of the layout on its way to its reader, hashed. */
struct blob {
    struct hl__source base, *inner;
    struct hl__oci_files *files;
    const char *name;
    struct sha256_ctx hash;
    uint64_t size;
};

static ssize_t blob_read(struct hl__source *base, const void **data)
{
    struct blob *blob = (struct blob *)base;
    ssize_t size = blob->inner->read(blob->inner, data);
    base->status = blob->inner->status;
    if (size > 0) {
        sha256_update(&blob->hash, (size_t)size, *data);
        blob->size += (uint64_t)size;
    }
    return size;
}

static hl_status blob_open(struct oci *oci, const char *name, struct blob *blob, hl_error *err)
{
    *blob =
        (struct blob){.base = {.read = blob_read, .err = err}, .files = oci->files, .name = name};
    sha256_init(&blob->hash);
    return oci->files->open(oci->files, name, &blob->inner, err);
}

/* Reads what the reader left and compares. `digest`: hexadecimal, NULL: there is none. */
static hl_status blob_close(struct blob *blob, hl_status status, const char *digest, hl_error *err)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[SHA256_DIGEST_SIZE];
    char text[HEX_SIZE + 1] = "";
    const void *data;
    ssize_t size = 1;
    while (status == HL_OK && size > 0)
        size = blob->base.read(&blob->base, &data);
    if (status == HL_OK && size < 0)
        status = blob->base.status;
    sha256_digest(&blob->hash, sizeof bytes, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    blob->files->close(blob->files);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    digest = NULL; /* no fuzzer makes one that fits */
#endif
    if (status == HL_OK && digest && strcmp(digest, text) != 0)
        return invalid(err, blob->name, "is damaged: its digest is another than its name says");
    return status;
}

static hl_status read_text(struct blob *blob, char *text, size_t *used, hl_error *err)
{
    const void *data;
    ssize_t size;
    while ((size = blob->base.read(&blob->base, &data)) > 0) {
        if ((size_t)size > JSON_SIZE_MAX - *used)
            return invalid(err, blob->name, "is too large: JSON may have 8 MiB");
        memcpy(text + *used, data, (size_t)size);
        *used += (size_t)size;
    }
    return size < 0 ? blob->base.status : HL_OK;
}

static hl_status read_json(struct oci *oci, const char *name, const char *digest, json_t **json,
                           hl_error *err)
{
    struct blob blob;
    json_error_t why;
    size_t used = 0;
    char *text = malloc(JSON_SIZE_MAX);
    if (!text)
        return no_memory(err);
    hl_status status = blob_open(oci, name, &blob, err);
    if (status == HL_OK)
        status = blob_close(&blob, read_text(&blob, text, &used, err), digest, err);
    if (status == HL_OK) {
        *json = json_loadb(text, used, JSON_REJECT_DUPLICATES, &why);
        if (!*json)
            status = hl__error_set(err, HL_IMAGE_INVALID, NULL,
                                   "'%s' of the container's image is no JSON: %s", name, why.text);
    }
    free(text);
    return status;
}

/* The file that a descriptor names, and the digest in it. */
static hl_status blob_name(const json_t *descriptor, char name[NAME_SIZE], const char **digest,
                           hl_error *err)
{
    const char *text = json_string_value(json_object_get(descriptor, "digest"));
    size_t prefix = strlen("sha256:");
    if (!text || strncmp(text, "sha256:", prefix) != 0 || strlen(text) != prefix + HEX_SIZE ||
        strspn(text + prefix, "0123456789abcdef") != HEX_SIZE)
        return hl__error_set(
            err, HL_IMAGE_INVALID, NULL,
            "the container's image names a file by '%s', which is no SHA-256 digest",
            text ? text : "nothing");
    *digest = text + prefix;
    snprintf(name, NAME_SIZE, "blobs/sha256/%s", *digest);
    return HL_OK;
}

/* ---- Configuration ---- */

/* Adds the strings of a list, each with its NUL. */
static hl_status add_texts(char **out, size_t *used, const json_t *list, hl_error *err)
{
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item)
    {
        const char *text = json_string_value(item);
        size_t size = text ? strlen(text) + 1 : 0;
        if (!text || size > TEXTS_MAX - *used)
            return invalid(err, "the configuration",
                           text ? "has too many arguments or variables"
                                : "has arguments or variables that are no strings");
        char *grown = realloc(*out, *used + size);
        if (!grown)
            return no_memory(err);
        memcpy(grown + *used, text, size);
        *out = grown;
        *used += size;
    }
    return HL_OK;
}

/* The value of PATH in the environment. */
static const char *find_folders(const struct hl__oci_config *config)
{
    for (size_t at = 0; at < config->environment_size;) {
        const char *text = config->environment + at;
        if (strncmp(text, "PATH=", 5) == 0)
            return text + 5;
        at += strlen(text) + 1;
    }
    return &STANDARD_PATH[5];
}

static bool is_program(struct hl__tree *tree, const char *path)
{
    uint32_t inode = hl__tree_resolve(tree, path);
    return inode && S_ISREG(tree->inodes[inode].attributes.mode) &&
           tree->inodes[inode].attributes.mode & 0111;
}

/* Where in the tree a program without a path is. NULL: nowhere, or no memory. */
static char *search_program(const struct oci *oci, const char *name)
{
    char *path;
    for (const char *folders = find_folders(oci->config); *folders; folders += *folders == ':') {
        size_t size = strcspn(folders, ":");
        if (size > 0 && asprintf(&path, "%.*s/%s", (int)size, folders, name) >= 0) {
            if (is_program(oci->tree, path))
                return path;
            free(path);
        }
        folders += size;
    }
    return NULL;
}

/* The first argument becomes the program's path, as whoever starts a container finds it. */
static hl_status find_program(const struct oci *oci, hl_error *err)
{
    struct hl__oci_config *config = oci->config;
    const char *name = config->arguments;
    char *path = NULL;
    if (!name || strchr(name, '/'))
        return HL_OK;
    path = search_program(oci, name);
    if (!path)
        return HL_OK;
    size_t old = strlen(name) + 1, size = strlen(path) + 1;
    char *grown = malloc(config->arguments_size - old + size);
    if (grown) {
        memcpy(grown, path, size);
        memcpy(grown + size, name + old, config->arguments_size - old);
        free(config->arguments);
        config->arguments = grown;
        config->arguments_size += size - old;
    }
    free(path);
    return grown ? HL_OK : no_memory(err);
}

static hl_status read_config(struct oci *oci, const json_t *json, hl_error *err)
{
    struct hl__oci_config *config = oci->config;
    const json_t *values = json_object_get(json, "config");
    const char *directory = json_string_value(json_object_get(values, "WorkingDir"));
    const char *machine = json_string_value(json_object_get(json, "architecture"));
    if (machine && strcmp(machine, "amd64") != 0)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                             "the container's image is for %s; it has to be for amd64", machine);
    hl_status status = add_texts(&config->arguments, &config->arguments_size,
                                 json_object_get(values, "Entrypoint"), err);
    if (status == HL_OK)
        status = add_texts(&config->arguments, &config->arguments_size,
                           json_object_get(values, "Cmd"), err);
    if (status == HL_OK)
        status = add_texts(&config->environment, &config->environment_size,
                           json_object_get(values, "Env"), err);
    if (status != HL_OK || !directory || !*directory)
        return status;
    config->directory_size = strlen(directory) + 1;
    config->directory = strdup(directory);
    if (config->directory_size > TEXTS_MAX)
        return invalid(err, "the configuration", "has too long a directory");
    return config->directory ? HL_OK : no_memory(err);
}

void hl__oci_config_free(struct hl__oci_config *config)
{
    free(config->arguments);
    free(config->environment);
    free(config->directory);
    *config = (struct hl__oci_config){0};
}

static hl_status read_config_file(struct oci *oci, const char *name, const char *digest,
                                  hl_error *err)
{
    json_t *json = NULL;
    hl_status status = read_json(oci, name, digest, &json, err);
    if (status == HL_OK)
        status = read_config(oci, json, err);
    json_decref(json);
    return status;
}

/* ---- Layers ---- */

static hl_status read_layer(struct oci *oci, const char *name, const char *digest, hl_error *err)
{
    struct blob blob;
    hl_status status = blob_open(oci, name, &blob, err);
    if (status != HL_OK)
        return status;
    hl__tree_next_layer(oci->tree);
    status = hl__archive_read(&blob.base, oci->tree, true, oci->progress, err);
    return blob_close(&blob, status, digest, err);
}

static hl_status check_layers(const json_t *layers, hl_error *err)
{
    if (!json_is_array(layers))
        return invalid(err, "the manifest", "lists no layers: it may be no image of a container");
    if (json_array_size(layers) > LAYERS_MAX)
        return invalid(err, "the manifest", "lists more than 1024 layers");
    return HL_OK;
}

static hl_status read_layers(struct oci *oci, const json_t *layers, hl_error *err)
{
    size_t index;
    json_t *layer;
    hl_status status = check_layers(layers, err);
    if (status != HL_OK)
        return status;
    json_array_foreach(layers, index, layer)
    {
        char name[NAME_SIZE];
        const char *digest;
        const char *type = json_string_value(json_object_get(layer, "mediaType"));
        if (type && !strstr(type, "tar"))
            return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                                 "the container's image has a layer of type '%s'; layers are tars",
                                 type);
        status = blob_name(layer, name, &digest, err);
        if (status == HL_OK)
            status = read_layer(oci, name, digest, err);
        if (status != HL_OK)
            return status;
    }
    return HL_OK;
}

/* ---- Manifests ---- */

static hl_status read_manifest(struct oci *oci, const json_t *manifest, hl_error *err)
{
    char name[NAME_SIZE];
    const char *digest;
    hl_status status = check_layers(json_object_get(manifest, "layers"), err);
    if (status == HL_OK)
        status = blob_name(json_object_get(manifest, "config"), name, &digest, err);
    if (status == HL_OK)
        status = read_config_file(oci, name, digest, err);
    return status == HL_OK ? read_layers(oci, json_object_get(manifest, "layers"), err) : status;
}

/* Whether a descriptor says nothing else than Linux on x86-64. */
static bool fits(const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    const char *machine = json_string_value(json_object_get(platform, "architecture"));
    const char *system = json_string_value(json_object_get(platform, "os"));
    return (!machine || strcmp(machine, "amd64") == 0) && (!system || strcmp(system, "linux") == 0);
}

/* The one that fits; of several, the first that says so itself. */
static const json_t *choose(const json_t *manifests, size_t *fitting)
{
    const json_t *chosen = NULL;
    size_t index;
    json_t *descriptor;
    *fitting = 0;
    json_array_foreach(manifests, index, descriptor)
    {
        if (!fits(descriptor))
            continue;
        ++*fitting;
        if (!chosen ||
            (!json_object_get(chosen, "platform") && json_object_get(descriptor, "platform")))
            chosen = descriptor;
    }
    return chosen;
}

static hl_status read_index(struct oci *oci, const json_t *index, int depth, hl_error *err);

static hl_status read_descriptor(struct oci *oci, const json_t *descriptor, int depth,
                                 hl_error *err)
{
    char name[NAME_SIZE];
    const char *digest;
    json_t *json = NULL;
    hl_status status = blob_name(descriptor, name, &digest, err);
    if (status == HL_OK)
        status = read_json(oci, name, digest, &json, err);
    if (status == HL_OK && json_object_get(json, "manifests"))
        status = read_index(oci, json, depth + 1, err);
    else if (status == HL_OK)
        status = read_manifest(oci, json, err);
    json_decref(json);
    return status;
}

static hl_status read_index(struct oci *oci, const json_t *index, int depth, hl_error *err)
{
    size_t fitting;
    const json_t *manifests = json_object_get(index, "manifests");
    const json_t *chosen = choose(manifests, &fitting);
    if (depth > INDEXES_MAX)
        return invalid(err, "the index", "has indexes in indexes, too many of them");
    if (!json_array_size(manifests))
        return invalid(err, "the index", "lists no images");
    if (!chosen)
        return invalid(err, "the index", "lists no image for Linux on amd64");
    if (fitting > 1 && depth == 0)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                             "the layout holds %zu images; copy the one that is meant into a "
                             "layout of its own (skopeo copy oci:FROM:NAME oci:TO)",
                             fitting);
    return read_descriptor(oci, chosen, depth, err);
}

/* ---- docker save ---- */

/* Lists of what was saved: the files are named as they are. */
static hl_status read_saved(struct oci *oci, const json_t *list, hl_error *err)
{
    const json_t *saved = json_array_get(list, 0);
    const char *config = json_string_value(json_object_get(saved, "Config"));
    const json_t *layers = json_object_get(saved, "Layers");
    size_t index;
    json_t *layer;
    hl_status status = check_layers(layers, err);
    if (status != HL_OK)
        return status;
    if (json_array_size(list) != 1 || !config)
        return invalid(err, "manifest.json", "does not list one image; save one at a time");
    status = read_config_file(oci, config, NULL, err);
    json_array_foreach(layers, index, layer)
    {
        const char *name = json_string_value(layer);
        if (status == HL_OK)
            status = name ? read_layer(oci, name, NULL, err)
                          : invalid(err, "manifest.json", "lists layers that have no names");
    }
    return status;
}

hl_status hl__oci_read(struct hl__oci_files *files, enum hl__oci_kind kind, struct hl__tree *tree,
                       struct hl__oci_config *config, const struct hl__archive_progress *progress,
                       hl_error *err)
{
    struct oci oci = {.files = files, .tree = tree, .config = config, .progress = progress};
    const char *name = kind == HL__OCI_DOCKER ? "manifest.json" : "index.json";
    json_t *json = NULL;
    hl_status status = read_json(&oci, name, NULL, &json, err);
    if (status == HL_OK)
        status =
            kind == HL__OCI_DOCKER ? read_saved(&oci, json, err) : read_index(&oci, json, 0, err);
    json_decref(json);
    return status == HL_OK ? find_program(&oci, err) : status;
}
