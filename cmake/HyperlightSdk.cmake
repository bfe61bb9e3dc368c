# The guest SDK: one archive of plain C that links against any libc. So it is compiled without anything that only one
# libc has (fortified functions), without what a guest's compiler may not expect (sanitizers), and position-independent.
file(GLOB sdk_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/guest/sdk/*.c" "${PROJECT_SOURCE_DIR}/src/wire/*.c")

add_library(hyperlight_guest STATIC ${sdk_sources})
add_library(Hyperlight::guest ALIAS hyperlight_guest)
set_target_properties(hyperlight_guest PROPERTIES
    OUTPUT_NAME hyperlight-guest EXPORT_NAME guest LINKER_LANGUAGE C
    ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
target_include_directories(hyperlight_guest
    PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
    PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/guest/sdk")
target_compile_options(hyperlight_guest PRIVATE
    -U_FORTIFY_SOURCE -fno-stack-protector -fno-lto -fvisibility=hidden -ffunction-sections -fno-jump-tables)
target_link_libraries(hyperlight_guest PRIVATE $<BUILD_INTERFACE:hl_warnings>)
