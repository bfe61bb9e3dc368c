# libhyperlight-image, which makes images, and its confined helper. Linux only; it needs libarchive, jansson, libseccomp and nettle,
# which the host library does not.
if(WIN32 OR NOT HL_IMAGE)
    return()
endif()
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBARCHIVE REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(LIBSECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(NETTLE REQUIRED IMPORTED_TARGET nettle)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
include(HyperlightRewrite)
if(NOT TARGET hl_image_rewrite)
    message(FATAL_ERROR "libhyperlight-image needs Zydis (Debian: libzydis-dev); or configure with -DHL_IMAGE=OFF")
endif()

set(image_includes "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
file(GLOB helper_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/image/*.c")
list(FILTER helper_sources EXCLUDE REGEX "/(helper|rewrite[^/]*)\\.c$")
file(GLOB image_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/image/host/*.c")

# A sanitizer's and a coverage tool's runtime does what the helper may not.
add_library(hl_confinement INTERFACE)
if(HL_SANITIZE OR HL_COVERAGE OR HL_FUZZ)
    target_compile_definitions(hl_confinement INTERFACE HL_UNCONFINED)
endif()

# What reads hostile input: in the helper, and in tests.
add_library(hyperlight_reader STATIC ${helper_sources})
target_include_directories(hyperlight_reader PUBLIC ${image_includes})
target_link_libraries(hyperlight_reader PRIVATE hl_host hl_confinement hl_image_rewrite
    PUBLIC hyperlight_static PkgConfig::LIBARCHIVE PkgConfig::LIBSECCOMP PkgConfig::NETTLE PkgConfig::JANSSON)

set(helper_folder "${CMAKE_INSTALL_LIBEXECDIR}/hyperlight")
add_executable(hyperlight_prepare src/image/helper.c)
set_target_properties(hyperlight_prepare PROPERTIES
    OUTPUT_NAME hyperlight-prepare RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/libexec/hyperlight")
target_link_libraries(hyperlight_prepare PRIVATE hl_host hyperlight_reader)

add_library(hyperlight_image_objects OBJECT ${image_sources})
target_include_directories(hyperlight_image_objects PUBLIC ${image_includes})
file(RELATIVE_PATH helper_from_library "/${CMAKE_INSTALL_LIBDIR}" "/${helper_folder}/hyperlight-prepare")
file(RELATIVE_PATH helper_from_program "/${CMAKE_INSTALL_BINDIR}" "/${helper_folder}/hyperlight-prepare")
target_compile_definitions(hyperlight_image_objects PRIVATE
    HL_HELPER_FROM_LIBRARY="${helper_from_library}" HL_HELPER_FROM_PROGRAM="${helper_from_program}"
    HL_HELPER_INSTALLED="${CMAKE_INSTALL_FULL_LIBEXECDIR}/hyperlight/hyperlight-prepare")
target_link_libraries(hyperlight_image_objects PRIVATE hl_host hl_confinement PkgConfig::NETTLE)

# The shared library has its own copy of what makes errors, which the host library does not export.
file(GLOB utilities CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/util/*.c")
list(FILTER utilities EXCLUDE REGEX "/status\\.c$")
add_library(hyperlight_image SHARED $<TARGET_OBJECTS:hyperlight_image_objects> ${utilities} src/os/linux/process.c src/wire/utf8.c)
add_library(hyperlight_image_static STATIC $<TARGET_OBJECTS:hyperlight_image_objects>)
foreach(library IN ITEMS hyperlight_image hyperlight_image_static)
    add_library(Hyperlight::${library} ALIAS ${library})
    set_target_properties(${library} PROPERTIES OUTPUT_NAME hyperlight-image)
    target_include_directories(${library} INTERFACE
        "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
    add_dependencies(${library} hyperlight_prepare)
endforeach()
target_include_directories(hyperlight_image PRIVATE ${image_includes})
target_link_libraries(hyperlight_image PRIVATE hl_host PkgConfig::NETTLE PUBLIC hyperlight)
target_link_libraries(hyperlight_image_static PUBLIC hyperlight_static nettle)
set(image_symbols "${PROJECT_SOURCE_DIR}/cmake/libhyperlight-image.map")
set_target_properties(hyperlight_image PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS "${image_symbols}")
target_link_options(hyperlight_image PRIVATE "-Wl,--version-script=${image_symbols}")
if(NOT HL_SANITIZE)
    target_link_options(hyperlight_image PRIVATE -Wl,-z,defs)
endif()
