# hl_image_rewrite: turns `syscall` instructions of ELF files into jumps when an image is prepared. It is no part of the library, which does
# not look into files. Zydis decodes the instructions: it needs no memory of its own and tells lengths, branches and displacements exactly.
include_guard()
if(NOT TARGET Zydis::Zydis)
    find_package(zydis CONFIG QUIET)
endif()
if(NOT TARGET Zydis::Zydis)
    return()
endif()

file(GLOB rewrite_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/image/rewrite*.c")
add_library(hl_image_rewrite STATIC ${rewrite_sources})
target_include_directories(hl_image_rewrite PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
target_link_libraries(hl_image_rewrite PRIVATE hl_host PUBLIC Zydis::Zydis)
