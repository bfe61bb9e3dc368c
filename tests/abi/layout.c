/*
 * Prints what a host application was compiled with: sizes and offsets of every public structure, and every number of the
 * public enumerations. `check` compares it with the golden file libhyperlight.abi.
 */
#include <hyperlight/guest.h>
#include <hyperlight/hyperlight.h>
#include <hyperlight/prepare.h>

#include <stddef.h>
#include <stdio.h>

#define TYPE(type) printf("type %s size %zu align %zu\n", #type, sizeof(type), _Alignof(type))
#define FIELD(type, field)                                                                         \
    printf("field %s.%s offset %zu size %zu\n", #type, #field, offsetof(type, field),              \
           sizeof(((type *)0)->field))
#define NUMBER(name) printf("number %s %lld\n", #name, (long long)(name))
#define LIMIT(name) printf("limit %s %llu\n", #name, (unsigned long long)(name))

static void print_error(void)
{
    TYPE(hl_error);
    FIELD(hl_error, status);
    FIELD(hl_error, os_error);
    FIELD(hl_error, exit_code);
    FIELD(hl_error, signal);
    FIELD(hl_error, fault_vector);
    FIELD(hl_error, fault_address);
    FIELD(hl_error, instruction_pointer);
    FIELD(hl_error, source);
    FIELD(hl_error, message);
}

static void print_values(void)
{
    TYPE(hl_span);
    FIELD(hl_span, data);
    FIELD(hl_span, size);
    TYPE(hl_value);
    FIELD(hl_value, type);
    FIELD(hl_value, reserved);
    FIELD(hl_value, as);
    FIELD(hl_value, as.string.data);
    FIELD(hl_value, as.string.size);
    FIELD(hl_value, as.list.items);
    FIELD(hl_value, as.list.count);
    FIELD(hl_value, as.map.entries);
    FIELD(hl_value, as.map.count);
    FIELD(hl_value, owner);
    TYPE(hl_entry);
    FIELD(hl_entry, key);
    FIELD(hl_entry, value);
    TYPE(hl_signature);
    FIELD(hl_signature, parameters);
    FIELD(hl_signature, parameter_count);
    FIELD(hl_signature, result);
}

static void print_context(void)
{
    TYPE(hl_context_options);
    FIELD(hl_context_options, size);
    FIELD(hl_context_options, driver);
    FIELD(hl_context_options, log_sink);
    FIELD(hl_context_options, log_user);
    FIELD(hl_context_options, log_level);
    FIELD(hl_context_options, kick_signal);
    TYPE(hl_driver_info);
    FIELD(hl_driver_info, size);
    FIELD(hl_driver_info, name);
    FIELD(hl_driver_info, status);
    FIELD(hl_driver_info, virtualization);
    FIELD(hl_driver_info, syscall_stays_in_user_mode);
    FIELD(hl_driver_info, api_version);
    FIELD(hl_driver_info, capabilities);
    FIELD(hl_driver_info, tsc_khz);
    FIELD(hl_driver_info, vcpus_max);
    FIELD(hl_driver_info, memory_slots_max);
    FIELD(hl_driver_info, detail);
    TYPE(hl_program_options);
    FIELD(hl_program_options, size);
    FIELD(hl_program_options, context);
    FIELD(hl_program_options, arguments);
    FIELD(hl_program_options, environment);
    FIELD(hl_program_options, name);
    FIELD(hl_program_options, root);
    FIELD(hl_program_options, directory);
    TYPE(hl_image_options);
    FIELD(hl_image_options, size);
    FIELD(hl_image_options, access);
    FIELD(hl_image_options, reserved);
}

static void print_sandbox_options(void)
{
    TYPE(hl_stream);
    FIELD(hl_stream, mode);
    FIELD(hl_stream, reserved);
    FIELD(hl_stream, write);
    FIELD(hl_stream, read);
    FIELD(hl_stream, user);
    FIELD(hl_stream, data);
    FIELD(hl_stream, data_size);
    FIELD(hl_stream, capacity);
    TYPE(hl_sandbox_options);
    FIELD(hl_sandbox_options, size);
    FIELD(hl_sandbox_options, memory_size);
    FIELD(hl_sandbox_options, timeout_ns);
    FIELD(hl_sandbox_options, start_timeout_ns);
    FIELD(hl_sandbox_options, cpu_time_ns);
    FIELD(hl_sandbox_options, request_size_max);
    FIELD(hl_sandbox_options, reply_size_max);
    FIELD(hl_sandbox_options, output_size_max);
    FIELD(hl_sandbox_options, host_calls_max);
    FIELD(hl_sandbox_options, stdin_stream);
    FIELD(hl_sandbox_options, stdout_stream);
    FIELD(hl_sandbox_options, stderr_stream);
    FIELD(hl_sandbox_options, host_functions);
    FIELD(hl_sandbox_options, clock);
    FIELD(hl_sandbox_options, trace);
    FIELD(hl_sandbox_options, seed_fixed);
    FIELD(hl_sandbox_options, reserved);
    FIELD(hl_sandbox_options, clock_start_ns);
    FIELD(hl_sandbox_options, seed);
}

static void print_stats(void)
{
    TYPE(hl_stats);
    FIELD(hl_stats, size);
    FIELD(hl_stats, calls);
    FIELD(hl_stats, host_calls);
    FIELD(hl_stats, restores);
    FIELD(hl_stats, entries);
    FIELD(hl_stats, hypercalls);
    FIELD(hl_stats, faults);
    FIELD(hl_stats, kicks);
    FIELD(hl_stats, page_table_edits);
    FIELD(hl_stats, page_table_flushes);
    FIELD(hl_stats, pages_restored);
    FIELD(hl_stats, run_time_ns);
    FIELD(hl_stats, memory_size);
    FIELD(hl_stats, memory_mapped);
    FIELD(hl_stats, output_size);
    FIELD(hl_stats, driver_calls);
    FIELD(hl_stats, edits);
    FIELD(hl_stats, ticks);
}

