# Flags and the three functions that the build is written in.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")

# Warnings are errors. Fused multiply-add is fixed here, because it is part of what fixes the bits of a run.
set(limpid_host_options -Wall -Wextra -Wshadow -Werror -ffp-contract=fast -fno-math-errno -fno-trapping-math)
if(LIMPID_NATIVE)
  list(APPEND limpid_host_options -march=native)
  message(STATUS "limpid: ${CMAKE_BUILD_TYPE} build for this machine's processor (-march=native); it may not run on others")
endif()
if(LIMPID_SANITIZE)
  list(APPEND limpid_host_options -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${limpid_host_options}>")
find_program(LIMPID_CCACHE ccache)
if(LIMPID_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LIMPID_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${LIMPID_CCACHE})
endif()

set(LIMPID_LAYERS core kernels parallel model optim data checkpoint adapt plan eval train recipes apps)

# limpid_library(NAME [LINK foreign...]): all .cc of the folder; linked against the folders to its left.
function(limpid_library name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.cc)
  if(sources)
    add_library(limpid_${name} STATIC ${sources})
    set(visibility PUBLIC)
  else()
    add_library(limpid_${name} INTERFACE)
    set(visibility INTERFACE)
  endif()
  target_include_directories(limpid_${name} ${visibility} ${CMAKE_SOURCE_DIR})
  foreach(layer IN LISTS LIMPID_LAYERS)
    if(layer STREQUAL name)
      break()
    endif()
    if(TARGET limpid_${layer})
      target_link_libraries(limpid_${name} ${visibility} limpid_${layer})
    endif()
  endforeach()
  foreach(foreign IN LISTS ARG_LINK)
    target_link_libraries(limpid_${name} ${visibility} limpid::${foreign})
  endforeach()
endfunction()

# The CUDA backend as objects, which a program has whole or not at all (core/cuda.h): every .cu of core/ and kernels/ by
# nvcc, what calls NVIDIA's libraries, in kernels/cuda/, by the host's compiler. tests/
# compiles the same .cu files for the emulator; scripts/check_sass.py refuses kernels that spill registers.
function(limpid_cuda_backend)
  file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/core/*.cu ${CMAKE_SOURCE_DIR}/kernels/*.cu)
  file(GLOB libraries CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cc)
  add_library(limpid_cuda OBJECT ${kernels} ${libraries})
  target_compile_options(limpid_cuda PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--extended-lambda;--compress-mode=none>")
  target_link_libraries(limpid_cuda PUBLIC limpid_kernels limpid::cudart limpid::cublaslt limpid::cudnn)
endfunction()

# limpid_commit.h for a library: the commit that the build is of, looked up at each build.
function(limpid_commit_header name)
  set(folder ${CMAKE_BINARY_DIR}/generated)
  add_custom_target(limpid_commit BYPRODUCTS ${folder}/limpid_commit.h
    COMMAND ${CMAKE_COMMAND} -D ROOT=${CMAKE_SOURCE_DIR} -D OUT=${folder} -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake)
  add_dependencies(limpid_${name} limpid_commit)
  target_include_directories(limpid_${name} PRIVATE ${folder})
endfunction()

# Every apps/NAME.cc becomes bin/limpid-NAME; what they share stands in apps/support/.
function(limpid_programs)
  file(GLOB shared CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/support/*.cc)
  file(GLOB programs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/*.cc)
  if(shared)
    add_library(limpid_apps STATIC ${shared})
    target_link_libraries(limpid_apps PUBLIC limpid_recipes limpid::cli11)
  endif()
  foreach(path IN LISTS programs)
    get_filename_component(name ${path} NAME_WE)
    add_executable(limpid-${name} ${path})
    target_link_libraries(limpid-${name} PRIVATE limpid_apps $<TARGET_NAME_IF_EXISTS:limpid_cuda>)
    list(APPEND all limpid-${name})
  endforeach()
  add_custom_target(limpid_programs DEPENDS ${all})
endfunction()

# limpid_tests(NAME): every tests/NAME/*_test.cc in one program, one ctest entry a test. Those with Slow in their name
# have the label slow.
function(limpid_tests name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${name}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE limpid_test_support limpid_cuda_emulated)
  # Passive: tests run side by side, and threads that spin for one another would starve.
  set(options TEST_PREFIX "${name}/" NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60)
  set(environment ENVIRONMENT OMP_WAIT_POLICY=passive)
  gtest_discover_tests(${name}_test ${options} TEST_FILTER "-*Slow*" PROPERTIES ${environment})
  gtest_discover_tests(${name}_test ${options} TEST_FILTER "*Slow*" PROPERTIES ${environment} LABELS slow)
endfunction()
