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

# How much of their work the long ones do: under wine a sandbox costs a hundred times what it costs elsewhere.
set(extent_hostile.elf HL_ROUNDS=60)
set(extent_integration.density HL_SANDBOXES=40)
set(extent_integration.leaks HL_ROUNDS=5)
set(extent_integration.restore_property HL_ROUNDS=5000)

# What also runs in the nested-SVM bed, where wine is slow.
set(bed_tests selftest tour run hostile.memory integration.snapshot integration.members)

function(hl_windows_test name timeout)
    set(labels whp kvm)
    if(name IN_LIST bed_tests)
        list(APPEND labels bed)
        set(timeout 600)
    endif()
    add_test(NAME whp.${name} COMMAND ${ARGN})
    set_tests_properties(whp.${name} PROPERTIES
        LABELS "${labels}" TIMEOUT ${timeout} SKIP_RETURN_CODE 77 ENVIRONMENT "${wine_environment};${extent_${name}}")
endfunction()

set(test_folder "${PROJECT_SOURCE_DIR}/tests")

# What tests share. ELF's own header comes from the machine.
file(GLOB shared_sources CONFIGURE_DEPENDS "${test_folder}/integration/windows/[!t]*.c")
add_library(windows_fixture STATIC
    "${test_folder}/integration/fixture.c" "${test_folder}/integration/census.c" "${test_folder}/integration/threads.c"
    "${test_folder}/doubles/space_check.c" ${shared_sources})
target_include_directories(windows_fixture PUBLIC
    "${PROJECT_SOURCE_DIR}/src" "${test_folder}" "${test_folder}/integration" "${HL_CMOCKA_INCLUDE}")
target_compile_options(windows_fixture PUBLIC
    "SHELL:-idirafter /usr/include" "SHELL:-idirafter /usr/include/x86_64-linux-gnu")
target_compile_definitions(windows_fixture PUBLIC CMOCKA_STATIC "HL_TEST_GUESTS=\"${HL_NATIVE_BUILD}/tests/guests\""
    "HL_TEST_SOURCES=\"${test_folder}\"")
target_link_libraries(windows_fixture PUBLIC hl_host hyperlight_static "${HL_CMOCKA}")

file(GLOB test_sources CONFIGURE_DEPENDS "${test_folder}/hostile/test_*.c" "${test_folder}/integration/test_*.c")
# Two hypervisors, of which Windows has one; signals, forks, and what else Linux alone has.
list(REMOVE_ITEM test_sources "${test_folder}/integration/test_drivers.c" "${test_folder}/integration/test_signals.c")

foreach(source IN LISTS test_sources)
    get_filename_component(name "${source}" NAME_WE)
    get_filename_component(folder "${source}" DIRECTORY)
    get_filename_component(kind "${folder}" NAME)
    string(REGEX REPLACE "^test_" "" name "${name}")
    set(program ${kind}_${name})
    add_executable(${program} "${source}")
    if(kind STREQUAL "hostile")
        target_sources(${program} PRIVATE "${folder}/hostile.c" "${folder}/puppet.c")
    endif()
    set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(${program} PRIVATE windows_fixture)
    hl_windows_test(${kind}.${name} 300 ${program})
endforeach()

add_executable(integration_surrogates "${test_folder}/integration/windows/test_surrogates.c")
set_target_properties(integration_surrogates PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
target_link_libraries(integration_surrogates PRIVATE windows_fixture)
hl_windows_test(integration.surrogates 120 integration_surrogates)

# In a folder without surrogates.
add_executable(integration_alone "${test_folder}/integration/windows/test_alone.c")
set_target_properties(integration_alone PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/alone")
target_link_libraries(integration_alone PRIVATE windows_fixture)
hl_windows_test(integration.alone 120 integration_alone)

# The static library looks for the surrogates' program beside the program that it is part of.
add_custom_target(surrogate_for_tests ALL
    COMMAND ${CMAKE_COMMAND} -E copy_if_different "$<TARGET_FILE:hyperlight_surrogate>" "${PROJECT_BINARY_DIR}/tests/"
    DEPENDS hyperlight_surrogate)

add_executable(tour "${PROJECT_SOURCE_DIR}/examples/lua/tour.c")
set_target_properties(tour PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
target_link_libraries(tour PRIVATE hl_host hyperlight Threads::Threads)
hl_windows_test(tour 300 tour "${HL_NATIVE_BUILD}/examples/lua/plugin")

set_target_properties(hyperlight_tool PROPERTIES CROSSCOMPILING_EMULATOR "${CMAKE_CROSSCOMPILING_EMULATOR}")
hl_windows_test(selftest 300 hyperlight_tool selftest)
hl_windows_test(run 120 hyperlight_tool run "${HL_NATIVE_BUILD}/tests/guests/sys_memory.glibc")

find_program(HL_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH) # the one that has Debian's pytest
add_test(NAME whp.cli COMMAND "${HL_PYTHON}" -B -m pytest -q -p no:cacheprovider -m everywhere "${test_folder}/cli")
set_tests_properties(whp.cli PROPERTIES LABELS "whp;kvm;cli" TIMEOUT 600
    ENVIRONMENT "${wine_environment};HL_BUILD=${HL_NATIVE_BUILD};HL_TEST_TOOL=${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:hyperlight_tool>")

# What users get.
hl_windows_test(install 300 "${test_folder}/install/check-windows" "${PROJECT_BINARY_DIR}" "${HL_NATIVE_BUILD}")
