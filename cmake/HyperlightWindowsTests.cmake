# Tests of the Windows build: they run in wine with the double of WinHvPlatform.dll, with guests of the machine's own build.
set(HL_NATIVE_BUILD "${PROJECT_SOURCE_DIR}/build" CACHE PATH "Build folder of the default preset: guests and the double")
if(NOT HL_TESTS)
    return()
endif()
enable_testing()
# cmake/windows-dependencies
find_library(HL_CMOCKA cmocka-static REQUIRED)
find_path(HL_CMOCKA_INCLUDE cmocka.h REQUIRED)

set(CMAKE_CROSSCOMPILING_EMULATOR "${PROJECT_SOURCE_DIR}/tests/doubles/hyperv/wine")
set(wine_environment
    "HL_WHP_DOUBLE=${HL_NATIVE_BUILD}/tests/doubles/hyperv/winhvplatform.dll" "HL_WINE_PREFIX=${HL_NATIVE_BUILD}/wine")

function(hl_windows_test name timeout)
    add_test(NAME whp.${name} COMMAND ${ARGN})
    set_tests_properties(whp.${name} PROPERTIES
        LABELS "whp;kvm" TIMEOUT ${timeout} SKIP_RETURN_CODE 77 ENVIRONMENT "${wine_environment}")
endfunction()

# What the others leave out needs signals, fork, or files of Linux: streams, status, threads, leaks, density, restore_property.
set(test_folder "${PROJECT_SOURCE_DIR}/tests")
file(GLOB test_sources CONFIGURE_DEPENDS "${test_folder}/hostile/test_*.c")
foreach(name IN ITEMS clock_random host_functions_guest lazy_reply limits members snapshot system_calls unmap_batch values)
    list(APPEND test_sources "${test_folder}/integration/test_${name}.c")
endforeach()

foreach(source IN LISTS test_sources)
    get_filename_component(name "${source}" NAME_WE)
    get_filename_component(folder "${source}" DIRECTORY)
    get_filename_component(kind "${folder}" NAME)
    string(REGEX REPLACE "^test_" "" name "${name}")
    set(program ${kind}_${name})
    set(shared "${test_folder}/integration/fixture.c")
    if(kind STREQUAL "hostile")
        list(APPEND shared "${folder}/hostile.c" "${folder}/puppet.c")
    endif()
    add_executable(${program} "${source}" ${shared})
    set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    # ELF's own header comes from the machine.
    target_include_directories(${program} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${test_folder}" "${test_folder}/integration")
    target_compile_options(${program} PRIVATE "SHELL:-idirafter /usr/include" "SHELL:-idirafter /usr/include/x86_64-linux-gnu")
    target_compile_definitions(${program} PRIVATE CMOCKA_STATIC "HL_TEST_GUESTS=\"${HL_NATIVE_BUILD}/tests/guests\""
        "HL_TEST_SOURCES=\"${test_folder}\"")
    target_link_libraries(${program} PRIVATE hl_host hyperlight_static "${HL_CMOCKA}")
    target_include_directories(${program} PRIVATE "${HL_CMOCKA_INCLUDE}")
    hl_windows_test(${kind}.${name} 300 ${program})
endforeach()

# The static library looks for the surrogates' program beside the program that it is part of.
add_custom_target(surrogate_for_tests ALL
    COMMAND ${CMAKE_COMMAND} -E copy_if_different "$<TARGET_FILE:hyperlight_surrogate>" "${PROJECT_BINARY_DIR}/tests/"
    DEPENDS hyperlight_surrogate)

add_executable(tour "${PROJECT_SOURCE_DIR}/examples/lua/tour.c")
set_target_properties(tour PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
target_link_libraries(tour PRIVATE hl_host hyperlight)
hl_windows_test(tour 300 tour "${HL_NATIVE_BUILD}/examples/lua/plugin")

set_target_properties(hyperlight_tool PROPERTIES CROSSCOMPILING_EMULATOR "${CMAKE_CROSSCOMPILING_EMULATOR}")
hl_windows_test(selftest 300 hyperlight_tool selftest)
hl_windows_test(run 120 hyperlight_tool run "${HL_NATIVE_BUILD}/tests/guests/sys_memory.glibc")
