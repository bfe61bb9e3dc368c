# What `cmake --install` puts where.
include(CMakePackageConfigHelpers)

set(config_folder "${CMAKE_INSTALL_LIBDIR}/cmake/Hyperlight")
file(RELATIVE_PATH PREFIX_FROM_PKGCONFIG "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" PREFIX_FROM_PKGCONFIG "${PREFIX_FROM_PKGCONFIG}")

install(DIRECTORY include/hyperlight DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
set(installed_libraries hyperlight hyperlight_static)
if(TARGET hyperlight_guest) # the SDK is built where guests are
    list(APPEND installed_libraries hyperlight_guest)
endif()
if(TARGET hyperlight_image)
    list(APPEND installed_libraries hyperlight_image hyperlight_image_static)
endif()
install(TARGETS ${installed_libraries} EXPORT HyperlightTargets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(EXPORT HyperlightTargets NAMESPACE Hyperlight:: DESTINATION "${config_folder}")

configure_package_config_file(packaging/HyperlightConfig.cmake.in "${PROJECT_BINARY_DIR}/packaging/HyperlightConfig.cmake"
    INSTALL_DESTINATION "${config_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/packaging/HyperlightConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/packaging/HyperlightConfig.cmake"
    "${PROJECT_BINARY_DIR}/packaging/HyperlightConfigVersion.cmake" DESTINATION "${config_folder}")

# What a program needs that is linked with the static library.
set(private_libraries -pthread)
foreach(library IN LISTS HL_SYSTEM_LIBRARIES)
    string(APPEND private_libraries " -l${library}")
endforeach()

function(hl_install_pkg_config name)
    configure_file(packaging/${name}.pc.in "${PROJECT_BINARY_DIR}/packaging/${name}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/packaging/${name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()
hl_install_pkg_config(hyperlight)

if(TARGET hyperlight_image)
    hl_install_pkg_config(hyperlight-image)
    install(TARGETS hyperlight_prepare RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/hyperlight")
endif()
if(TARGET hyperlight_tool)
    install(TARGETS hyperlight_tool RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()


# The program that memory of VMs lives in belongs beside the DLL.
if(WIN32)
    install(TARGETS hyperlight_surrogate RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    return()
endif()

hl_install_pkg_config(hyperlight-guest)
# The folder that hyperlight-guest.pc names: links to the SDK alone.
set(sdk_folder "${CMAKE_INSTALL_LIBDIR}/hyperlight-guest")
file(RELATIVE_PATH headers_from_sdk "/${sdk_folder}/include" "/${CMAKE_INSTALL_INCLUDEDIR}/hyperlight")
file(RELATIVE_PATH archive_from_sdk "/${sdk_folder}/lib" "/${CMAKE_INSTALL_LIBDIR}/libhyperlight-guest.a")
install(CODE "
    set(sdk \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${sdk_folder}\")
    message(STATUS \"Installing: \${sdk}\")
    file(MAKE_DIRECTORY \"\${sdk}/include\" \"\${sdk}/lib\")
    file(CREATE_LINK \"${headers_from_sdk}\" \"\${sdk}/include/hyperlight\" SYMBOLIC)
    file(CREATE_LINK \"${archive_from_sdk}\" \"\${sdk}/lib/libhyperlight-guest.a\" SYMBOLIC)")

set(completion "${PROJECT_SOURCE_DIR}/cli/completion/hyperlight.bash")
if(EXISTS "${completion}")
    install(FILES "${completion}" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME hyperlight)
endif()

foreach(section IN ITEMS 1 3 7)
    file(GLOB pages CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/docs/man/*.${section}")
    if(pages)
        install(FILES ${pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
    endif()
endforeach()
