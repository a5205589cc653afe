# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# How everything here is compiled: standard, warnings, sanitizers, compiler cache.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# The cache shares objects between build folders; precompiled headers need its sloppiness settings.
find_program(GRADWIND_CCACHE ccache)
if(GRADWIND_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${GRADWIND_CCACHE})
endif()

# One -fPIC for libraries and programs alike: a precompiled header serves only sources compiled as it was.
add_library(gradwind_options INTERFACE)
target_compile_options(gradwind_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fPIC -Wall -Wextra -Wpedantic -Wno-unknown-pragmas
  $<$<BOOL:${GRADWIND_WERROR}>:-Werror>>
  # g++ 12 sees overlapping copies in std::string at -O3 where there are none (GCC bug 105651).
  $<$<AND:$<CONFIG:Release>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>)
if(GRADWIND_SANITIZE)
  foreach(sanitizer IN LISTS GRADWIND_SANITIZE)
    target_compile_options(gradwind_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${sanitizer} -fno-omit-frame-pointer>)
    target_link_options(gradwind_options INTERFACE -fsanitize=${sanitizer})
  endforeach()
endif()
find_program(GRADWIND_LLD NAMES ld.lld)
if(GRADWIND_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_link_options(gradwind_options INTERFACE -fuse-ld=lld)
endif()
