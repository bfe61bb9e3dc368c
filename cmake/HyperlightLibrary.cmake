# The host library, static and shared, from one set of objects.
file(GLOB_RECURSE library_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/*.c")
list(FILTER library_sources EXCLUDE REGEX "/src/image/") # what prepares images is a component of its own
if(WIN32)
    list(FILTER library_sources EXCLUDE REGEX "/src/(os/linux/|os/windows/surrogate/|driver/kvm|driver/mshv)")
else()
    list(FILTER library_sources EXCLUDE REGEX "/src/(os/windows/|driver/whp)")
endif()

add_library(hyperlight_objects OBJECT ${library_sources})
target_include_directories(hyperlight_objects
    PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
    PRIVATE "${PROJECT_SOURCE_DIR}/src")
target_link_libraries(hyperlight_objects PRIVATE hl_host)

if(CMAKE_CROSSCOMPILING) # such objects come from commands of another folder
    set_source_files_properties(${HL_GUEST_IMAGE_OBJECTS} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endif()
set(library_objects $<TARGET_OBJECTS:hyperlight_objects> ${HL_GUEST_IMAGE_OBJECTS})
add_library(hyperlight_static STATIC ${library_objects})
add_library(hyperlight SHARED ${library_objects})
add_dependencies(hyperlight_static hyperlight_guest_images)
add_dependencies(hyperlight hyperlight_guest_images)

foreach(library IN ITEMS hyperlight hyperlight_static)
    add_library(Hyperlight::${library} ALIAS ${library})
    set_target_properties(${library} PROPERTIES OUTPUT_NAME hyperlight LINKER_LANGUAGE C)
    target_include_directories(${library} INTERFACE
        "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
endforeach()

target_link_libraries(hyperlight PRIVATE hl_host)
set(symbol_map "${PROJECT_SOURCE_DIR}/cmake/libhyperlight.map")
if(WIN32)
    include(HyperlightWindows)
    return()
endif()

set_target_properties(hyperlight PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS "${symbol_map}")
target_link_options(hyperlight PRIVATE "-Wl,--version-script=${symbol_map}")

# Whoever links the static library must link what its objects were instrumented with.
if(HL_SANITIZE)
    target_link_options(hyperlight_static INTERFACE "$<BUILD_INTERFACE:-fsanitize=${HL_SANITIZE}>")
endif()
if(HL_COVERAGE)
    target_link_options(hyperlight_static INTERFACE "$<BUILD_INTERFACE:--coverage>")
endif()

# A sanitizer's runtime is in the executable, where a library may look for it.
if(NOT HL_SANITIZE)
    target_link_options(hyperlight PRIVATE -Wl,-z,defs)
endif()
