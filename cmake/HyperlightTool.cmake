# The tool: the public API alone, by way of the shared library, which exports nothing else.
if(WIN32)
    set(system_folder windows)
else()
    set(system_folder linux)
endif()
file(GLOB tool_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cli/*.c" "${PROJECT_SOURCE_DIR}/cli/${system_folder}/*.c")
if(NOT HL_TOOL)
    return()
endif()
if(NOT TARGET hyperlight_image)
    list(FILTER tool_sources EXCLUDE REGEX "/cli/(image|pack)[^/]*\\.c$")
endif()

if(WIN32)
    find_package(jansson REQUIRED CONFIG) # cmake/windows-dependencies
    set(json_library jansson::jansson shell32)
else()
    find_package(PkgConfig REQUIRED)
    pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
    set(json_library PkgConfig::JANSSON)
endif()

add_executable(hyperlight_tool ${tool_sources})
file(RELATIVE_PATH library_from_tool "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
set_target_properties(hyperlight_tool PROPERTIES
    OUTPUT_NAME hyperlight RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin"
    INSTALL_RPATH "$ORIGIN/${library_from_tool}")
target_link_libraries(hyperlight_tool PRIVATE hl_host hyperlight ${json_library})
target_include_directories(hyperlight_tool PRIVATE "${PROJECT_SOURCE_DIR}/cli")
if(TARGET hyperlight_image)
    target_link_libraries(hyperlight_tool PRIVATE hyperlight_image)
    target_compile_definitions(hyperlight_tool PRIVATE HL_TOOL_IMAGES)
endif()
