# What the library is on Windows beside the DLL: the systems' libraries, and the program that memory of VMs lives in.
set_target_properties(hyperlight PROPERTIES
    PREFIX "" RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin" ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")

# What the DLL exports is what the symbol map lists: one list for all systems.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${symbol_map}")
file(STRINGS "${symbol_map}" exports REGEX "^ +hl_[a-z0-9_]+;$")
list(TRANSFORM exports REPLACE "[ ;]" "")
list(JOIN exports "\n    " exports)
set(export_list "${PROJECT_BINARY_DIR}/hyperlight.def")
file(CONFIGURE OUTPUT "${export_list}" CONTENT "EXPORTS\n    ${exports}\n")
target_sources(hyperlight PRIVATE "${export_list}")

set(HL_SYSTEM_LIBRARIES bcrypt synchronization ssp)
target_link_libraries(hyperlight PRIVATE Threads::Threads ${HL_SYSTEM_LIBRARIES})
target_link_libraries(hyperlight_static PUBLIC Threads::Threads ${HL_SYSTEM_LIBRARIES})

add_executable(hyperlight_surrogate "${PROJECT_SOURCE_DIR}/src/os/windows/surrogate/main.c")
set_target_properties(hyperlight_surrogate PROPERTIES
    OUTPUT_NAME hyperlight-surrogate RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
target_link_libraries(hyperlight_surrogate PRIVATE hl_host)
add_dependencies(hyperlight hyperlight_surrogate)
