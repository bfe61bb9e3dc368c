# Building guests: ordinary static programs, compiled apart from the host's flags.
find_program(HL_GUEST_CC NAMES gcc cc DOC "Compiler for guests with glibc")
find_program(HL_GUEST_MUSL_CC NAMES musl-gcc DOC "Compiler for guests with musl")
find_program(HL_GUEST_LD NAMES ld DOC "Linker for the shim")
find_program(HL_GUEST_OBJCOPY NAMES objcopy DOC "Copies sections of the shim")
set(HL_GUEST_FLAGS -O2 -g -Wall -Wextra)

# hl_add_guest(OUTPUT SOURCES... [COMPILER CC] [FLAGS ...] [LIBRARIES ...])
# Compiles one guest to the file OUTPUT (absolute). A source that includes hyperlight/guest.h gets the SDK linked.
# The default FLAGS are -static. Depends on nothing of CMake's flags, so that it is what a user would type.
function(hl_add_guest output)
    cmake_parse_arguments(PARSE_ARGV 1 guest "" "COMPILER" "FLAGS;LIBRARIES")
    if(NOT guest_COMPILER)
        set(guest_COMPILER "${HL_GUEST_CC}")
    endif()
    if(NOT guest_FLAGS)
        set(guest_FLAGS -static)
    endif()
    set(sources "")
    set(sdk "")
    foreach(source IN LISTS guest_UNPARSED_ARGUMENTS)
        get_filename_component(path "${source}" ABSOLUTE)
        list(APPEND sources "${path}")
        file(STRINGS "${path}" uses_sdk REGEX "hyperlight/guest\\.h" LIMIT_COUNT 1)
        if(uses_sdk)
            set(sdk "${PROJECT_BINARY_DIR}/libhyperlight-guest.a")
        endif()
    endforeach()
    get_filename_component(folder "${output}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    add_custom_command(
        OUTPUT "${output}"
        COMMAND ${guest_COMPILER} ${HL_GUEST_FLAGS} ${guest_FLAGS} "-I${PROJECT_SOURCE_DIR}/include"
            -MD -MF "${output}.d" -MT "${output}" -o "${output}" ${sources} ${sdk} ${guest_LIBRARIES}
        DEPENDS ${sources} ${sdk} $<$<BOOL:${sdk}>:hyperlight_guest>
        DEPFILE "${output}.d"
        COMMENT "Building guest ${output}"
        VERBATIM)
endfunction()
