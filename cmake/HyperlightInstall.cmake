# What `cmake --install` puts where.
include(CMakePackageConfigHelpers)

set(config_folder "${CMAKE_INSTALL_LIBDIR}/cmake/Hyperlight")
file(RELATIVE_PATH PREFIX_FROM_PKGCONFIG "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" PREFIX_FROM_PKGCONFIG "${PREFIX_FROM_PKGCONFIG}")

install(DIRECTORY include/hyperlight DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
install(TARGETS hyperlight hyperlight_static hyperlight_guest EXPORT HyperlightTargets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT HyperlightTargets NAMESPACE Hyperlight:: DESTINATION "${config_folder}")

configure_package_config_file(packaging/HyperlightConfig.cmake.in "${PROJECT_BINARY_DIR}/packaging/HyperlightConfig.cmake"
    INSTALL_DESTINATION "${config_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/packaging/HyperlightConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/packaging/HyperlightConfig.cmake"
    "${PROJECT_BINARY_DIR}/packaging/HyperlightConfigVersion.cmake" DESTINATION "${config_folder}")

foreach(name IN ITEMS hyperlight hyperlight-guest)
    configure_file(packaging/${name}.pc.in "${PROJECT_BINARY_DIR}/packaging/${name}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/packaging/${name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()

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

if(TARGET hyperlight_tool)
    install(TARGETS hyperlight_tool RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

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