static void print_guest(void)
{
    TYPE(hl_guest_wake);
    FIELD(hl_guest_wake, size);
    FIELD(hl_guest_wake, generation);
    FIELD(hl_guest_wake, seed);
}

static void print_prepare(void)
{
    TYPE(hl_prepare_progress);
    FIELD(hl_prepare_progress, bytes_read);
    FIELD(hl_prepare_progress, bytes_written);
    FIELD(hl_prepare_progress, files);
    FIELD(hl_prepare_progress, reserved);
    TYPE(hl_prepare_options);
    FIELD(hl_prepare_options, size);
    FIELD(hl_prepare_options, arguments);
    FIELD(hl_prepare_options, environment);
    FIELD(hl_prepare_options, directory);
    FIELD(hl_prepare_options, size_max);
    FIELD(hl_prepare_options, files_max);
    FIELD(hl_prepare_options, depth_max);
    FIELD(hl_prepare_options, timeout_ns);
    FIELD(hl_prepare_options, progress);
    FIELD(hl_prepare_options, progress_user);
    FIELD(hl_prepare_options, cache_directory);
    FIELD(hl_prepare_options, cache_size_max);
    TYPE(hl_image_attributes);
    FIELD(hl_image_attributes, size);
    FIELD(hl_image_attributes, mode);
    FIELD(hl_image_attributes, uid);
    FIELD(hl_image_attributes, gid);
    FIELD(hl_image_attributes, modified_ns);
    FIELD(hl_image_attributes, modified_s);
    TYPE(hl_image_cache_entry);
    FIELD(hl_image_cache_entry, size);
    FIELD(hl_image_cache_entry, path);
    FIELD(hl_image_cache_entry, bytes);
    FIELD(hl_image_cache_entry, used_s);
}

static void print_statuses(void)
{
#define STATUS_LINE(name, number, poisons, meaning)                                                \
    printf("status HL_%s %d poisons %d\n", #name, (int)HL_##name, poisons);
    HL_STATUS_LIST(STATUS_LINE)
#undef STATUS_LINE
}

static void print_types(void)
{
    NUMBER(HL_TYPE_NULL);
    NUMBER(HL_TYPE_BOOL);
    NUMBER(HL_TYPE_I32);
    NUMBER(HL_TYPE_U32);
    NUMBER(HL_TYPE_I64);
    NUMBER(HL_TYPE_U64);
    NUMBER(HL_TYPE_F32);
    NUMBER(HL_TYPE_F64);
    NUMBER(HL_TYPE_STRING);
    NUMBER(HL_TYPE_BYTES);
    NUMBER(HL_TYPE_LIST);
    NUMBER(HL_TYPE_MAP);
    NUMBER(HL_TYPE_ANY);
}

static void print_enumerations(void)
{
    NUMBER(HL_LOG_DEFAULT);
    NUMBER(HL_LOG_ERROR);
    NUMBER(HL_LOG_WARN);
    NUMBER(HL_LOG_INFO);
    NUMBER(HL_LOG_DEBUG);
    NUMBER(HL_LOG_TRACE);
    NUMBER(HL_LOG_NONE);
    NUMBER(HL_LOG_HOST);
    NUMBER(HL_LOG_SHIM);
    NUMBER(HL_LOG_GUEST);
    NUMBER(HL_VIRTUALIZATION_UNKNOWN);
    NUMBER(HL_VIRTUALIZATION_HARDWARE);
    NUMBER(HL_VIRTUALIZATION_PAGE_TABLE);
    NUMBER(HL_CAPABILITY_DIRTY_LOG);
    NUMBER(HL_CAPABILITY_DIRTY_REARM);
    NUMBER(HL_CAPABILITY_SYNC_REGISTERS);
    NUMBER(HL_CAPABILITY_READONLY_MEMORY);
    NUMBER(HL_CAPABILITY_IMMEDIATE_EXIT);
    NUMBER(HL_CAPABILITY_SMAP);
    NUMBER(HL_CAPABILITY_UMIP);
    NUMBER(HL_SANDBOX_READY);
    NUMBER(HL_SANDBOX_RUNNING);
    NUMBER(HL_SANDBOX_POISONED);
    NUMBER(HL_SANDBOX_FINISHED);
    NUMBER(HL_STREAM_DEFAULT);
    NUMBER(HL_STREAM_DISCARD);
    NUMBER(HL_STREAM_INHERIT);
    NUMBER(HL_STREAM_CAPTURE);
    NUMBER(HL_STREAM_CALLBACK);
    NUMBER(HL_STREAM_MEMORY);
    NUMBER(HL_CLOCK_DEFAULT);
    NUMBER(HL_CLOCK_HOST);
    NUMBER(HL_CLOCK_FIXED);
}

static void print_limits(void)
{
    LIMIT(HL_ERROR_MESSAGE_MAX);
    LIMIT(HL_NO_VECTOR);
    LIMIT(HL_VALUE_DEPTH_MAX);
    LIMIT(HL_VALUE_COUNT_MAX);
    LIMIT(HL_PARAMETERS_MAX);
    LIMIT(HL_NAME_MAX);
    LIMIT(HL_HOST_FUNCTIONS_MAX);
    LIMIT(HL_UNLIMITED);
}

int main(void)
{
    print_statuses();
    print_error();
    print_types();
    print_values();
    print_enumerations();
    print_context();
    print_sandbox_options();
    print_stats();
    print_guest();
    print_prepare();
    print_limits();
    return 0;
}
