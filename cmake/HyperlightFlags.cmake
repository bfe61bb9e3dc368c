# Compiler flags, as interface targets: hl_warnings for everything, hl_host for code that runs on the host. Nothing
# here may reach code that runs inside a VM, where there is no sanitizer and no libc of ours.
include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported()

function(hl_add_flags target)
    foreach(flag IN LISTS ARGN)
        string(MAKE_C_IDENTIFIER "HL_HAS${flag}" variable)
        check_c_compiler_flag("${flag}" ${variable})
        if(${variable})
            target_compile_options(${target} INTERFACE "$<$<COMPILE_LANGUAGE:C>:${flag}>")
        endif()
    endforeach()
endfunction()

add_library(hl_warnings INTERFACE)
hl_add_flags(hl_warnings
    -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings -Wundef
    -Wformat -Wformat-security)
if(HL_WERROR)
    hl_add_flags(hl_warnings -Werror)
endif()

add_library(hl_host INTERFACE)
target_link_libraries(hl_host INTERFACE hl_warnings)
hl_add_flags(hl_host -fno-omit-frame-pointer -fvisibility=hidden)
# After the guest ran no indirect jump is predicted (src/util/placement.h): a chain of comparisons is faster than a table.
hl_add_flags(hl_host -fno-jump-tables -fno-plt)

if(WIN32)
    # printf as in C, the interface of Windows 10, and no DLL beside our own.
    target_compile_definitions(hl_host INTERFACE __USE_MINGW_ANSI_STDIO=1 _WIN32_WINNT=0x0A00)
    hl_add_flags(hl_host -fstack-protector-strong)
    target_link_options(hl_host INTERFACE -static -fstack-protector-strong)
elseif(HL_SANITIZE)
    target_compile_options(hl_host INTERFACE -fsanitize=${HL_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(hl_host INTERFACE -fsanitize=${HL_SANITIZE})
else()
    hl_add_flags(hl_host -fstack-protector-strong -fstack-clash-protection -fcf-protection=full)
    # Fortification needs an optimizing compiler.
    if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT HL_COVERAGE)
        target_compile_options(hl_host INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
    endif()
    target_link_options(hl_host INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

if(HL_COVERAGE)
    target_compile_options(hl_host INTERFACE --coverage)
    target_link_options(hl_host INTERFACE --coverage)
endif()

if(HL_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "HL_FUZZ needs clang: configure with the preset `fuzz`")
    endif()
    target_compile_options(hl_host INTERFACE -fsanitize=fuzzer-no-link)
endif()
